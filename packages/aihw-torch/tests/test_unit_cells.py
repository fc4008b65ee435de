"""Layers on cells of several devices: training, autograd's view of the weight, checkpoints."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from aihw_torch import config as c
from aihw_torch.errors import StateError
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD

# Few states: a chopped array must forget within a phase, or its two signs cancel.
DEVICE = c.SoftBoundsDevice(w_min=-1.0, w_max=1.0, dw_min=0.05)
QUIET = c.IOParameters(is_perfect=True)


def configs() -> dict[str, Any]:
    algorithms = {name: c.build_config(name, DEVICE, QUIET) for name in ("ttv1", "ttv2", "c-ttv2", "agad", "mp")}
    cells = {
        "vector": c.VectorUnitCell([DEVICE, DEVICE]),
        "reference": c.ReferenceUnitCell([DEVICE, DEVICE]),
        "one-sided": c.OneSidedUnitCell([c.SoftBoundsDevice(w_min=0.0, w_max=1.0)]),
    }
    return algorithms | {name: c.UnitCellRPUConfig(device=cell, forward=QUIET) for name, cell in cells.items()}


KINDS = sorted(configs())


def make(kind: str) -> AnalogSequential:
    torch.manual_seed(3)
    config = configs()[kind]
    return AnalogSequential(AnalogLinear(6, 8, rpu_config=config), nn.Tanh(), AnalogLinear(8, 3, rpu_config=config))


def train(model: AnalogSequential, steps: int, lr: float = 0.1, seed: int = 0) -> list[float]:
    optimizer = AnalogSGD(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 6, generator=generator)
    y = torch.tanh(x[:, :3] - x[:, 3:])
    losses = []
    for step in range(steps):
        rows = slice(8 * (step % 5), 8 * (step % 5) + 8)
        optimizer.zero_grad()
        loss = mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", KINDS)
def test_layers_learn(kind: str) -> None:
    losses = train(make(kind), 300)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_between_forward_and_backward_is_noticed(kind: str) -> None:
    """As for any parameter that is changed in place: the gradient would be that of other weights."""
    model = make(kind)
    x = torch.randn(4, 6, requires_grad=True)
    loss = model(x).sum()
    train(model, 1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_is_what_the_layer_computes_with(kind: str) -> None:
    model = make(kind)
    train(model, 5)
    layer = model[0]
    weights, bias = layer.get_weights()
    assert torch.equal(layer.weight.detach(), weights)
    x = torch.randn(5, 6)
    torch.testing.assert_close(layer(x), x @ weights.T + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_and_copies_continue_bit_for_bit(kind: str) -> None:
    straight, broken, loaded = make(kind), make(kind), make(kind)
    train(straight, 6), train(straight, 4, seed=1)
    train(broken, 6)
    twin = copy.deepcopy(broken)
    loaded.load_state_dict(broken.state_dict())
    for model in (twin, loaded):
        train(model, 4, seed=1)
        for name, values in straight.state_dict().items():
            assert torch.equal(model.state_dict()[name], values), name


@pytest.mark.parametrize("kind", ["vector", "one-sided"])
def test_writing_into_a_weight_that_follows_from_others_is_an_error(kind: str) -> None:
    model = make(kind)
    with torch.no_grad():
        model[0].weight.fill_(0.1)
    with pytest.raises(StateError, match="set_weights"):
        model(torch.randn(2, 6))
    model[0].set_weights(torch.full((8, 6), 0.1))
    model(torch.randn(2, 6))


def test_writing_into_the_last_array_of_a_compound_writes_the_array() -> None:
    """The visible weight of Tiki-Taka is the memory of its slow array."""
    model = make("ttv1")
    with torch.no_grad():
        model[0].weight.fill_(0.1)
    assert torch.equal(model[0].analog_module.get_hidden_parameters()["hidden_weights_1"], torch.full((8, 6), 0.1))
    train(model, 2)


def test_reference_devices_are_programmed_by_index() -> None:
    tile = make("reference")[0].analog_module
    tile.set_hidden_update_index(1)
    tile.set_weights(torch.full((8, 6), 0.05))
    tile.set_hidden_update_index(0)
    tile.set_weights(torch.full((8, 6), 0.1))
    assert tile.get_hidden_update_index() == 0
    torch.testing.assert_close(tile.get_hidden_parameters()["hidden_weights_0"], torch.full((8, 6), 0.15))
