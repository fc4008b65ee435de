"""Calibration of input ranges on models, and statistics of how signals use the converters."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hwa_examples import hwa_config, layer_of, twin_of
from torch import nn

from aihw_torch.config import BoundManagementType, InferenceRPUConfig, NoiseManagementType
from aihw_torch.errors import ConfigError, StateError
from aihw_torch.inference import (
    InputRangeCalibrationType,
    calibrate,
    calibrate_input_ranges,
    format_ranges,
    range_statistics,
)
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.presets import StandardHWATrainingPreset

TYPES = [kind for kind in InputRangeCalibrationType if kind is not InputRangeCalibrationType.NONE]


def model_and_data(perfect: bool = False) -> tuple[AnalogSequential, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Return a model whose second layer has an input range of 0.01, which would ruin what follows it."""
    first, second = hwa_config(perfect), hwa_config(perfect)
    second.pre_post.input_range.enable, second.pre_post.input_range.init_value = True, 0.01
    model = AnalogSequential(
        AnalogLinear(6, 8, True, first, seed=1), nn.ReLU(), AnalogLinear(8, 4, True, second, seed=2), nn.Dropout(0.5)
    )
    return model, [(torch.randn(50, 6), torch.zeros(50)) for _ in range(3)]


def inputs_of_layers(model: AnalogSequential, data) -> dict[str, np.ndarray]:
    """Return all inputs of the two layers in exact arithmetic."""
    x = torch.cat([batch for batch, _ in data])
    hidden = torch.relu(twin_of(model[0])(x)).detach()
    return {"0.analog_module": x.numpy(), "2.analog_module": hidden[(hidden != 0.0).any(1)].numpy()}


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_every_type_finds_the_range_of_exact_inputs(kind: InputRangeCalibrationType) -> None:
    """With one batch and a cache for all of it; old ranges, converters and dropout have no influence."""
    model, data = model_and_data()
    data = [(torch.cat([x for x, _ in data]), None)]
    expected = {}
    for name, x in inputs_of_layers(model, data).items():
        magnitude = np.abs(x)
        expected[name] = {
            InputRangeCalibrationType.MAX: magnitude.max(),
            InputRangeCalibrationType.CACHE_QUANTILE: np.quantile(magnitude, 0.9),
            InputRangeCalibrationType.MOVING_QUANTILE: np.quantile(magnitude, 0.9),
            InputRangeCalibrationType.MOVING_STD: 2.0 * x.std(ddof=1),
        }[kind]
    found = calibrate(model, data, kind, quantile=0.9, std_alpha=2.0)
    for name, tile in model.named_analog_tiles():
        assert tile.input_range.item() == pytest.approx(expected[name], rel=1e-5)
        assert found[name].input_range == tile.input_range.item()
        assert tile.rpu_config.forward.noise_management is NoiseManagementType.NONE
        assert tile.rpu_config.pre_post.input_range.init_from_data == 0


def test_what_calibration_leaves_alone() -> None:
    """Training mode of every module, parameters and their identity, learned ranges stay learned, converters stay."""
    model, data = model_and_data()
    model.train()
    model[0].eval()
    modes = [module.training for module in model.modules()]
    parameters = dict(model.named_parameters())
    values = {name: p.detach().clone() for name, p in parameters.items()}
    calibrate(model, data)
    assert [module.training for module in model.modules()] == modes
    for name, parameter in model.named_parameters():
        assert parameter is parameters[name]
        if "input_range" not in name:
            assert torch.equal(parameter, values[name])
    assert isinstance(model[2].analog_module.input_range, nn.Parameter)
    assert not isinstance(model[0].analog_module.input_range, nn.Parameter)
    assert not model[0].analog_module.rpu_config.forward.is_perfect
    before = {name: tile.input_range.item() for name, tile in model.named_analog_tiles()}
    calibrate(model, [(10.0 * x, y) for x, y in data])
    assert model[0].analog_module.input_range.item() == pytest.approx(10 * before["0.analog_module"], rel=0.2)


def test_the_established_call_and_its_pairs() -> None:
    model, data = model_and_data()
    pairs = [((x,), {}) for x, _ in data]
    calibrate_input_ranges(model, InputRangeCalibrationType.NONE, pairs)
    assert model[0].analog_module.input_range is None
    calibrate_input_ranges(model, InputRangeCalibrationType.MAX, pairs)
    largest = max(float(x.abs().max()) for x, _ in data)
    assert model[0].analog_module.input_range.item() == largest
    calibrate_input_ranges(model, InputRangeCalibrationType.MAX, (((0.5 * x,), {}) for x, _ in data))
    assert model[0].analog_module.input_range.item() == 0.5 * largest


def test_verbose_prints_the_table(capsys) -> None:
    model, data = model_and_data()
    calibrate_input_ranges(model, InputRangeCalibrationType.MAX, [{"input": x} for x, _ in data], verbose=True)
    assert "2.analog_module" in capsys.readouterr().out


def test_statistics_of_the_converters() -> None:
    """Fractions and quantiles of the layer's own signals, known to the width of a bin (1.1 %)."""
    config = hwa_config(perfect=False)
    config.pre_post.input_range.enable = True
    config.forward.noise_management, config.forward.bound_management = (
        NoiseManagementType.NONE,
        BoundManagementType.NONE,
    )
    config.forward.out_bound = 0.5
    layer = layer_of(config, out=8, inputs=6)
    layer.analog_module.set_input_range(2.0)
    x = torch.randn(2000, 6)
    found = range_statistics(layer, [x])["analog_module"]
    scaled = (x / 2.0).numpy()
    outputs = (torch.from_numpy(scaled).clamp(-1, 1) @ layer.weight.detach().T).numpy()
    for part, values, bound in ((found.dac, scaled, 1.0), (found.adc, outputs, 0.5)):
        assert part.bound == bound
        assert part.maximum == pytest.approx(np.abs(values).max(), rel=1e-5)
        assert part.clipped == pytest.approx(np.mean(np.abs(values) > bound), rel=0.03)
        assert part.used == pytest.approx(np.quantile(np.abs(values), 0.999) / bound, rel=0.02)
    assert layer(x).shape == (2000, 8)
    assert format_ranges({"a": found}).splitlines()[1].split()[:2] == ["a", "2"]


def test_statistics_under_noise_management() -> None:
    """The largest input of every vector is scaled to the end of the DAC, so nothing is clipped there."""
    layer = layer_of(hwa_config(perfect=False), out=8, inputs=6)
    found = range_statistics(layer, [100.0 * torch.randn(50, 6)])["analog_module"]
    assert found.input_range is None
    assert (found.dac.maximum, found.dac.clipped, found.dac.bound) == (1.0, 0.0, 1.0)


def test_the_standard_preset_needs_no_force() -> None:
    """Its noise management is a constant of 1, which scales nothing."""
    layer = AnalogLinear(8, 3, rpu_config=StandardHWATrainingPreset())
    found = calibrate(layer, [torch.ones(4, 8)], force_all_layers=False)
    assert found["analog_module"].input_range == 1.0


def test_bad_calls_change_nothing() -> None:
    model, data = model_and_data()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(StateError, match="no inference tile"):
        calibrate(nn.Linear(2, 2), data)
    with pytest.raises(StateError, match=r"no input that is not zero reached the tile 0\.analog_module"):
        calibrate(model, [])
    with pytest.raises(ConfigError, match="has no input range"):
        calibrate(model, data, force_all_layers=False)
    with pytest.raises(StateError, match="no input reached"):
        range_statistics(model, [])
    config = InferenceRPUConfig()
    config.pre_post.input_range.enable = True
    managed = AnalogLinear(8, 3, rpu_config=config)
    with pytest.raises(ConfigError, match="has noise management"):
        calibrate(managed, [torch.randn(4, 8)], force_all_layers=False)
    with pytest.raises(Exception, match="quantile must lie above 0"):
        calibrate(model, data, quantile=0.0)
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name]), name
