"""The polynomials of core/fmath.hpp are as good as float32 needs, and the functions as exact as the header says."""

from __future__ import annotations

import fit_polynomials as fit
import pytest


@pytest.mark.parametrize("form", fit.FORMS, ids=lambda form: form.name.split(" ")[0])
def test_polynomials(form: fit.Form) -> None:
    """Each costs less than a quarter of the rounding of the result; no polynomial does better than the fit."""
    shipped, fitted = form.error(fit.shipped(form)), form.error(fit.minimax(form))
    assert fitted <= shipped < fit.HALF_ULP / 4


def test_functions() -> None:
    assert fit.measured_log() < 1.0
    assert fit.measured_exp() < 1.0
    assert fit.measured_exp2() < 1.1
    assert fit.measured_tanh() < 1.5
    assert fit.measured_sincos() < 1e-7
