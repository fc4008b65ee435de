"""Layers on cells of several devices, and learning algorithms: all that holds for one device holds for them."""

from __future__ import annotations

import copy

import pytest
import torch

from aihw_torch.config import SoftBoundsDevice, build_config
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def train(layer, optimizer, steps=4):
    for step in range(steps):
        x = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("algorithm", ["sgd", "tiki-taka", "ttv2", "c-ttv2", "agad", "mp"])
def test_training_copies_and_resumes_with_the_same_bits(algorithm):
    config = build_config(algorithm, SoftBoundsDevice())
    layer = AnalogLinear(4, 3, rpu_config=config)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    train(layer, optimizer)
    assert layer.weight.data_ptr() == layer.analog_module.tile.weights.data_ptr()
    twin, twin_optimizer = copy.deepcopy((layer, optimizer))
    resumed = AnalogLinear(4, 3, rpu_config=config)
    resumed_optimizer = AnalogSGD(resumed.parameters(), lr=0.1)
    resumed.load_state_dict(layer.state_dict())
    for each in ((layer, optimizer), (twin, twin_optimizer), (resumed, resumed_optimizer)):
        train(*each)
    for other in (twin, resumed):
        torch.testing.assert_close(other.state_dict(), layer.state_dict(), rtol=0, atol=0)
    run = torch.compile(layer.eval(), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 4)
    with torch.no_grad():
        torch.testing.assert_close(run(x), twin.eval()(x), rtol=0, atol=0)
