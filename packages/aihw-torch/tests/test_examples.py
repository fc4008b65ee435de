"""Every example runs, small, and shows what it says; each has a line in the documentation and answers `--help`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
pytest.importorskip("scipy", reason="examples of linear algebra and fits need SciPy")
pytest.importorskip("matplotlib", reason="some examples draw")

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = Path(__file__).parents[3] / "docs" / "examples.md"
FOR_TORCHRUN = "20_data_parallel"  # see test_distributed.py
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != FOR_TORCHRUN)


def falls(factor):
    return lambda losses: losses[-1] < factor * losses[0]


def last(floor):
    return lambda results: results[-1]["accuracy"] > floor


#: Arguments of a small run, and what must hold for what `main` returns. Chance is 0.1 for digits and textures.
CASES = {
    "01_simple_layer": ("--steps 60", falls(0.2)),
    "02_multiple_layer": ("--steps 60", falls(0.2)),
    "03_digits_mlp": ("--epochs 7", lambda found: found > 0.3),
    "04_lenet5_training": ("--epochs 1", lambda f: f["floating point"] > 0.4 and f["TTv2"] > 0.15),  # 0.71, 0.20
    "05_simple_layer_hardware_aware": ("--steps 100", lambda rows: len(rows) == 6 and rows[-1]["loss"] < 0.1),
    "06_lenet5_hardware_aware": ("--epochs 2 --chips 2", lambda table: table.mean[0] > 0.6),
    "07_simple_layer_with_other_devices": ("--steps 60", lambda found: max(found.values()) < 0.1),
    "08_simple_layer_with_tiki_taka": ("--steps 100", falls(0.5)),
    "09_simple_layer_deterministic_pulses": ("--steps 60", lambda f: f["stochastic"] < 0.1 > f["deterministic"]),
    "10_plot_presets": (
        "--devices EcRamPresetDevice --loops 1",
        lambda paths: paths[0].read_bytes().startswith(b"\x89PNG"),
    ),
    "11_vgg8_training": ("--epochs 2 --samples 300 --width 4", lambda found: found > 0.2),
    "12_simple_layer_with_mixed_precision": ("--steps 60", falls(0.2)),
    "13_experiment_3fc": ("--epochs 2 --samples 700", last(0.5)),
    "14_experiment_custom_scheduler": ("--epochs 4 --samples 400", lambda r: [x["lr"] for x in r][2:] == [0.1, 0.05]),
    "15_simple_rnn": ("--steps 40 --hidden 8 --length 10", lambda found: found["LSTM"] < 0.4),
    "16_digits_gan": ("--epochs 4", lambda rows: rows[-1]["mean image off by"] < rows[0]["mean image off by"]),
    "17_resnet34_conversion": ("--blocks 1 1 --width 8", lambda summary: summary.total_tile_number == 7),
    "18_resnet_training": ("--epochs 2 --samples 100 --width 4", lambda found: found[1]),
    "19_analog_summary_lenet": ("", lambda summary: summary.total_nb_analog == 4),
    "21_fit_device_data": ("--cycles 1", lambda distance: 0.0 < distance < 0.2),
    "22_alice_lstm": ("--steps 30 --hidden 16 --length 16", lambda found: max(found.values()) < 40.0),
    "23_using_analog_tile_as_matrix": ("", lambda found: max(found.values()) < 0.7),
    "24_transformer_spans": ("--steps 200 --width 16 --chips 1", lambda found: found["digital"] > 0.3),
    "25_lenet5_learned_input_range": ("--epochs 2", lambda found: min(found) > 0.4),
    "26_correlation_detection": ("--updates 500", lambda found: found["agad"] > 1.0),
    "27_input_range_calibration": ("--epochs 2", lambda f: min(f["MAX"], f["CACHE_QUANTILE"]) > f["not calibrated"]),
    "28_advanced_irdrop": ("--size 64 --resistances 0 0.5", lambda rows: all(r["0.5 Ohm"] > r["0 Ohm"] for r in rows)),
    "29_linalg_krylov": (
        "--points 8 --systems 1",
        lambda rows: rows[0]["exact products"] > rows[2]["exact products"] and rows[2]["residual"] < 1e-9,
    ),
    "30_external_hardware_aware_model": ("--epochs 5 --samples 200 --width 4 --chips 1", lambda t: t.mean[0] > 0.2),
    "31_custom_drift_models": ("--size 32 --chips 2", lambda rows: rows[-1]["table"] > rows[0]["table"]),
    "32_weight_programming_options": ("--size 64", lambda f: f["two pairs, 1 and 1"] < f["single pair"]),
    "33_weight_programming_optimization": (
        "--weights 512 --bins 2 --iterations 3",
        lambda losses: losses[1] < losses[0],
    ),
    "34_reram_inference": ("--chips 1 --inputs 20", lambda rows: 0.0 < rows[0]["accepted within 0.2%"] < 0.3),
    "35_half_precision_training": ("--epochs 1", lambda found: min(found.values()) > 0.3),
    "36_gpt_on_alice": ("--steps 60 --width 16 --blocks 1 --context 16 --chips 1", lambda f: max(f.values()) < 30.0),
    "37_lenet_four_ways": ("--epochs 1 --size 16", lambda found: found["pulsed SGD"] > 0.5),
}

#: An option that is a whole number, of at least one.
COUNT = r"(--\w+) \d+( |$)"


def load(name):
    """Import an example, whose name is no identifier."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_an_example_shows_what_it_says(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments, holds = CASES[name]
    found = load(name).main(arguments.split())
    assert len(capsys.readouterr().out.splitlines()) > 2
    assert holds(found), found


@pytest.mark.parametrize("name", NAMES)
def test_an_example_explains_itself(name, capsys):
    module = load(name)
    assert len(module.__doc__.splitlines()[0]) < 121
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    assert "--seed" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in NAMES if re.search(COUNT, CASES[name][0])])
def test_an_example_refuses_to_do_nothing(name, capsys):
    option = re.search(COUNT, CASES[name][0])[1]
    with pytest.raises(SystemExit) as ended:
        load(name).main([option, "0"])
    assert ended.value.code == 2
    assert f"argument {option}: must be at least 1, not 0" in capsys.readouterr().err


@pytest.mark.skipif(not PAGE.exists(), reason="a source distribution has no documentation")
def test_every_example_is_in_the_documentation():
    listed = re.findall(r"^\| `(\d\d_\w+)`", PAGE.read_text(), re.MULTILINE)
    assert listed == sorted([*NAMES, FOR_TORCHRUN])


def test_numbers_do_not_depend_on_what_ran_before(capsys):
    """An example sets the seed of everything that it does."""
    example = load("01_simple_layer")
    first = example.main(["--steps", "5"])
    torch.rand(7)
    assert example.main(["--steps", "5"]) == first
