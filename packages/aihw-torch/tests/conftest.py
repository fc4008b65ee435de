"""Configurations and twins that the tests share."""

from __future__ import annotations

import emulated_torch
import pytest
import torch
from layer_examples import exact_config
from torch import nn

from aihw_torch.nn import AnalogLinear
from rpu_sim import cuda


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


@pytest.fixture
def emulated(monkeypatch):
    """A device of torch whose memory only the kernels may touch; operations of torch have the bits of the CPU."""
    if not emulated_torch.PLUGIN.exists():
        pytest.skip("this build of rpu-sim has no emulated kernels (RPU_EMULATED_CUDA=ON)")
    found = emulated_torch.kernels()
    monkeypatch.setattr(cuda, "state", lambda: found)
    return emulated_torch.make_device()


only_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=only_cuda)])
def device(request):
    """The emulated device, or the first GPU; only for `gpu_*.py`, as `test_gpu.py` runs them."""
    if request.param == "cuda":
        return torch.device("cuda", 0)
    return request.getfixturevalue("emulated")
