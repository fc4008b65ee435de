"""Presets as classes: every value of the established ones, through the class of that name."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import aihw_presets
from aihw_inference import BaseNoiseModel, HermesNoiseModel, PCMLikeNoiseModel, ReRamCMONoiseModel
from aihw_presets.errors import PresetError
from aihw_torch import presets
from aihw_torch.config import SingleRPUConfig, from_dict, to_dict
from aihw_torch.nn import AnalogLinear
from rpu_sim.config import ConfigBase

# The expected values are those of the data package's own tests; see its README there for where they come from.
DATA = Path(__file__).parents[2] / "aihw-presets" / "tests" / "data" / "toolkit_presets.json"
TOOLKIT = json.loads(DATA.read_text("utf-8"))
MISTAKES = {tuple(field.split(".")): mistake for field, mistake in TOOLKIT["mistakes"].items()}
_TILES = ("tile_class", "tile_array_class", "simulator_tile_class")
_INFERENCE, _FIXED = ("InferenceRPUConfig", "TorchInferenceRPUConfig"), ("device", "backward", "update")
# What this project's classes have no field for, or another default, with the reason.
NOT_HERE = {
    **{(cls, key): "the class of tile follows from the configuration" for cls in TOOLKIT["defaults"] for key in _TILES},
    **{(cls, key): "fixed: the backward product and the update are exact" for cls in _INFERENCE for key in _FIXED},
    ("SinglePairConductanceConverter", "scale_ratio"): "a result of the last conversion, which ours returns",
    ("RuntimeParameter", "on_the_fly_bindings"): "an implementation detail of the toolkit",
    ("InputRangeParameter", "calibration_info"): "a record that the toolkit writes; not a setting",
}


def expected_fields(table: dict[str, Any]) -> dict[str, Any]:
    """Return all fields of a table, with the defaults of its class."""
    defaults = TOOLKIT["defaults"].get(table["class"], {})
    return {key: value for key, value in {**defaults, **table}.items() if key != "class"}


def require_equal(found: Any, expected: Any, where: str) -> None:
    """Compare a configuration with the expected tables, field by field."""
    if isinstance(expected, dict):
        cls = expected["class"]
        assert cls in [base.__name__ for base in type(found).__mro__], where
        for key, value in expected_fields(expected).items():
            if (cls, key) not in NOT_HERE and (cls, key) not in MISTAKES:
                require_equal(getattr(found, key), value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, value in enumerate(expected):
            require_equal(found[number], value, f"{where}[{number}]")
    elif isinstance(found, enum.Enum):
        assert found.name == expected, where
    else:
        assert found == expected, where


@pytest.mark.parametrize("name", list(TOOLKIT["presets"]))
def test_every_value_of_the_established_presets(name: str) -> None:
    preset = getattr(presets, name)()
    require_equal(preset, TOOLKIT["presets"][name]["values"], name)
    preset.check()


@pytest.mark.parametrize("name", [name for kind in presets._KINDS for name in aihw_presets.names(kind)])
def test_every_preset_has_a_class_with_its_source(name: str) -> None:
    cls = getattr(presets, name)
    assert issubclass(cls, ConfigBase)
    assert cls.__name__ == name
    assert "Source: " in cls.__doc__
    assert name in dir(presets)


def test_a_preset_is_an_ordinary_configuration() -> None:
    """Arguments and assignments change it, two objects share nothing, and it is written as the class it configures."""
    preset, other = presets.EcRamPreset(), presets.EcRamPreset()
    assert isinstance(preset, SingleRPUConfig)
    assert preset == other
    preset.device.dw_min = 0.5
    preset.mapping.max_input_size = 7
    assert other.device.dw_min == presets.EcRamPresetDevice().dw_min == 0.002
    assert other.mapping.max_input_size == 512
    plain = to_dict(preset)
    assert (plain["class"], plain["device"]["dw_min"]) == ("SingleRPUConfig", 0.5)
    loaded = from_dict(json.loads(json.dumps(plain)))
    assert all(
        getattr(loaded, f.name) == getattr(preset, f.name) for f in dataclasses.fields(loaded) if f.name != "device"
    )
    assert presets.EcRamPresetDevice(dw_min=0.1).dw_min == 0.1
    assert presets.EcRamPreset is presets.preset_class("EcRamPreset")


@pytest.mark.parametrize("name", aihw_presets.names("device"))
def test_a_device_of_the_presets_in_a_configuration_of_ones_own(name: str) -> None:
    """It computes what the device with the same values does."""
    device = getattr(presets, name)()
    base = from_dict(to_dict(device))
    assert type(base) is not type(device)
    layers = [AnalogLinear(4, 3, rpu_config=SingleRPUConfig(device=made), seed=1) for made in (device, base)]
    for layer in layers:
        layer.set_weights(torch.zeros(3, 4))
        layer.analog_module.update(torch.ones(1, 4), torch.ones(1, 3), 0.1)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert layers[0].weight.count_nonzero() > 0


@pytest.mark.parametrize("name", ["StandardHWATrainingPreset", "WebComposerInferenceRPUConfig", "FloatingPointPreset"])
def test_presets_of_inference_train_and_drift(name: str) -> None:
    """With read noise, IR drop, clip, remap and learned input ranges, as the preset has them."""
    model = AnalogLinear(12, 5, rpu_config=getattr(presets, name)())
    x = torch.randn(20, 12)
    model(x).square().sum().backward()
    assert model.analog_module.weight.grad.isfinite().all()
    model.eval().drift_analog_weights(3600.0)
    assert model(x).isfinite().all()


@pytest.mark.parametrize("name", aihw_presets.names("noise"))
def test_noise_models(name: str) -> None:
    model = presets.noise_model(name)
    assert isinstance(model, BaseNoiseModel)
    model.check()


def test_noise_models_have_the_values_of_the_classes() -> None:
    """The constants are in the data and in the classes; they must not differ."""
    assert presets.noise_model("pcm-ibm-2019") == PCMLikeNoiseModel()
    assert presets.noise_model("hermes-1") == HermesNoiseModel(num_devices=1)
    assert presets.noise_model("hermes-2") == HermesNoiseModel()
    assert presets.noise_model("reram-cmo-0.2") == ReRamCMONoiseModel(acceptance_range=0.002)
    assert presets.noise_model("reram-cmo-2") == ReRamCMONoiseModel()


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean EcRamPreset"):
        _ = presets.EcRamPrest
    with pytest.raises(PresetError, match="did you mean TikiTakaEcRamPreset"):
        presets.preset_class("TikitakaEcramPreset")
    with pytest.raises(PresetError, match="is of the kind 'noise'"):
        presets.preset_class("pcm-ibm-2019")
    with pytest.raises(PresetError, match="not a noise model"):
        presets.noise_model("EcRamPreset")


def test_an_algorithm_leads_to_presets_with_a_device() -> None:
    with pytest.raises(
        PresetError, match=r"TTv2 is an algorithm .* such as TTv2\w+Preset, or use build_config"
    ) as caught:
        presets.preset_class("TTv2")
    assert hasattr(presets, re.search(r"TTv2\w+Preset", str(caught.value))[0])
    with pytest.raises(AttributeError, match="such as ChoppedTTv2"):
        _ = presets.ChoppedTTv2
    with pytest.raises(PresetError, match="Vector2 is an algorithm without a device: use build_config"):
        presets.preset_class("Vector2")
