"""Neutral export of conductances, and measured ones that come back."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from hwa_examples import hwa_config
from torch import nn

from aihw_inference import DualPairConductanceConverter, FusionConductanceConverter, SinglePairConductanceConverter
from aihw_torch.config import InferenceRPUConfig, MappingParameter, SingleRPUConfig, from_dict
from aihw_torch.errors import StateError
from aihw_torch.inference import drift_analog_weights
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogSequential, named_analog_tiles
from aihw_torch.utils.conductances import export_conductances, import_conductances


def model() -> AnalogSequential:
    """A convolution with one tile, a layer on a grid with learned scales and ranges, a layer that is pulsed."""
    hwa = hwa_config()
    hwa.mapping.weight_scaling_omega = 1.0
    grid = hwa_config(mapping=MappingParameter(max_input_size=20, learn_out_scaling=True, weight_scaling_omega=0.7))
    grid.pre_post.input_range.enable = True
    pulsed = SingleRPUConfig(mapping=MappingParameter(digital_bias=False))
    return AnalogSequential(
        AnalogConv2d(2, 4, 3, rpu_config=hwa, seed=1),
        nn.Flatten(),
        AnalogLinear(36, 5, rpu_config=grid, seed=2),
        AnalogLinear(5, 3, rpu_config=pulsed, seed=3),
    )


def test_what_is_written(tmp_path):
    made = model()
    meta, data = export_conductances(made, tmp_path / "chip")
    content = json.loads(meta.read_text())
    assert (content["format"], content["version"], content["unit"]) == ("aihw_torch.conductances", 1, "uS")
    assert [tile["name"] for tile in content["tiles"]] == [name for name, _ in named_analog_tiles(made)]
    second = content["tiles"][2]
    assert (second["module"], second["grid"]) == ("2.analog_module", [1, 0])
    assert (second["rows"], second["columns"], second["devices"]) == (5, 18, 2)
    assert content["tiles"][3]["analog_bias"]
    assert content["tiles"][3]["columns"] == 6
    assert from_dict(second["config"]).mapping.max_input_size == 20
    with np.load(data) as arrays:
        # 25 uS is the largest weight, in the first device of a pair where it is positive.
        g = arrays["0.analog_module.conductance"]
        weight = made[0].analog_module.physical_weight().detach().numpy()
        np.testing.assert_allclose(g[0] - g[1], 25.0 * weight / np.abs(weight).max(), atol=1e-5)
        assert g.min() == 0.0
        logical = weight * arrays["0.analog_module.scale"]
        np.testing.assert_allclose(logical, made[0].get_weights()[0].reshape(4, 18), rtol=1e-6)
        np.testing.assert_array_equal(arrays["2.analog_module.bias"], made[2].bias.detach())
        assert arrays["2.analog_module.array.0.0.input_range"] == 3.0
        assert arrays["3.analog_module.scale"] == 1.0


@pytest.mark.parametrize("as_trained", [False, True])
def test_round_trip(tmp_path, as_trained):
    """What was exported comes back, to a few roundings, through devices or as weights."""
    made = model()
    export_conductances(made, tmp_path / "chip")
    other = copy.deepcopy(made)
    if as_trained:
        for tile in other.analog_tiles():
            tile.set_weights(torch.zeros(tile.out_size, tile.in_size), torch.zeros(3) if tile.analog_bias else None)
            tile.set_mapping_scales(dict(named_analog_tiles(made))[name_of(tile, other)].get_mapping_scales())
    import_conductances(other, tmp_path / "chip", as_trained=as_trained)
    for (name, old), (_, new) in zip(named_analog_tiles(made), named_analog_tiles(other), strict=True):
        physical = new.array_weight() if hasattr(new, "array_weight") else new.weight
        torch.testing.assert_close(physical, old._read_physical(), rtol=1e-5, atol=1e-7, msg=name)
    x = torch.randn(2, 2, 5, 5)
    first = [m.eval()[:3](x) for m in (made, other)]
    torch.testing.assert_close(*first, rtol=1e-5, atol=1e-5)


def name_of(tile, model):
    return next(name for name, found in named_analog_tiles(model) if found is tile)


def test_measured_devices_keep_the_trained_weights_and_drift(tmp_path):
    made = AnalogSequential(AnalogLinear(4, 3, rpu_config=InferenceRPUConfig(), seed=1))
    _, data = export_conductances(made, tmp_path / "chip")
    trained = made[0].weight.detach().clone()
    with np.load(data) as arrays:
        measured = {"0.analog_module.conductance": 0.9 * arrays["0.analog_module.conductance"]}
    import_conductances(made, tmp_path / "chip", measured)
    tile = made[0].analog_module
    assert torch.equal(made[0].weight, trained)
    torch.testing.assert_close(tile.array_weight(), 0.9 * trained, rtol=1e-5, atol=1e-7)
    assert tile.programming_state == "programmed"
    drift_analog_weights(made.eval(), 1e4)
    assert tile.programming_state == "drifted"
    assert 0.2 < (tile.array_weight().norm() / trained.norm()).item() < 0.89
    state = made.state_dict()
    twin = AnalogSequential(AnalogLinear(4, 3, rpu_config=InferenceRPUConfig(), seed=5))
    twin.load_state_dict(state)
    assert torch.equal(twin[0].analog_module.array_weight(), tile.array_weight())


def test_some_tiles_and_other_converters(tmp_path):
    made = model()
    converter = DualPairConductanceConverter([1.0, 4.0], g_max=30.0)
    export_conductances(made, tmp_path / "dual", converter)
    before = copy.deepcopy(made.state_dict())
    with pytest.raises(StateError, match=r"export with that converter, or import with as_trained=True"):
        import_conductances(made, tmp_path / "dual")
    torch.testing.assert_close(made.state_dict(), before, rtol=0, atol=0)
    import_conductances(made, tmp_path / "dual", as_trained=True)
    with np.load(tmp_path / "dual.npz") as arrays:
        np.savez(
            tmp_path / "measured.npz", **{"3.analog_module.conductance": 0.5 * arrays["3.analog_module.conductance"]}
        )
    import_conductances(made, tmp_path / "dual", tmp_path / "measured.npz")
    torch.testing.assert_close(made[3].weight, 0.5 * before["3.analog_module.weight"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(made[0].weight, before["0.analog_module.weight"], rtol=1e-5, atol=1e-7)
    with pytest.raises(StateError, match="see fusion_export"):
        export_conductances(made, tmp_path / "fusion", FusionConductanceConverter())
    with pytest.raises(StateError, match="no analog tile"):
        export_conductances(nn.Linear(2, 3), tmp_path / "none")


def good(**changes):
    return {"0.analog_module.conductance": np.zeros((2, 3, 4)), **changes}


BAD = {
    "unknown name": (good(nonsense=np.zeros(3)), "nonsense is no conductance of the export"),
    "shape": ({"0.analog_module.conductance": np.zeros((2, 4, 3))}, r"shape \(2, 3, 4\), not float64 of \(2, 4, 3\)"),
    "text": ({"0.analog_module.conductance": np.full((2, 3, 4), "a")}, "must be numbers"),
    "masked": ({"0.analog_module.conductance": np.ma.zeros((2, 3, 4))}, "is a masked array"),
    "NaN": ({"0.analog_module.conductance": np.full((2, 3, 4), np.nan)}, "finite and not negative"),
    "negative": ({"0.analog_module.conductance": np.full((2, 3, 4), -1)}, "finite and not negative"),
    "nothing": ({}, "no conductance of any tile"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_measurements_change_nothing(tmp_path, case):
    made = AnalogSequential(AnalogLinear(4, 3, rpu_config=InferenceRPUConfig(), seed=1))
    export_conductances(made, tmp_path / "chip")
    before = copy.deepcopy(made.state_dict())
    measured, sentence = BAD[case]
    with pytest.raises(StateError, match=sentence):
        import_conductances(made, tmp_path / "chip", measured)
    torch.testing.assert_close(made.state_dict(), before, rtol=0, atol=0)


def test_damaged_files(tmp_path):
    made = AnalogSequential(AnalogLinear(4, 3, rpu_config=InferenceRPUConfig(), seed=1))
    meta, data = export_conductances(made, tmp_path / "chip", SinglePairConductanceConverter(g_max=20.0))
    text, numbers = meta.read_text(), data.read_bytes()
    for bad, sentence in [
        (text.replace('"version": 1', '"version": 2'), "has version 2 but this aihw_torch reads version 1"),
        (text.replace("aihw_torch.conductances", "another"), "is no description of conductances"),
        (text[:-20], "is no description of conductances"),
        (text.replace('"devices"', '"device"'), "is no description of conductances"),
        (text.replace("SinglePair", "Nonsense"), "is damaged: unknown configuration class"),
        (text.replace('"name": "0.', '"name": "1.'), r"no tile 1\.analog_module|no conductance of any tile"),
    ]:
        meta.write_text(bad)
        with pytest.raises(StateError, match=sentence):
            import_conductances(made, tmp_path / "chip", as_trained=True)
    meta.write_text(text)
    data.write_bytes(numbers[: len(numbers) // 2])
    with pytest.raises(StateError, match="is no npz file"):
        import_conductances(made, tmp_path / "chip")
    data.unlink()
    with pytest.raises(FileNotFoundError):
        import_conductances(made, tmp_path / "chip")
