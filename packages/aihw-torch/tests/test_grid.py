"""A grid of pulsed tiles computes and learns by one call for all of them, with the bits of one call for each."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import rpu_sim
from aihw_torch.config import (
    ChoppedTransferCompound,
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IOParameters,
    NoiseManagementType,
    SingleRPUConfig,
    SoftBoundsDevice,
    UnitCellRPUConfig,
)
from aihw_torch.errors import NonFiniteError, StateError
from aihw_torch.nn import AnalogConv2d, AnalogLinear
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import SharedPeripheryArray, array


def config(**mapping):
    found = SingleRPUConfig(device=SoftBoundsDevice())
    found.mapping.max_input_size, found.mapping.max_output_size = 3, 2
    for name, value in mapping.items():
        setattr(found.mapping, name, value)
    return found


def averaging():
    found = config()
    found.forward = IOParameters(noise_management=NoiseManagementType.AVERAGE_ABS_MAX)
    found.backward = IOParameters(noise_management=NoiseManagementType.AVERAGE_ABS_MAX)
    return found


def shared():
    found = config(weight_scaling_omega=0.6)
    found.tile_array_class = SharedPeripheryArray
    found.pre_post.input_range.enable = True
    return found


def chopped():
    fast = [SoftBoundsDevice(), ConstantStepDevice()]
    found = UnitCellRPUConfig(device=ChoppedTransferCompound(fast, transfer_every=2.0, units_in_mbatch=False))
    found.mapping.max_input_size, found.mapping.max_output_size = 3, 2
    return found


def floating():
    found = FloatingPointRPUConfig()
    found.mapping.max_input_size, found.mapping.max_output_size = 3, 2
    return found


CONFIGS = {
    "pulsed": config,
    "scales": lambda: config(weight_scaling_omega=0.6, weight_scaling_columnwise=True),
    "learned scales": lambda: config(weight_scaling_omega=0.6, learn_out_scaling=True),
    "running means": averaging,
    "shared periphery": shared,
    "chopped": chopped,
    "floating point": floating,
}


@pytest.fixture
def calls(monkeypatch):
    """The numbers of tiles of the calls for several tiles."""
    noted = []
    for name in ("forward", "backward", "update"):
        real = getattr(rpu_sim.together, name)

        def counted(tiles, *args, real=real, name=name, **options):
            noted.append((name, len(tiles)))
            return real(tiles, *args, **options)

        monkeypatch.setattr(rpu_sim.together, name, counted)
    return noted


def tile_by_tile(monkeypatch):
    monkeypatch.setattr(array, "grid_of", lambda *_: None)


def assert_same(a, b):
    one, two = a.state_dict(), b.state_dict()
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert torch.equal(values, two[name]), name


def train(layer, steps=3, scaled=1.0):
    """Outputs and input gradients of some steps of training, and of an evaluation."""
    optimizer, found = AnalogSGD(layer.parameters(), lr=0.1), []
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(2, 5, 8, generator=generator).requires_grad_()
        optimizer.zero_grad()
        for _ in range(2 if step == 1 else 1):  # a layer that is used twice
            y = layer(x)
            (y * torch.randn(y.shape, generator=generator)).sum().mul(scaled).backward()
            found.append(y.detach())
        for parameter in layer.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(scaled)
        optimizer.step()
        found.append(x.grad)
    with torch.no_grad():
        found += [layer(x), layer.eval()(x), layer.train()(x)]
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_bits_of_single_calls(name, bias, calls, monkeypatch):
    torch.manual_seed(3)
    layer = AnalogLinear(8, 7, bias, CONFIGS[name]())
    assert [len(layer.analog_module.rows()), len(layer.analog_module.rows()[0])] == [3, 4]
    twin = copy.deepcopy(layer)
    found = train(layer, scaled=3.0)
    if name != "learned scales":  # which are factors between the products and the sum
        assert calls.count(("forward", 12)) == 4 + 3
        assert calls.count(("backward", 12)) == 4
    assert calls.count(("update", 12)) == 3
    calls.clear()
    tile_by_tile(monkeypatch)
    for y, expected in zip(found, train(twin, scaled=3.0), strict=True):
        assert torch.equal(y, expected)
    assert not [call for call in calls if call[0] != "update"]
    assert_same(layer, twin)


def test_convolutions(calls, monkeypatch):
    torch.manual_seed(3)
    layer = AnalogConv2d(2, 5, 3, rpu_config=config(max_input_size=7))
    twin, x = copy.deepcopy(layer), torch.randn(2, 2, 6, 6)
    results = []
    for each in (layer, twin):
        inputs = x.clone().requires_grad_()
        y = each(inputs)
        y.square().sum().backward()
        AnalogSGD(each.parameters(), lr=0.1).step()
        results.append((y.detach(), inputs.grad))
        tile_by_tile(monkeypatch)
    assert calls[:2] == [("forward", 9), ("backward", 9)]
    assert all(map(torch.equal, *results))
    assert_same(layer, twin)


def test_frozen_tiles_record_nothing(calls):
    torch.manual_seed(3)
    layer = AnalogLinear(8, 7, rpu_config=config())
    tiles = list(layer.analog_tiles())
    before = [tile.weight.clone() for tile in tiles]
    for tile in tiles[::2]:
        tile.weight.requires_grad_(False)
    layer(torch.randn(4, 8)).sum().backward()
    assert [len(tile.record) for tile in tiles] == [0, 4] * 6
    AnalogSGD(layer.parameters(), lr=0.1).step()
    changed = [not torch.equal(tile.weight, weight) for tile, weight in zip(tiles, before, strict=True)]
    assert changed == [False, True] * 6
    assert ("forward", 12) in calls
    assert not [call for call in calls if call[0] == "backward"]  # nobody asks for the gradient of x


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_repeats_the_noise(reentrant, calls):
    torch.manual_seed(3)
    layer = AnalogLinear(8, 7, rpu_config=config())
    twin, x = copy.deepcopy(layer), torch.randn(4, 8)
    gradients = []
    for each in (layer, twin):
        inputs = x.clone().requires_grad_()
        y = checkpoint(each, inputs, use_reentrant=reentrant) if each is twin else each(inputs)
        y.square().sum().backward()
        AnalogSGD(each.parameters(), lr=0.1).step()
        gradients.append(inputs.grad)
    assert torch.equal(*gradients)
    assert_same(layer, twin)
    assert calls.count(("forward", 12)) == 3


def test_gradients_that_are_not_finite(monkeypatch):
    """The gradient of x is NaN, which a GradScaler finds, and running means are those of single calls."""
    torch.manual_seed(3)
    layer = AnalogLinear(8, 7, rpu_config=averaging())
    twin, x, d = copy.deepcopy(layer), torch.randn(4, 8), torch.randn(4, 7)
    d[1, 6] = torch.inf
    gradients = []
    for each in (layer, twin):
        inputs = x.clone().requires_grad_()
        each(inputs).backward(d)
        with pytest.raises(NonFiniteError, match="nothing was updated"):
            AnalogSGD(each.parameters(), lr=0.1).step()
        gradients.append(inputs.grad)
        tile_by_tile(monkeypatch)
    assert gradients[0].isnan().all()
    torch.testing.assert_close(*gradients, equal_nan=True)
    assert_same(layer, twin)


def test_an_error_counts_no_call():
    layer = AnalogLinear(8, 7, rpu_config=config())
    with pytest.raises(NonFiniteError, match="x contains NaN or infinity"):
        layer(torch.full((2, 8), torch.nan))
    assert [int(tile.forward_step) for tile in layer.analog_tiles()] == [0] * 12


def test_hooks_and_changed_weights_go_tile_by_tile(calls):
    layer = AnalogLinear(8, 7, rpu_config=config())
    seen = []
    handle = layer.analog_module.array[1][2].register_forward_hook(lambda *_: seen.append(1))
    layer(torch.randn(2, 8))
    handle.remove()
    wrapped = layer.analog_module.array[0][1]
    plain = wrapped.forward
    wrapped.forward = lambda x: (seen.append(2), plain(x))[1]  # as other libraries do
    layer(torch.randn(2, 8))
    del wrapped.forward
    assert seen == [1, 2]
    assert calls == []
    layer(torch.randn(2, 8))
    assert calls == [("forward", 12)]
    written = config()
    written.device = SoftBoundsDevice(write_noise_std=0.1)
    layer = AnalogLinear(8, 7, rpu_config=written)
    with torch.no_grad():
        layer.analog_module.array[0][0].weight.add_(0.1)
    with pytest.raises(StateError, match="was changed in place"):
        layer(torch.randn(2, 8))


def test_an_update_between_forward_and_backward_is_noticed():
    layer = AnalogLinear(8, 7, rpu_config=config())
    y = layer(torch.randn(2, 8, requires_grad=True))
    layer.analog_module.array[1][1].reset()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
