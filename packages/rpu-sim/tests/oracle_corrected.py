"""What is expected where the reference has a defect that we do not share: closed forms in place of its numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle_cases import Case, Statistic
from oracle_mvm import inputs, weights


def _exactly(value: np.ndarray) -> Statistic:
    return Statistic(np.asarray(value, np.float64), np.zeros(np.shape(value)), False, 0.0, 0.0, 0.0, 0.0)


def voltage_offset(case: Case) -> dict[str, Statistic]:
    """y - v (y + 2 y_ref) with a rectified normal v and a reference device of weight -1."""
    x, std = inputs(case).astype(np.float64), case.config.forward.v_offset_std
    y = x @ weights(case).T.astype(np.float64)
    per_offset = y + 2 * x.sum(1, keepdims=True)
    return {
        "mean": _exactly(y - std / np.sqrt(2 * np.pi) * per_offset),
        "std": _exactly(std * np.sqrt(0.5 - 0.5 / np.pi) * np.abs(per_offset)),
        "within_tile_std": _exactly(np.zeros_like(y)),
    }


CORRECTED: dict[str, dict[str, Callable[[Case], dict[str, Statistic]]]] = {"mvm": {"v_offset": voltage_offset}}


def expected(case: Case) -> dict[str, Statistic]:
    """The corrected statistics of a case, or those of the reference."""
    correction = CORRECTED.get(case.kind, {}).get(case.id)
    return case.stats if correction is None else correction(case)
