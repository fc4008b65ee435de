"""Export of conductances to a chip, and import."""

from __future__ import annotations

import copy

import pytest
import torch
from hwa_examples import hwa_config
from torch import nn

from aihw_inference import SinglePairConductanceConverter
from aihw_torch.errors import FusionExportError
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from aihw_torch.utils.export import fusion_export, fusion_import

FIRST, SECOND = [[1.0, 0.2], [0.3, -0.4]], [[-0.5, 0.6], [0.7, -1.0]]


def small_model() -> AnalogSequential:
    model = AnalogSequential(
        AnalogLinear(2, 2, True, hwa_config(), seed=1), nn.Tanh(), AnalogLinear(2, 2, True, hwa_config(), seed=2)
    )
    model[0].set_weights(torch.tensor(FIRST), torch.zeros(2))
    model[2].set_weights(torch.tensor(SECOND), torch.ones(2))
    return model


def test_known_conductances() -> None:
    """The values that the established toolkit gives for these two layers."""
    data, _, _ = fusion_export(small_model())
    assert list(data) == ["0", "2"]
    assert data["0"] == pytest.approx([40, 8, 30, 40])
    assert data["2"] == pytest.approx([100 / 3, 40, 28, 40])
    data, _, _ = fusion_export(small_model(), SinglePairConductanceConverter(g_max=1.0, g_min=0.0))
    assert data["0"] == pytest.approx([1, 0.2, 0.3, 0, 0, 0, 0, 0.4])


def test_the_table(tmp_path) -> None:
    fusion_export(small_model(), file_name=tmp_path / "chip.csv")
    rows = (tmp_path / "chip.csv").read_text().split()
    assert rows[:6] == ["1,3", "AnalogLinear,AnalogLinear", "4,4", "2,2", "2,2", "0,2"]
    assert len(rows) == 8


def layers(kind: str, grid: bool):
    config = hwa_config()
    config.mapping.weight_scaling_omega = 1.0
    if grid:
        config.mapping.max_input_size = 5
    if kind == "linear":
        return AnalogSequential(AnalogLinear(12, 3, True, config, seed=3)), torch.randn(4, 12)
    return AnalogSequential(AnalogConv2d(2, 3, 3, rpu_config=config, seed=3)), torch.randn(2, 2, 5, 5)


@pytest.mark.parametrize("grid", [False, True], ids=["tile", "grid"])
@pytest.mark.parametrize("kind", ["linear", "conv2d"])
@pytest.mark.parametrize("by_file", [False, True], ids=["data", "file"])
def test_the_weights_come_back(tmp_path, kind: str, grid: bool, by_file: bool) -> None:
    """Also with a common drift of the conductances, which the regression undoes."""
    model, x = layers(kind, grid)
    file = tmp_path / "chip.csv"
    data, params, state = fusion_export(model, file_name=file)
    state, expected = copy.deepcopy(state), model.eval()(x)
    for tile in model.analog_tiles():
        tile.set_weights(torch.randn(tile.out_size, tile.in_size))
    source = file if by_file else {name: [0.7 * g for g in values] for name, values in data.items()}
    assert fusion_import(source, model.train(), params, state) is model
    assert not model.training
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_changes_nothing(tmp_path) -> None:
    model = small_model()
    data, params, _ = fusion_export(model, file_name=tmp_path / "chip.csv")
    before = copy.deepcopy(model.state_dict())
    short = {**data, "2": data["2"][:3]}
    text = (tmp_path / "chip.csv").read_text()
    (tmp_path / "other.csv").write_text(text.replace("AnalogLinear", "AnalogConv2d"))
    (tmp_path / "broken.csv").write_text(text.replace("40.0", "many"))
    for source, message in (
        ({"0": data["0"]}, "of other layers"),
        (short, "layer 2 needs a conductance for each device"),
        (tmp_path / "other.csv", "is not of this model"),
        (tmp_path / "broken.csv", "no number"),
    ):
        with pytest.raises(FusionExportError, match=message):
            fusion_import(source, model, params)
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name]), name
    with pytest.raises(FusionExportError, match="no inference tile"):
        fusion_export(AnalogLinear(2, 2))
    with pytest.raises(FusionExportError, match="no analog layer"):
        fusion_export(nn.Linear(2, 2))
