"""Checkpoints of aihwkit: real ones of small models (aihwkit_checkpoints/make.py), and ones that must be refused."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

import aihw_presets
import aihw_torch
from aihw_torch import import_checkpoint
from aihw_torch.config import (
    InferenceRPUConfig,
    LinearStepDevice,
    NoiseManagementType,
    PulseType,
    SingleRPUConfig,
    SoftBoundsDevice,
    TransferCompound,
    UnitCellRPUConfig,
    from_dict,
)
from aihw_torch.errors import StateError
from aihw_torch.legacy.__main__ import main
from aihw_torch.legacy.reader import Record
from aihw_torch.nn import (
    AnalogConv2d,
    AnalogConv2dMapped,
    AnalogLinear,
    AnalogLinearMapped,
    AnalogSequential,
    named_analog_tiles,
)

FOLDER = Path(__file__).parent / "aihwkit_checkpoints"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
PULSED = ("soft_bounds", "linear_analog_bias", "power", "transfer")  # devices without noise


def model_like(name, config):
    """The model of make.py with a configuration."""
    if name.startswith("conv"):
        layer = AnalogConv2dMapped if name == "conv_mapped" else AnalogConv2d
        return AnalogSequential(layer(2, 3, 2, rpu_config=config))
    if name == "grid":
        return AnalogSequential(AnalogLinear(4, 3, rpu_config=config), nn.Tanh(), nn.Linear(3, 2))
    return AnalogSequential(AnalogLinear(4, 3, rpu_config=config))


def imported(name):
    checkpoint = import_checkpoint(FOLDER / f"{name}.pt")
    model = model_like(name, next(iter(checkpoint.rpu_configs.values())))
    return checkpoint, model, checkpoint.load_into(model)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_weights_and_biases_are_those_of_aihwkit(name):
    """Logical weights, whose scales aihwkit multiplies in another order: to one rounding."""
    _, model, remarks = imported(name)
    tiles = dict(named_analog_tiles(model))
    if name == "conv_mapped":  # two tiles of 4 columns there, and here of 4 columns as well, below another name
        assert len(tiles) == 2
        parts = [torch.tensor(EXPECTED[name]["tiles"][f"0.array.{i}.0"]["weight"]) for i in range(2)]
        torch.testing.assert_close(model[0].get_weights()[0].flatten(1), torch.cat(parts, 1), rtol=1e-6, atol=0)
        assert "0: cut into tiles in another way, so it got its logical weights only" in remarks
        digital = {"0.analog_module.bias": EXPECTED[name]["digital"]["0.bias"]}
    else:
        assert list(tiles) == list(EXPECTED[name]["tiles"])
        digital = EXPECTED[name]["digital"]
        for tile, values in EXPECTED[name]["tiles"].items():
            torch.testing.assert_close(tiles[tile].get_weights()[0], torch.tensor(values["weight"]), rtol=1e-6, atol=0)
    for key, values in digital.items():
        assert torch.equal(model.state_dict()[key], torch.tensor(values)), key


@pytest.mark.parametrize("name", PULSED)
def test_devices_answer_to_a_pulse_as_those_of_aihwkit(name):
    """One pulse without noise on each device: to a few roundings of float32, 1e-7 of steps of 1e-2."""
    _, model, _ = imported(name)
    (tile,) = model.analog_tiles()
    expected = EXPECTED[name]["tiles"]["0.analog_module"]
    tile.update(torch.ones(1, 4), torch.ones(1, 3), 1.0)
    torch.testing.assert_close(
        tile.get_weights(apply_weight_scaling=False)[0],
        torch.tensor(expected["after_a_pulse"])[:, :4],
        rtol=0,
        atol=2e-7,
    )
    for key, values in expected["hidden_after"].items():
        torch.testing.assert_close(tile.get_hidden_parameters()[key], torch.tensor(values), rtol=0, atol=2e-7)


def test_devices_are_taken_verbatim():
    for name in ("write_noise", "transfer", "mixed_precision", "agad", "preset"):
        checkpoint, model, _ = imported(name)
        (tile,) = model.analog_tiles()
        own, given = tile.get_hidden_parameters(), checkpoint.tiles["0.analog_module"].hidden
        for key, values in own.items():
            if key in given:
                assert torch.equal(values, given[key]), key
        assert len(own.keys() & given.keys()) == len(own)
        assert torch.equal(tile.weight, checkpoint.tiles["0.analog_module"].weight)


def test_configurations_come_along():
    configs = {name: next(iter(imported(name)[0].rpu_configs.values())) for name in EXPECTED}
    assert configs["soft_bounds"] == SingleRPUConfig(
        device=SoftBoundsDevice(dw_min=0.01, dw_min_std=0.0, up_down=0.2),
        forward=configs["soft_bounds"].forward,
        update=configs["soft_bounds"].update,
    )
    assert configs["soft_bounds"].forward.out_noise == 0.02
    assert configs["soft_bounds"].forward.noise_management is NoiseManagementType.ABS_MAX
    assert configs["soft_bounds"].update.pulse_type is PulseType.STOCHASTIC_COMPRESSED
    assert not configs["linear_analog_bias"].mapping.digital_bias
    assert isinstance(configs["linear_analog_bias"].device, LinearStepDevice)
    assert isinstance(configs["transfer"], UnitCellRPUConfig)
    assert isinstance(configs["transfer"].device, TransferCompound)
    assert configs["transfer"].device.transfer_every == 100
    assert isinstance(configs["grid"], InferenceRPUConfig)
    assert configs["grid"].noise_model.g_converter.g_max == 25.0
    assert configs["grid"].mapping.learn_out_scaling
    preset = from_dict(aihw_presets.load("TikiTakaEcRamPreset"))
    preset.mapping.weight_scaling_omega = 0.3
    assert configs["preset"] == preset


def test_periphery_of_tiles():
    """Scales, input ranges and the number of batches that the range has seen."""
    checkpoint, model, _ = imported("grid")
    tile = model[0].analog_module.array[1][0]
    given = checkpoint.tiles["0.analog_module.array.1.0"].periphery
    assert torch.equal(tile.mapping_scales, given["mapping_scales"])
    assert torch.equal(tile.out_scaling_alpha, given["out_scaling_alpha"])
    assert tile.input_range.item() == given["input_range"].item() != 3.0
    assert tile.input_range_update_idx.item() == 3
    checkpoint, model, _ = imported("torch_tile")
    assert model[0].analog_module.mapping_scales.shape == (3,)


def test_a_whole_layer_for_another_grid():
    """A model without limits takes the matrix of the grid; learned scales are in the weights then."""
    checkpoint = import_checkpoint(FOLDER / "grid.pt")
    model = model_like("grid", InferenceRPUConfig())
    remarks = checkpoint.load_into(model)
    parts = [torch.tensor(t["weight"]) for t in EXPECTED["grid"]["tiles"].values()]
    torch.testing.assert_close(model[0].get_weights()[0], torch.cat(parts, 1), rtol=1e-6, atol=0)
    assert model[0].bias.tolist() == pytest.approx(EXPECTED["grid"]["digital"]["0.analog_module.bias"])
    assert "0: cut into tiles in another way, so it got its logical weights only" in remarks


def test_a_grid_of_one_tile_keeps_its_tile(tmp_path, records):
    """In either direction: the tile has another name then, and the bias is another module's."""
    checkpoint = import_checkpoint(FOLDER / "torch_tile.pt")
    given = checkpoint.tiles["0.analog_module"]
    grid = AnalogSequential(AnalogLinearMapped(4, 3, rpu_config=given.config))
    assert checkpoint.load_into(grid) == checkpoint.remarks
    assert torch.equal(grid[0].analog_module.bias, given.periphery["bias"])
    assert torch.equal(grid[0].analog_module.array[0][0].mapping_scales, given.periphery["mapping_scales"])
    content = torch.load(FOLDER / "torch_tile.pt", weights_only=False, pickle_module=records)
    name, bias = "0.analog_module.", content.pop("0.analog_module.bias")
    renamed = {f"{name}array.0.0.{key[len(name) :]}": values for key, values in content.items()}
    torch.save({**renamed, f"{name}bias": bias}, tmp_path / "grid.pt")
    single = model_like("torch_tile", given.config)
    import_checkpoint(tmp_path / "grid.pt").load_into(single)
    assert torch.equal(single[0].bias, given.periphery["bias"])
    assert torch.equal(single[0].analog_module.mapping_scales, given.periphery["mapping_scales"])
    assert torch.equal(single[0].weight, grid[0].weight)


@pytest.fixture
def records(monkeypatch):
    """A pickle module that reads and writes classes of aihwkit as stand-ins, to make files that differ."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if not module.startswith("aihwkit"):
                return super().find_class(module, name)
            parts = module.split(".")
            for n in range(1, len(parts) + 1):
                path = ".".join(parts[:n])
                monkeypatch.setitem(sys.modules, path, sys.modules.get(path, types.ModuleType(path)))
            made = sys.modules[module]
            if not hasattr(made, name):
                setattr(made, name, type(name, (Record,), {"__module__": module}))
            return getattr(made, name)

    module = types.ModuleType("pickle_of_records")
    module.__dict__.update({**vars(pickle), "Unpickler": Unpickler})
    return module


def test_checkpoints_with_an_optimizer_beside(tmp_path, records):
    """As examples of aihwkit save them: under a name of their own."""
    content = torch.load(FOLDER / "torch_tile.pt", weights_only=False, pickle_module=records)
    torch.save({"model": content, "epoch": 3}, tmp_path / "both.pt")
    assert list(import_checkpoint(tmp_path / "both.pt").tiles) == ["0.analog_module"]


def test_parts_of_a_configuration_without_counterpart_are_reported(tmp_path, records):
    content = torch.load(FOLDER / "torch_tile.pt", weights_only=False, pickle_module=records)
    config = content["0.analog_module.analog_tile_state"]["rpu_config"]
    config.forward.nonsense = 3.0
    home_made = type("HomeMade", (Record,), {"__module__": "aihwkit.inference.noise.pcm"})
    sys.modules["aihwkit.inference.noise.pcm"].HomeMade = home_made
    config.noise_model = home_made()
    config.mapping.max_input_size = -1
    torch.save(content, tmp_path / "odd.pt")
    checkpoint = import_checkpoint(tmp_path / "odd.pt")
    assert checkpoint.remarks[:3] == [
        "0.analog_module: forward.nonsense = 3.0: there is no such field",
        "0.analog_module: noise_model: HomeMade is not known",
        "0.analog_module: the configuration is refused here: MappingParameter: tile sizes must not be negative",
    ]
    assert checkpoint.rpu_configs["0.analog_module"].forward.out_noise == 0.02


# ---- refusals


class Evil:
    """An object whose reading would run a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_code_in_a_file_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    torch.save({"0.analog_module.analog_tile_state": Evil(f"touch {mark}")}, tmp_path / "evil.pt")
    with pytest.raises(StateError, match=r"system, which reading it would execute; only states are imported"):
        import_checkpoint(tmp_path / "evil.pt")
    assert not mark.exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)  # the same file does run it elsewhere
    assert mark.exists()


def test_whole_models_and_other_files_are_refused(tmp_path, capsys):
    torch.save(nn.Linear(2, 3), tmp_path / "model.pt")
    with pytest.raises(StateError, match=r"names torch\.nn\.modules\.linear\.Linear.*save model\.state_dict\(\)"):
        import_checkpoint(tmp_path / "model.pt")
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "digital.pt")
    with pytest.raises(StateError, match="holds no state of a model of aihwkit"):
        import_checkpoint(tmp_path / "digital.pt")
    torch.save({"analog_tile_state_0_0": {}}, tmp_path / "old.pt")
    with pytest.raises(StateError, match=r"before 0\.9\.2"):
        import_checkpoint(tmp_path / "old.pt")
    (tmp_path / "text.pt").write_text("nothing")
    with pytest.raises(StateError, match=r"is not a file of torch\.save"):
        import_checkpoint(tmp_path / "text.pt")
    data = (FOLDER / "conv.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(StateError, match=r"cut\.pt is"):
        import_checkpoint(tmp_path / "cut.pt")
    torch.save({"0.analog_tile_state": {"analog_tile_weights": torch.ones(2, 2)}}, tmp_path / "part.pt")
    with pytest.raises(StateError, match="no weights or no configuration"):
        import_checkpoint(tmp_path / "part.pt")
    with pytest.raises(FileNotFoundError):
        import_checkpoint(tmp_path / "absent.pt")
    assert main([str(tmp_path / "absent.pt")]) == 2
    assert "absent.pt" in capsys.readouterr().err


MISFITS = {
    "another size": (lambda c: AnalogSequential(AnalogLinear(5, 3, rpu_config=c)), "does not fit the model"),
    "another layer": (lambda c: AnalogSequential(nn.Tanh(), AnalogLinear(4, 3, rpu_config=c)), "has no tile 0.analog"),
    "no scales learned": (
        lambda c: AnalogSequential(AnalogLinear(4, 3, rpu_config=changed(c, learn_out_scaling=True))),
        "out_scaling_alpha is in the model and not in the checkpoint",
    ),
    "more layers": (
        lambda c: AnalogSequential(AnalogLinear(4, 3, rpu_config=c), nn.Linear(3, 3)),
        "differ in 1.bias, 1.weight",
    ),
    "another device": (
        lambda c: AnalogSequential(AnalogLinear(4, 3, rpu_config=with_device(c, LinearStepDevice()))),
        None,
    ),
}


def changed(config, **fields):
    config = config.mutable_copy()
    for name, value in fields.items():
        setattr(config.mapping, name, value)
    return config


def with_device(config, device):
    config = config.mutable_copy()
    config.device = device
    return config


@pytest.mark.parametrize("case", list(MISFITS))
def test_what_does_not_fit_leaves_the_model_as_it_was(case):
    make, sentence = MISFITS[case]
    checkpoint = import_checkpoint(FOLDER / "soft_bounds.pt")
    model = make(checkpoint.rpu_configs["0.analog_module"])
    before = copy.deepcopy(model.state_dict())
    if sentence is None:  # the slopes of the checkpoint are those of this device as well
        assert any("configuration of the model is another one" in r for r in checkpoint.load_into(model))
        return
    with pytest.raises(StateError, match=sentence):
        checkpoint.load_into(model)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_the_command(tmp_path, capsys):
    assert main([str(FOLDER / "grid.pt"), "--configs", str(tmp_path / "configs.json")]) == 0
    text = capsys.readouterr().out
    assert "2 tiles, 3 other tensors" in text
    assert "not taken over: constants of converters" in text
    plain = json.loads((tmp_path / "configs.json").read_text())
    assert plain["0.analog_module.array.0.0"]["class"] == "InferenceRPUConfig"
    assert aihw_torch.import_checkpoint is import_checkpoint
