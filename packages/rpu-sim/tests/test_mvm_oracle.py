"""The signal chain against numbers of an established simulator (tests/data/mvm.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analog import Product

from rpu_sim.config import from_dict

DATA = json.loads((Path(__file__).parent / "data" / "mvm.json").read_text(encoding="utf-8"))

#: Cases of effects that this version refuses with ConfigError.
MISSING = {
    "ir_drop", "ir_drop_backward", "r_series", "r_series_no_reference", "out_nonlinearity",
    "out_nonlinearity_calibrated", "posneg", "posneg_digital_sum", "w_noise_additive", "w_noise_pcm_read",
    "v_offset", "out_nonlinearity_std", "w_read_asymmetry", "w_read_asymmetry_onepass_inactive", "posneg_out_noise",
    "posneg_digital_sum_out_noise", "combo", "inference_like",
}  # fmt: skip
CASES = {case["id"]: case for case in DATA["cases"] if case["id"] not in MISSING}
EXACT = [name for name, case in CASES.items() if "y" in case["stats"]]
STATISTICAL = [name for name, case in CASES.items() if "mean" in case["stats"]]


def weights() -> np.ndarray:
    o, i = np.indices((DATA["weights"]["out"], DATA["weights"]["in"]))
    return (0.5 * np.sin(0.3 + 0.7 * o + 1.1 * i)).astype(np.float32)


def inputs(case: dict[str, Any]) -> np.ndarray:
    amplitudes = np.array(DATA["inputs"]["amplitudes"])
    width = DATA["weights"]["out" if case["backward"] else "in"]
    s, k = np.indices((len(amplitudes), width))
    return (amplitudes[:, None] * np.sin(0.2 + 0.9 * k + 2.3 * s)).astype(np.float32)


def product(case: dict[str, Any], key: int) -> Product:
    io = from_dict(case["io"])
    io.check()
    return Product(io, weights(), backward=case["backward"], key=key)


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str) -> None:
    case = CASES[name]
    expected = case["stats"]["y"]
    np.testing.assert_allclose(
        product(case, key=1)(inputs(case)), expected["value"], atol=expected["atol"], rtol=expected["rtol"]
    )


def moments(case: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Statistics and their standard errors over tiles, from as many tiles and repeats as the other simulator had."""
    tiles, repeats = case["tiles"], case["repeats"]
    x = np.tile(inputs(case), (repeats, 1))
    y = np.stack([product(case, key)(x).reshape(repeats, len(inputs(case)), -1) for key in range(1, tiles + 1)])
    y = y.astype(np.float64)
    per_tile = {"mean": y.mean(1), "within_tile_std": y.std(1, ddof=1)}
    found = {
        k: (np.sqrt((v**2).mean(0)) if k != "mean" else v.mean(0), v.std(0, ddof=1) / np.sqrt(tiles))
        for k, v in per_tile.items()
    }
    flat = y.reshape(tiles * repeats, *y.shape[2:])
    centred = (y - flat.mean(0)) ** 2
    error = centred.mean(1).std(0, ddof=1) / np.sqrt(tiles) / (2 * np.maximum(flat.std(0), 1e-12))
    found["std"] = (flat.std(0, ddof=1), error)
    if "corr_upper_triangle_sample1" in case["stats"]:
        upper = np.triu_indices(y.shape[-1], 1)
        corr = np.stack([np.corrcoef(tile[:, 1].T)[upper] for tile in y])
        found["corr_upper_triangle_sample1"] = (np.corrcoef(flat[:, 1].T)[upper], corr.std(0, ddof=1) / np.sqrt(tiles))
    return found


@pytest.mark.parametrize("name", STATISTICAL)
def test_statistical(name: str) -> None:
    """Within five standard errors of both sides, plus the stated systematic error of the other simulator."""
    case = CASES[name]
    found = moments(case)
    for statistic, expected in case["stats"].items():
        value, error = found[statistic]
        wanted, stderr = np.array(expected["value"]), np.array(expected["stderr"])
        allowed = 5 * np.hypot(error, stderr) + expected.get("abs_sys", 0.0) + 1e-6
        allowed = allowed + expected.get("rel_sys", 0.0) * np.abs(wanted)
        excess = np.abs(value - wanted) - allowed
        assert excess.max() <= 0, f"{statistic} is off by {excess.max():.2g} beyond {allowed.max():.2g}"
