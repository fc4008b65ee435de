"""Configurations and twins that the tests share."""

from __future__ import annotations

import pytest
import torch
from layer_examples import exact_config
from torch import nn

from aihw_torch.nn import AnalogLinear


@pytest.fixture
def digital_twin():
    """Give the function that makes a torch layer with the weights of an analog one."""

    def make(layer: AnalogLinear) -> nn.Linear:
        weight, bias = layer.get_weights()
        digital = nn.Linear(layer.in_features, layer.out_features, bias is not None)
        digital.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
        return digital

    return make


@pytest.fixture(params=["floating_point", "ideal"])
def exact(request):
    """Give a configuration of exact tiles, in both ways to ask for it."""
    return exact_config(request.param)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20240611)


@pytest.fixture(autouse=True)
def _one_thread():
    """Keep torch on one thread: all matrices here are small, and two would wait for each other on a busy machine."""
    torch.set_num_threads(1)
