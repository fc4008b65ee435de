"""Agreement with reference statistics of an established simulator: exact traces, distributions and moments."""

from __future__ import annotations

import numpy as np
import pytest
from oracle_cases import KINDS, NOT_APPLICABLE, PARTIAL, Case, all_ids, cases
from oracle_comparison import comparisons

CASES = [case for kind in KINDS for case in cases(kind)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    """Every entry within its tolerance, or within five joint standard errors (false alarm 5.7e-7 per entry)."""
    for comparison in comparisons(case):
        worst = float(np.max(comparison.ratio))
        assert worst <= 1, f"{comparison.name} deviates by {worst:.2f} times what is allowed"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("device_trace", "clip_remap")])
def test_z_values_of_a_kind(kind: str) -> None:
    """Biases too small for a single entry show in many: at most 2 % of z beyond 3, mean of z^2 at most 2."""
    z = np.concatenate([comparison.z for case in cases(kind) for comparison in comparisons(case)])
    assert z.size > 50
    assert np.mean(z > 3) < 0.02
    assert np.mean(z**2) < 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_case_is_run_or_listed_with_a_reason(kind: str) -> None:
    run, listed = {case.id for case in cases(kind)}, set(NOT_APPLICABLE[kind])
    assert run | listed == set(all_ids(kind))
    assert not run & listed
    assert set(PARTIAL.get(kind, {})) <= run


def test_what_is_compared_is_what_the_tables_say() -> None:
    """The files in data/ were written with the present tables, and every statistic of a case is compared."""
    assert len(CASES) + sum(map(len, NOT_APPLICABLE.values())) == 128
    for case in CASES:
        partial = PARTIAL.get(case.kind, {}).get(case.id)
        if partial is not None:
            assert not set(partial.left_out) & set(case.stats)
        assert {comparison.name for comparison in comparisons(case)} == set(case.stats)


def test_quirks_of_the_reference() -> None:
    """What we keep (B1, B2: published devices rely on them), share (B3), or rewrite by design (Q24: `REWRITTEN`)."""
    assert {quirk for case in CASES for quirk in case.quirks} <= {"B1", "B2", "B3", "Q24"}
