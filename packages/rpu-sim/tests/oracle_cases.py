"""The reference statistics in ``data/``: which cases apply to this version, and how a case is read.

The numbers come from black-box runs of the established simulator of the field on its CPU, in single precision; no text
of it is included. `NOT_APPLICABLE` and `PARTIAL` are the only places that leave anything out. ``dev/oracle_import.py``
reads both to write the files in ``data/``; after a change here, run it again.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rpu_sim import config as c

DATA = Path(__file__).parent / "data"
KINDS = (
    "device_trace",
    "population",
    "pulse_response",
    "update",
    "base_process",
    "modifier",
    "clip_remap",
    "compound_trace",
    "compound_stat",
    "weight_programming",
    "mvm",
)


#: Cases that need a device or a feature that does not exist, with the reason.
NOT_APPLICABLE: dict[str, dict[str, str]] = {
    "device_trace": {},
    "population": {},
    "pulse_response": {},
    "update": {},
    "compound_trace": {
        "transfer_two_reads_reset": (
            "T5: of two columns the reference resets the second before it is read; we reset a column after its read, "
            "as `test_a_column_is_reset_after_it_was_read` checks"
        ),
        "mixedprecision_bl_loss": (
            "M2: the reference loses pulses above desired_bl; we write all, as "
            "`test_mixed_precision_writes_what_it_takes_from_chi` checks"
        ),
    },
    "compound_stat": {
        "onesided_refresh_defaultbl": (
            "O1: a refresh of the reference writes at most desired_bl pulses; we write all, as "
            "`test_a_refresh_keeps_the_weight` checks"
        ),
        "mixedprecision_stochastic": (
            "M1, M2, M8: the reference transfers late, loses pulses and draws their number; we write exact ones, as "
            "`test_mixed_precision_writes_what_it_takes_from_chi` checks"
        ),
    },
    "base_process": {},
    "weight_programming": {},
    "modifier": {},
    "clip_remap": {},
    "mvm": {},
}


@dataclass(frozen=True)
class Partial:
    """A case that runs without some fields of its configuration, or of which some statistics are not compared."""

    without: tuple[str, ...]
    left_out: tuple[str, ...]
    reason: str


_SLOPES = Partial(
    (),
    ("slope_up.mean", "slope_up.std", "slope_down.mean", "slope_down.std"),
    "moments of the slopes are left out: 1 / bound has none",
)

_ALIASED = Partial(
    (), ("scales_after_set",), "the reference recorded the scales after setting as those after the last step"
)

_LOST_PULSES = Partial(
    (), (), "M2: of large first steps the reference loses pulses above desired_bl, we none: compared from call 75 on"
)

#: Cases of which a part applies. Populations without drift also leave out ``drift_nu``, which they do not have.
PARTIAL: dict[str, dict[str, Partial]] = {
    "population": {"softbounds_default": _SLOPES, "softboundspmax_default": _SLOPES},
    "weight_programming": {
        "MixedPrecisionReRamSBPreset": _LOST_PULSES,
        "MixedPrecisionGokmenVlasovPreset": _LOST_PULSES,
    },
    "compound_stat": {
        "onesided_refresh": Partial(
            (),
            ("W_std", "hidden_weights_0_std", "hidden_weights_1_std"),
            "U3: the spread is that of whole numbers of pulses which rounding lifts by a little; means are compared",
        )
    },
    "clip_remap": {"remap_layer": _ALIASED, "remap_channel": _ALIASED, "remap_channel_range": _ALIASED},
    "mvm": {
        "w_read_asymmetry_onepass_inactive": Partial(
            ("w_read_asymmetry_dtod",), (), "refused with one pass, where it has no effect: compared without it"
        ),
    },
}


@dataclass(frozen=True)
class ByDesign:
    """A case in which we differ on purpose.

    Attributes:
        reason: Why, for the table.
        expected: Exact values that replace statistics of the reference.
        fields: Other values of our fields, which mean something else, with which the law of the reference comes out.
        own_law: All statistics are compared with a law of our own, in `oracle_corrected`.
    """

    reason: str
    expected: dict[str, float] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    own_law: bool = False


_RESET_TARGET = ByDesign(
    "a reset and the decay lead to the weight `reset`, here 0, and not to the symmetry point on top of it",
    expected={"reset_bias.mean": 0.0, "reset_bias.std": 0.0, "reset_bias.quantiles": 0.0},
)


def _other_scale(reason: str, **fields: Any) -> ByDesign:
    return ByDesign(f"differs by design: {reason}", fields=fields)


_FULL_RANGE = "`res` is a fraction of the full range, as everywhere, so the same grid is half of it"

#: Cases that differ by design. `TRANSLATED` and `SHIFTED` of `oracle_compounds` change the calls of a case instead.
BY_DESIGN: dict[str, dict[str, ByDesign]] = {
    "population": {
        "softboundsreference_subtract": _RESET_TARGET,
        "powstepreference_subtract": _RESET_TARGET,
        "preset_ReRamArrayOM": _RESET_TARGET,
    },
    "modifier": {
        "mult_normal": _other_scale(
            "`std_dev` is relative to the weight, not also to the largest one (0.49996)", std_dev=0.2 * 0.499961615
        ),
        "discretize": _other_scale(_FULL_RANGE, res=0.05),
        "discretize_sto": _other_scale(_FULL_RANGE, res=0.15),
        "discretize_add_normal": _other_scale(_FULL_RANGE, res=0.1),
        "dorefa": _other_scale("`res` is a fraction of 2 `dorefa_clip`", res=0.1 / (2 * 0.6)),
        "poly": _other_scale(
            "our default has 0.0786 = 1.965 / 25; compared with the coefficient of the reference",
            coeffs=[0.0105392, 0.0768, -0.046925],
        ),
    },
    "mvm": {
        "v_offset": ByDesign(
            "the law of offsets is the rectified normal, as documented; the reference has either sign", own_law=True
        )
    },
}


@dataclass(frozen=True)
class Statistic:
    """A reference value with its standard error, or an exact one with tolerances."""

    value: NDArray[np.float64]
    stderr: NDArray[np.float64]
    exact: bool
    atol: float
    rtol: float
    rel_sys: float
    abs_sys: float


@dataclass(frozen=True, eq=False)
class Case:
    """One experiment with its reference statistics."""

    kind: str
    id: str
    config: Any  # of the tile, or of the operation on a weight matrix
    procedure: dict[str, Any]
    stats: dict[str, Statistic]
    quirks: tuple[str, ...]

    @property
    def device(self) -> c.PulsedDevice:
        assert isinstance(self.config.device, c.PulsedDevice)
        return self.config.device

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


def _statistic(entry: dict[str, Any]) -> Statistic:
    return Statistic(
        np.asarray(entry["value"], np.float64),
        np.asarray(entry.get("stderr", 0.0), np.float64),
        entry.get("exact", False),
        *(float(entry.get(name, 0.0)) for name in ("atol", "rtol", "rel_sys", "abs_sys")),
    )


def raw_statistics(kind: str, case: str) -> dict[str, Statistic]:
    """The statistics of a case as the reference gave them."""
    stats = next(entry["stats"] for entry in _file(kind)["cases"] if entry["id"] == case)
    return {name: _statistic(entry) for name, entry in stats.items()}


def _corrected(kind: str, case: str) -> dict[str, Statistic]:
    """Statistics of a case, with those replaced that differ by design: exact, to a rounding error."""
    stats = raw_statistics(kind, case)
    design = BY_DESIGN.get(kind, {}).get(case, ByDesign(""))
    return stats | {
        name: Statistic(np.full(stats[name].value.shape, value), np.zeros(1), True, 1e-7, 1e-6, 0.0, 0.0)
        for name, value in design.expected.items()
    }


@functools.cache
def _file(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / f"oracle_{kind}.json").read_text())
    return content


def all_ids(kind: str) -> list[str]:
    """Ids of every case of a kind, applicable or not, in the order of the reference."""
    return list(_file(kind)["ids"])


@functools.cache
def cases(kind: str) -> tuple[Case, ...]:
    """The applicable cases of a kind."""
    return tuple(
        Case(
            kind,
            case["id"],
            c.from_dict(case["config"]),
            case["procedure"],
            _corrected(kind, case["id"]),
            tuple(case["quirks"]),
        )
        for case in _file(kind)["cases"]
    )
