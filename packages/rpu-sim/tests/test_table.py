"""Step tables: a measured device is fitted, saved, loaded and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sampling import check_law, identical, pulse, tile_of, weights_of

from rpu_sim import Tile, table
from rpu_sim import config as c
from rpu_sim.errors import ConfigError, StateError

DEVICES, CYCLES, PULSES = 200, 6, 40
TRUE = identical(c.SoftBoundsDevice, dw_min=0.03, dw_min_dtod=0.2, dw_min_std=0.5, mult_noise=False)
SCALE, SHIFT = 5e-6, 10e-6  # siemens per weight, siemens at weight 0


@pytest.fixture(scope="module")
def measurement(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Readings of soft-bounds devices with additive noise, pulsed up and down: 96000 pulses."""
    path = tmp_path_factory.mktemp("measurement") / "pulses.csv"
    tile = tile_of(TRUE, (1, DEVICES))
    readings = [("", tile.get_weights()[0])]
    for direction in ("+" * PULSES + "-" * PULSES) * CYCLES:
        pulse(tile, direction)
        readings.append(("up" if direction == "+" else "down", tile.get_weights()[0]))
    lines = ["device,direction,conductance"]
    for i in range(DEVICES):
        lines += [f"d{i},{direction},{SHIFT + SCALE * w[i]:.9g}" for direction, w in readings]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def fitted(measurement: Path) -> table.StepTable:
    return table.from_csv(measurement, bins=10, levels=41, limits=(SHIFT - 0.45 * SCALE, SHIFT + 0.45 * SCALE))


def expected_step(w: np.ndarray, direction: str) -> np.ndarray:
    """Mean of the true step, in weights."""
    return TRUE.dw_min * (1 - w / 0.6) if direction == "up" else -TRUE.dw_min * (1 + w / 0.6)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_fit_finds_the_law_of_the_steps(fitted: table.StepTable, direction: str) -> None:
    """In every bin but the outer ones, which also hold what lies beyond them: the mean within five standard errors and
    the gain, known to 0.2 / sqrt(200) = 1.4 %, within five of its own; the standard deviation within 8 %.

    With n >= 1900 pulses in a bin the standard deviation, 0.015, is known to 1.6 %, so 8 % are five standard errors.
    The slope of the step over a bin adds 0.4 % to it, 41 quantiles change it by less.
    """
    mean, std = (m[1:-1] / SCALE for m in fitted.moments(direction))
    n = {"up": fitted.n_up, "down": fitted.n_down}[direction][1:-1]
    w = (fitted.centres[1:-1] - SHIFT) / SCALE
    assert n.min() > 1900
    true = expected_step(w, direction)
    allowed = 5 * 0.015 / np.sqrt(n) + 5 * 0.2 / np.sqrt(DEVICES) * np.abs(true)
    assert (np.abs(mean - true) <= allowed).all()
    assert std == pytest.approx(0.015, rel=0.08)


def test_fit_finds_the_spread_between_devices(fitted: table.StepTable) -> None:
    """The standard error of a spread of 0.2 over 200 devices is 0.01; the noise of the estimates is taken off."""
    assert fitted.gain_std == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_replay(fitted: table.StepTable, direction: str) -> None:
    """One pulse of 65536 cells at weights between the bins, against the truth: the errors are those of the fit.

    65536 cells know the mean to 6e-5 and the standard deviation to 0.3 %, much better than the fit does.
    """
    device = fitted.device(w_min=-0.45, w_max=0.45, dw_min_dtod=0.0)
    for start in (-0.2, 0.03, 0.25):
        tile = tile_of(device, (256, 256), start=start)
        pulse(tile, "+" if direction == "up" else "-")
        change = weights_of(tile) - start
        true = float(expected_step(np.array(start), direction))
        assert change.mean() == pytest.approx(true, abs=5 * 0.015 / np.sqrt(1900) + 0.07 * abs(true))
        assert change.std() == pytest.approx(0.015, rel=0.08)


def test_replayed_devices_differ_by_their_gain(fitted: table.StepTable) -> None:
    device = fitted.device(w_min=-0.45, w_max=0.45)
    assert device.dw_min_dtod == fitted.gain_std
    steps = Tile(256, 256, c.SingleRPUConfig(device=device), seed=1).hidden_parameters()["dwmin_up"]
    assert np.std(steps / device.dw_min) == pytest.approx(fitted.gain_std, rel=0.02)
    assert Tile(1, 1, c.SingleRPUConfig(device=device)).granularity == pytest.approx(device.dw_min, rel=1e-6)


def test_pulses_have_the_law_of_the_table() -> None:
    """65536 pulses at the centre of a bin: the interpolated quantiles are the law (detects 0.015)."""
    quantiles = [0.0, 0.2, 1.0, 1.1, 3.0]
    device = c.TableStepDevice(dw_min=0.02, step_up=[quantiles, [5.0] * 5], step_down=[[-2.0] * 5, [-1.0] * 5])
    tile = tile_of(device, (256, 256), start=-0.3)  # centre of the lower bin
    pulse(tile, "+")
    check_law((weights_of(tile) + 0.3) / 0.02, lambda v: np.interp(v, quantiles, [0, 0.25, 0.5, 0.75, 1]), "step")
    tile = tile_of(device, (256, 256), start=0.0)  # halfway between the centres
    pulse(tile, "+")
    between = [2.5 + 0.5 * q for q in quantiles]
    check_law(weights_of(tile) / 0.02, lambda v: np.interp(v, between, [0, 0.25, 0.5, 0.75, 1]), "step")
    for start, step in ((-0.5, -2.0), (0.0, -1.5), (0.5, -1.0)):
        tile = tile_of(device, (1, 3), start=start)
        pulse(tile, "-")
        assert weights_of(tile) == pytest.approx(max(start + 0.02 * step, -0.6), abs=1e-6)


def test_table_survives_a_file(fitted: table.StepTable, tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    fitted.save(path)
    loaded = table.load(path)
    for name in ("edges", "up", "down", "n_up", "n_down"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))
    assert loaded.gain_std == fitted.gain_std
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(file["meta"].tobytes()) == {"format": "rpu_sim.step_table", "version": 1}
        assert set(file) == {"meta", "edges", "up", "down", "n_up", "n_down", "gain_std"}


def test_a_tile_with_a_table_survives_a_file(fitted: table.StepTable, tmp_path: Path) -> None:
    """The tables are part of the configuration, hence of the state."""
    tile = tile_of(fitted.device(), (4, 5))
    np.savez(tmp_path / "tile.npz", **tile.state_dict())
    with np.load(tmp_path / "tile.npz", allow_pickle=False) as stored:
        restored = Tile.from_state(dict(stored))
    assert restored.rpu_config.device == tile.rpu_config.device
    for each in (tile, restored):
        pulse(each, "+-+")
    np.testing.assert_array_equal(restored.weights, tile.weights)


def test_report(fitted: table.StepTable) -> None:
    lines = fitted.report().splitlines()
    assert len(lines) == 1 + 10 + 1
    assert lines[1].split()[1] == str(fitted.n_up[0])


DAMAGES = {
    "no archive": lambda arrays: None,
    "no meta": lambda arrays: {k: v for k, v in arrays.items() if k != "meta"},
    "other format": lambda arrays: {**arrays, "meta": np.frombuffer(b'{"format": "other", "version": 1}', np.uint8)},
    "later version": lambda arrays: {
        **arrays,
        "meta": np.frombuffer(b'{"format": "rpu_sim.step_table", "version": 2}', np.uint8),
    },
    "missing table": lambda arrays: {k: v for k, v in arrays.items() if k != "down"},
    "single precision": lambda arrays: {**arrays, "up": arrays["up"].astype(np.float32)},
    "other shape": lambda arrays: {**arrays, "up": arrays["up"][:-1]},
    "nan": lambda arrays: {**arrays, "up": arrays["up"] * np.nan},
    "unsorted": lambda arrays: {**arrays, "up": arrays["up"][:, ::-1]},
    "uneven edges": lambda arrays: {**arrays, "edges": arrays["edges"] ** 2},
    "gains": lambda arrays: {**arrays, "gain_std": np.array([0.1, 0.2])},
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_files_are_refused(fitted: table.StepTable, tmp_path: Path, what: str) -> None:
    path = tmp_path / "table.npz"
    fitted.save(path)
    with np.load(path) as file:
        damaged = DAMAGES[what](dict(file))
    if damaged is None:
        path.write_bytes(path.read_bytes()[:100])
    else:
        with path.open("wb") as out:
            np.savez(out, **damaged)
    with pytest.raises(StateError) as error:
        table.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "header"),
        ("device,conductance\na,1\n", "header"),
        ("direction,conductance\nup,1.0\n", "no reading before"),
        ("direction,conductance\n,1.0\nleft,2.0\n", "line 3"),
        ("direction,conductance\n,1.0\nup,high\n", "line 3"),
        ("direction,conductance\n,1.0\nup,nan\n", "line 3"),
        ("direction,conductance\n,1.0\n", "no pulses"),
        ("direction,conductance\n,1.0\nup,2.0\ndown,1.0\n", "only"),
        ("direction,conductance\n,1.0\nup,1.0\n", "increase"),
    ],
)
def test_bad_measurements(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "pulses.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match):
        table.from_csv(path)


def test_bad_tables() -> None:
    flat = {"step_up": [[1.0, 1.0]], "step_down": [[-1.0, -1.0]]}
    bad = {
        "noise": {"dw_min_std": 0.3},
        "rows": {"step_up": [[1.0, 1.0], [1.0, 1.0]]},
        "ragged": {"step_up": [[1.0, 1.0, 2.0]]},
        "one quantile": {"step_up": [[1.0]], "step_down": [[-1.0]]},
        "decreasing": {"step_up": [[1.0, 0.5]]},
        "infinite": {"step_up": [[1.0, float("inf")]]},
        "flat list": {"step_up": [1.0, 1.0]},
        "no step": {"step_up": [[-1.0, -1.0]]},
    }
    for what, fields in bad.items():
        with pytest.raises(ConfigError):
            Tile(1, 1, c.SingleRPUConfig(device=c.TableStepDevice(**{**flat, **fields})))
        assert what
