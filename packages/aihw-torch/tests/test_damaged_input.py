"""What a user may hand in by accident is refused in one sentence, and nothing is lost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rpu_sim
from aihw_torch.config import FloatingPointRPUConfig, InferenceRPUConfig, SingleRPUConfig, SoftBoundsDevice
from aihw_torch.errors import ConfigError, NonFiniteError, ShapeError, StateError
from aihw_torch.inference import InferenceTile, drift_analog_weights
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles.state import encode_config
from aihw_torch.utils.conductances import export_conductances, import_conductances
from aihw_torch.utils.safetensors import load_safetensors, save_safetensors
from rpu_sim import table


def programmed() -> AnalogLinear:
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig()).eval()
    drift_analog_weights(layer, 100.0)
    return layer


@pytest.mark.parametrize("name", ["g_prog", "targets", "drift_coefficients", "read"])
def test_programmed_states_that_are_not_finite(name: str) -> None:
    layer, other = programmed(), programmed()
    before = other.get_weights()[0].clone()
    state = layer.state_dict()
    state[next(key for key in state if key.endswith("programmed." + name))].fill_(math.nan)
    with pytest.raises(RuntimeError, match=f"programmed.{name} is damaged"):
        other.load_state_dict(state)
    assert torch.equal(other.get_weights()[0], before)


@pytest.mark.parametrize(("name", "shape"), [("read", (3, 2)), ("counters", (3,)), ("time", (2,))])
def test_programmed_states_of_another_shape(name: str, shape: tuple[int, ...]) -> None:
    layer = programmed()
    state = layer.state_dict()
    key = next(key for key in state if key.endswith("programmed." + name))
    state[key] = torch.zeros(shape, dtype=state[key].dtype)
    with pytest.raises(RuntimeError, match=f"programmed.{name} is damaged"):
        programmed().load_state_dict(state)


def mixed() -> nn.Module:
    config = SingleRPUConfig(device=SoftBoundsDevice())
    layers = (
        AnalogLinear(4, 3, rpu_config=config),
        nn.BatchNorm1d(3),
        AnalogLinear(3, 3, rpu_config=InferenceRPUConfig()),
    )
    return AnalogSequential(*layers, nn.Linear(3, 3), AnalogLinear(3, 2, rpu_config=config)).eval()


def _shorter(state: dict[str, Any], name: str) -> None:
    state[name] = state[name][..., :-1]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("4.analog_module.weight", _shorter),
        ("4.analog_module.cell.max_bound", lambda state, name: state[name].fill_(math.nan)),
        ("4.analog_module.bias", _shorter),
        ("4.analog_module.meta", _shorter),
        ("4.analog_module.meta", lambda state, name: state.__setitem__(name, state["2.analog_module.meta"])),
        ("2.analog_module.meta", _shorter),
        ("2.analog_module.meta", lambda state, name: state.__setitem__(name, state["4.analog_module.meta"])),
        ("2.analog_module.weight", _shorter),
        ("2.analog_module.seed", lambda state, name: state.__setitem__(name, torch.zeros(2))),
        ("2.analog_module.clipped", lambda state, name: state.__setitem__(name, torch.zeros(2))),
        ("2.analog_module.programmed.g_prog", lambda state, name: state.__setitem__(name, state[name][:, :-1])),
        ("2.analog_module.programmed.g_prog", lambda state, name: state.__setitem__(name, state[name][:1])),
        ("2.analog_module.mapping_scales", lambda state, name: state.__setitem__(name, torch.zeros(1))),
        ("3.weight", _shorter),
        ("4.analog_module.weight", lambda state, name: state.__setitem__(name, [1.0])),
    ],
)
def test_a_damaged_layer_leaves_the_whole_model_as_it_was(name: str, damage: Any, strict: bool) -> None:
    saved, model = mixed(), mixed()
    drift_analog_weights(saved, 100.0)
    state = dict(saved.state_dict())
    damage(state, name)
    before = {key: values.clone() for key, values in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"Error\(s\) in loading state_dict"):
        model.load_state_dict(state, strict=strict)
    assert all(torch.equal(values, before[key]) for key, values in model.state_dict().items())


@pytest.mark.parametrize("name", ["0.analog_module.cell.max_bound", "2.analog_module.seed", "3.bias"])
def test_a_state_that_lacks_something_is_loaded_as_a_whole_or_as_far_as_it_goes(name: str) -> None:
    saved, model = mixed(), mixed()
    state = saved.state_dict()
    del state[name]
    before = {key: values.clone() for key, values in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(state)
    assert all(torch.equal(values, before[key]) for key, values in model.state_dict().items())
    assert model.load_state_dict(state, strict=False).missing_keys == [name]
    assert torch.equal(model[4].weight, saved[4].weight)
    assert torch.equal(model[1].weight, saved[1].weight)


@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_configuration_is_called_so(number: int) -> None:
    model = mixed()
    state = model.state_dict()
    state[f"{number}.analog_module.meta"] = torch.tensor([1, 2, 3], dtype=torch.uint8)
    with pytest.raises(RuntimeError, match=rf"\(meta\) in the state of {number}.analog_module is damaged"):
        model.load_state_dict(state)


def test_a_configuration_of_another_kind_for_an_inference_tile() -> None:
    tile = InferenceTile(4, 3)
    state = tile.state_dict()
    state["meta"] = encode_config(FloatingPointRPUConfig())
    with pytest.raises(RuntimeError, match="class FloatingPointRPUConfig, which is not one of inference"):
        AnalogSequential(tile).load_state_dict({f"0.{k}": v for k, v in state.items()}, load_rpu_config=True)


def test_a_learning_rate_that_is_no_number_changes_nothing() -> None:
    layer = AnalogLinear(4, 3, rpu_config=SingleRPUConfig())
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    layer(torch.ones(2, 4)).sum().backward()
    optimizer.param_groups[0]["lr"] = math.nan
    before = {name: values.clone() for name, values in layer.state_dict().items()}
    with pytest.raises(NonFiniteError, match="learning rate is nan"):
        optimizer.step()
    assert all(torch.equal(values, before[name]) for name, values in layer.state_dict().items())


def test_a_transposed_matrix() -> None:
    with pytest.raises(ShapeError, match=r"takes weights of the shape \(2, 4\), not \(4, 2\)"):
        AnalogLinear(4, 2).set_weights(torch.zeros(4, 2))


@pytest.mark.parametrize("size", [1.5, "a", None])
def test_limits_of_a_grid_that_are_no_sizes(size: object) -> None:
    config = SingleRPUConfig()
    config.mapping.max_input_size = size  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="max_input_size"):
        AnalogLinear(4, 2, rpu_config=config)


def test_a_configuration_without_a_device_in_a_plain_tile() -> None:
    with pytest.raises(ConfigError, match="with a device"):
        rpu_sim.Tile(2, 2, InferenceRPUConfig())


def test_conductances_of_a_model_with_another_scale(tmp_path: Path) -> None:
    config = InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    first, second = (nn.Sequential(AnalogLinear(7, 5, rpu_config=config)).eval() for _ in "ab")
    second[0].set_weights(first[0].get_weights()[0] * 10)
    export_conductances(first, tmp_path / "chip")
    with pytest.raises(StateError, match="another digital scale"):
        import_conductances(second, tmp_path / "chip")


def test_a_truncated_safetensors_file(tmp_path: Path) -> None:
    layer, path = AnalogLinear(4, 2), tmp_path / "layer.safetensors"
    save_safetensors(layer, path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StateError, match="damaged"):
        load_safetensors(layer, path)


def test_measurements_saved_by_a_spreadsheet(tmp_path: Path) -> None:
    rows = "".join(f"{d},{'up' if i else ''},{0.1 * i + d}\n" for d in range(3) for i in range(4))
    for encoding, header in (
        ("utf-8", "device,direction,conductance\n"),
        ("utf-8-sig", "Device, Direction,conductance\n"),
    ):
        path = tmp_path / f"{encoding}.csv"
        path.write_text(header + rows, encoding=encoding)
        assert len(set(table.read_csv(path).device)) == 3
    path.write_text(header + rows, encoding="utf-16")
    with pytest.raises(ConfigError, match="UTF-8"):
        table.read_csv(path)


def test_an_empty_step_table(tmp_path: Path) -> None:
    path = tmp_path / "empty.npz"
    path.touch()
    with pytest.raises(StateError, match="no step table"):
        table.load(path)
