"""A grid of tiles with one periphery: that of a single tile where the arrays are ideal, and what it means where not."""

from __future__ import annotations

import copy

import pytest
import torch
from layer_examples import exact_config

from aihw_inference import GlobalDriftCompensation, InputRangeCalibrationType, PerColumnDriftCompensation
from aihw_torch.config import (
    BoundManagementType,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    InputRangeParameter,
    IOParameters,
    MappingParameter,
    NoiseManagementType,
    PrePostProcessingParameter,
    WeightRemapParameter,
    WeightRemapType,
)
from aihw_torch.errors import ConfigError, NonFiniteError, ShapeError
from aihw_torch.inference import ModelDevices, calibrate, drift_analog_weights
from aihw_torch.nn import AnalogConv2d, AnalogLinear
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import SharedPeripheryArray, TileModuleArray, WeightTile

KINDS = ["pulsed", "software"]
SCALES = {
    "one": {"weight_scaling_omega": 0.3},
    "columnwise": {"weight_scaling_omega": 0.3, "weight_scaling_columnwise": True},
    "learned": {"weight_scaling_omega": 0.3, "learn_out_scaling": True, "out_scaling_columnwise": True},
    "compensated": {
        "weight_scaling_omega": 0.3,
        "weight_scaling_columnwise": True,
        "weight_scaling_lr_compensation": True,
    },
    "no_scale": {"learn_out_scaling": True},
}


def config_of(kind, ranged=True, **mapping):
    config = exact_config("ideal")
    config.mapping = MappingParameter(**({"max_input_size": 3, "max_output_size": 2} | mapping))
    if ranged:  # a range that first follows the data
        ranges = InputRangeParameter(enable=True, init_value=1.5, init_from_data=2, decay=0.01)
        config.pre_post = PrePostProcessingParameter(input_range=ranges)
    if kind == "software":
        config.tile_class = WeightTile
    return config


def shared(n_in, n_out, config, bias=True):
    config.tile_array_class = SharedPeripheryArray
    return AnalogLinear(n_in, n_out, bias, config)


def train(kind, layer, inputs):
    optimizer = (AnalogSGD if kind == "pulsed" else torch.optim.SGD)(layer.parameters(), lr=0.02)
    results = []
    for x in inputs:
        optimizer.zero_grad()
        x = x.clone().requires_grad_()
        y = layer(x)
        y.square().mean().backward()
        results += [y.detach(), x.grad]
        optimizer.step()
    return results


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCALES)
def test_an_ideal_grid_is_an_ideal_tile(kind, name):
    torch.manual_seed(0)
    grid = shared(7, 5, config_of(kind, **SCALES[name]))
    tile = AnalogLinear(7, 5, rpu_config=config_of(kind, **SCALES[name], max_input_size=0, max_output_size=0))
    assert isinstance(grid.analog_module, SharedPeripheryArray)
    assert (grid.analog_tile_count(), tile.analog_tile_count()) == (9, 1)
    weight, bias = 2.0 * torch.randn(5, 7), torch.randn(5)
    inputs = [torch.randn(6, 7) for _ in range(6)]
    for layer in (grid, tile):
        layer.set_weights(weight, bias)
    assert_close = torch.testing.assert_close
    assert_close(grid.analog_module.get_scales(), tile.analog_module.get_scales())
    assert_close(grid.get_weights(apply_weight_scaling=False), tile.get_weights(apply_weight_scaling=False))
    for result, expected in zip(train(kind, grid, inputs), train(kind, tile, inputs), strict=True):
        assert_close(result, expected, rtol=1e-4, atol=1e-5)
    assert_close(grid.get_weights(), tile.get_weights(), rtol=1e-4, atol=1e-5)
    for own in ("input_range", "out_scaling_alpha", "input_range_update_idx"):
        values, expected = getattr(grid.analog_module, own), getattr(tile.analog_module, own)
        assert (values is None) == (expected is None)
        if values is not None:
            assert_close(values, expected, rtol=1e-4, atol=1e-6)


def steps(values, width):
    return torch.round(values / width) * width


@pytest.mark.parametrize("array", [SharedPeripheryArray, TileModuleArray])
def test_the_converters_see_the_shared_range_and_scale(array):
    """With converters that only round, the expectation is exact: y = r s sum over tiles Q_out(W / s Q_in(x / r))."""
    io = IOParameters(
        inp_res=1 / 8,
        out_res=1 / 64,
        out_bound=4.0,
        out_noise=0.0,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )
    config = config_of("pulsed", weight_scaling_omega=0.5)
    config.forward = io
    config.pre_post.input_range.learn_input_range = False
    config.tile_array_class = array
    layer = AnalogLinear(6, 4, False, config).eval()
    weight, x = torch.randn(4, 6) * torch.linspace(0.1, 3.0, 6), torch.randn(5, 6)
    layer.set_weights(weight)
    expected = torch.zeros(5, 4)
    for rows in (slice(0, 2), slice(2, 4)):
        for columns in (slice(0, 3), slice(3, 6)):
            part = weight[rows, columns]
            scale = (weight if array is SharedPeripheryArray else part).abs().max() / 0.5
            inputs = steps(torch.clamp(x[:, columns], -1.5, 1.5) / 1.5, 2.0 * io.inp_res)
            outputs = torch.clamp(steps(inputs @ (part / scale).T, 8.0 * io.out_res), -4.0, 4.0)
            expected[:, rows] += 1.5 * scale * outputs
    torch.testing.assert_close(layer(x), expected)


def test_a_convolution_on_a_shared_grid():
    config = FloatingPointRPUConfig()
    config.mapping = MappingParameter(max_input_size=7, max_output_size=2)
    config.pre_post.input_range = InputRangeParameter(enable=True, init_value=20.0, init_from_data=0)
    config.tile_array_class = SharedPeripheryArray
    layer = AnalogConv2d(2, 3, 3, rpu_config=config)
    x = torch.randn(2, 2, 6, 5)
    torch.testing.assert_close(layer(x), layer.to_digital()(x))


def test_scales_of_a_grid_can_be_read_set_and_mapped_again():
    layer = shared(6, 4, config_of("pulsed"), bias=False)
    grid, weight = layer.analog_module, torch.randn(4, 6)
    layer.set_weights(weight)
    assert grid.get_scales() is None
    layer.remap_analog_weights(0.7)
    torch.testing.assert_close(layer.get_weights()[0], weight)
    torch.testing.assert_close(layer.get_weights(apply_weight_scaling=False)[0].abs().max(), torch.tensor(0.7))
    assert len({float(tile.get_mapping_scales()) for tile in layer.analog_tiles()}) == 1
    for value in (2.0, torch.tensor([1.0, 2.0, 3.0, 4.0])):
        grid.set_mapping_scales(value)
        torch.testing.assert_close(grid.get_mapping_scales(), torch.as_tensor(value).reshape(-1))
    grid.set_mapping_scales(None)
    assert grid.get_mapping_scales() is None
    before = layer.get_weights()[0]
    for wrong, error in (([1.0, 2.0], ShapeError), ([1.0, 2.0, 3.0, 0.0], NonFiniteError)):
        with pytest.raises(error):
            grid.set_mapping_scales(wrong)
    assert grid.get_mapping_scales() is None
    with pytest.raises(NonFiniteError):
        layer.set_weights(torch.full((4, 6), torch.nan))
    torch.testing.assert_close(layer.get_weights()[0], before, rtol=0, atol=0)


def test_state_and_copies():
    layer = shared(6, 4, config_of("pulsed", **SCALES["learned"]))
    train("pulsed", layer, [torch.randn(3, 6) for _ in range(3)])
    other = shared(6, 4, config_of("pulsed", **SCALES["learned"]))
    other.load_state_dict(layer.state_dict())
    twin, x = copy.deepcopy(layer), torch.randn(3, 6)
    results = [train("pulsed", each, [x, x])[-2] for each in (layer, other, twin)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    half = layer.to(torch.float16)
    assert half(x.half()).dtype is torch.float16


def inference_grid(compensation, n_in=9, n_out=5):
    """A grid of 3 x 2 tiles, read exactly, of devices whose drift depends on the conductance."""
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True), drift_compensation=compensation)
    config.mapping = MappingParameter(max_input_size=3, max_output_size=3)
    return shared(n_in, n_out, config).eval()


def matrix(grid, of):
    return torch.cat([torch.cat([of(tile) for tile in row]) for row in grid.array], dim=1)


@pytest.mark.parametrize("drift", [drift_analog_weights, lambda layer, t: advanced(layer, t).read()])
@pytest.mark.parametrize(
    ("compensation", "over"), [(GlobalDriftCompensation(), (0, 1)), (PerColumnDriftCompensation(), 1)]
)
def test_a_shared_grid_compensates_the_drift_of_its_matrix(compensation, over, drift):
    """One-hot probes of an exact product: alpha is mean |programmed| / mean |read|, of all tiles together."""
    torch.manual_seed(0)
    layer = inference_grid(compensation)
    layer.set_weights(0.3 * torch.randn(5, 9) * torch.linspace(0.1, 1.0, 9))
    drift(layer, 1e6)
    grid = layer.analog_module
    programmed = matrix(grid, lambda tile: tile.programmed.devices.programmed_weights())
    read = matrix(grid, lambda tile: tile.programmed.weights)
    expected = programmed.abs().mean(over) / read.abs().mean(over)
    assert expected.min() > 1.1
    for row in grid.array:
        found = torch.cat([tile.alpha.expand(tile.out_size) for tile in row])
        torch.testing.assert_close(found, expected.expand(5), rtol=1e-5, atol=0)
    x = torch.randn(4, 9)
    torch.testing.assert_close(layer(x), x @ (expected.view(-1, 1) * read).T + layer.bias, rtol=1e-4, atol=1e-5)


def advanced(layer, t):
    devices = ModelDevices(layer)
    devices.program()
    devices.advance(t)
    return devices


def test_the_compensation_of_a_shared_grid_is_part_of_the_state():
    layer, other = (inference_grid(PerColumnDriftCompensation(estimator="least_squares")) for _ in "ab")
    drift_analog_weights(layer, 1e6)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 9)
    assert torch.equal(layer(x), other(x))
    drift_analog_weights(layer, 1e7)
    drift_analog_weights(other, 1e7)
    assert torch.equal(layer(x), other(x))
    assert inference_grid(None)(x).shape == (4, 5)


@pytest.mark.parametrize("enabled", [True, False])
def test_calibration_sets_the_range_of_a_shared_grid(enabled):
    """Of its whole input, with which each tile's converters are then used; the tiles get no range of their own."""
    torch.manual_seed(0)
    layer = inference_grid(None)
    config = layer.analog_module.rpu_config.mutable_copy()
    config.forward = IOParameters(inp_res=1 / 62, out_res=-1.0, out_noise=0.0, out_bound=-1.0)
    config.pre_post.input_range.enable = enabled
    layer = shared(9, 5, config).eval()
    x = torch.randn(50, 9) * torch.linspace(0.1, 3.0, 9)
    found = calibrate(layer, [x], InputRangeCalibrationType.MAX)
    grid = layer.analog_module
    torch.testing.assert_close(grid.input_range, x.abs().max().view(1))
    assert grid.rpu_config.forward.noise_management is NoiseManagementType.NONE
    assert all(tile.input_range is None for tile in layer.analog_tiles())
    assert all(t.rpu_config.forward.noise_management is NoiseManagementType.NONE for t in layer.analog_tiles())
    assert sorted(found) == [f"analog_module.array.{i}.{j}" for i in range(3) for j in range(2)]
    assert {ranges.input_range for ranges in found.values()} == {grid.input_range.item()}
    assert found["analog_module.array.0.0"].dac.used < 0.5 < found["analog_module.array.2.0"].dac.used
    weight, bias = layer.get_weights()
    off = layer(x) - (x @ weight.T + bias)
    half_step = grid.input_range / 62.0
    assert (off.abs() <= half_step * weight.abs().sum(1) + 1e-5).all()
    assert off.abs().max() > 0.05 * half_step
    with pytest.raises(ConfigError, match="has no input range"):
        calibrate(inference_grid(None), [x], force_all_layers=False)
    again = shared(9, 5, config).eval()
    if enabled:
        again.load_state_dict(layer.state_dict(), load_rpu_config=True)
        assert torch.equal(again.analog_module.input_range, grid.input_range)


def test_what_only_single_tiles_can_do():
    config = InferenceRPUConfig(remap=WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC))
    config.mapping.max_input_size = 3
    with pytest.raises(ConfigError, match="remap"):
        shared(6, 4, config)
    config = config_of("pulsed")
    config.forward = IOParameters(noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE)
    config.pre_post.input_range.manage_output_clipping = True
    with pytest.raises(ConfigError, match="manage_output_clipping"):
        shared(6, 4, config)
