"""A tile as a linear operator of SciPy, and the Krylov example."""

from __future__ import annotations

import copy
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="rpu_sim.linalg needs SciPy")

from sampling import check_std, identical
from scipy.sparse.linalg import LinearOperator, aslinearoperator, gmres

from rpu_sim import config as c
from rpu_sim.errors import DtypeError, NonFiniteError, ShapeError
from rpu_sim.linalg import AnalogMatrix

PERFECT = c.IOParameters(is_perfect=True)
COLUMNWISE = {"weight_scaling_omega": 1.0, "weight_scaling_columnwise": True}


def config(device: c.Device | None = None, io: c.IOParameters = PERFECT, **mapping: object) -> c.SingleRPUConfig:
    return c.SingleRPUConfig(
        device=device or c.IdealDevice(), forward=io, backward=io, mapping=c.MappingParameter(**mapping)
    )


def matrix(m: int = 5, n: int = 3, scale: float = 7.0) -> np.ndarray:
    return scale * np.random.default_rng(1).standard_normal((m, n))


@pytest.mark.parametrize(
    "mapping", [{}, {"weight_scaling_omega": 0.6}, {"weight_scaling_omega": 1.0, "weight_scaling_columnwise": True}]
)
def test_every_product_of_an_operator(mapping: dict[str, object]) -> None:
    """All products agree with those of the matrix to float32, in float64 and float32, and with every layout."""
    dense = matrix()
    a = AnalogMatrix(dense, config(**mapping))
    rng = np.random.default_rng(2)
    x, X, y, Y = (rng.standard_normal(shape) for shape in (3, (3, 4), 5, (5, 2)))
    products = {
        "matvec": (a @ x, dense @ x),
        "column": (a.matvec(x[:, None]), dense @ x[:, None]),
        "matmat": (a @ X, dense @ X),
        "dot": (a.dot(X), dense @ X),
        "float32": (a @ X.astype(np.float32), dense @ X),
        "integers": (a @ np.arange(3), dense @ np.arange(3)),
        "fortran": (a @ np.asfortranarray(X), dense @ X),
        "strided": (a @ np.repeat(x, 2)[::2], dense @ x),
        "rmatvec": (a.rmatvec(y), dense.T @ y),
        "rmatmat": (a.rmatmat(Y), dense.T @ Y),
        "transpose": (a.T @ Y, dense.T @ Y),
        "adjoint": (a.H @ y, dense.T @ y),
        "double transpose": (a.T.T @ X, dense @ X),
        "from the left": (y @ a, y @ dense),
        "rows from the left": (Y.T @ a, Y.T @ dense),
        "scaled": ((2 * a) @ x, 2 * dense @ x),
        "sum": ((a + aslinearoperator(dense)) @ x, 2 * dense @ x),
        "product": ((a.T @ a) @ x, dense.T @ dense @ x),
        "power": ((AnalogMatrix(dense[:3], config(**mapping)) ** 2) @ x, dense[:3] @ dense[:3] @ x),
    }
    for name, (found, expected) in products.items():
        assert found == pytest.approx(expected, rel=3e-6, abs=3e-5), name


def test_what_scipy_asks_of_an_operator() -> None:
    a = AnalogMatrix(matrix())
    assert isinstance(a, LinearOperator)
    assert a.shape == (5, 3)
    assert a.dtype == np.float32
    assert a.T.shape == a.H.shape == (3, 5)
    assert a.T.dtype == np.float32
    assert (a @ np.zeros(3)).dtype == np.float32
    assert aslinearoperator(a) is a
    square = AnalogMatrix(np.eye(4) * 3 + 0.1, config(weight_scaling_omega=1.0))
    x, info = gmres(square, np.ones(4), rtol=1e-6)
    assert info == 0
    assert square.to_dense() @ x == pytest.approx(np.ones(4), abs=1e-5)
    for wrong in (np.ones(4), np.ones((4, 2))):
        with pytest.raises(ValueError, match="dimension mismatch"):
            a @ wrong


def test_noise_of_a_product() -> None:
    """Output noise s a scales with the largest input a and with the scale of the matrix; each product draws anew."""
    io = c.IOParameters(inp_res=0, out_res=0, out_noise=0.05, bound_management=c.BoundManagementType.NONE)
    dense = matrix(2000, 3)
    a = AnalogMatrix(dense, config(io=io, weight_scaling_omega=0.5), seed=3)
    x = np.array([0.1, -4.0, 1.0])
    error = a @ x - dense @ x
    check_std(error, 0.05 * 4.0 * np.abs(dense).max() / 0.5, "noise")
    assert (a @ x != a @ x).any()
    other = AnalogMatrix(dense, config(io=io, weight_scaling_omega=0.5), seed=3)
    assert (other @ x - dense @ x == error).all(), "the seed decides the noise"


def test_mapping_of_the_matrix() -> None:
    dense = matrix()
    dense[2] = 0.0
    whole = AnalogMatrix(dense, config(weight_scaling_omega=0.6))
    assert np.abs(whole.tile.weights).max() == pytest.approx(0.6)
    assert np.ptp(whole.scales) == 0.0
    rows = AnalogMatrix(dense, config(weight_scaling_omega=0.6, weight_scaling_columnwise=True))
    assert np.abs(rows.tile.weights).max(axis=1) == pytest.approx([0.6, 0.6, 0.0, 0.6, 0.6])
    for a in (whole, rows):
        assert a.to_dense() == pytest.approx(dense, rel=1e-6)
    plain = AnalogMatrix(dense, config(c.ConstantStepDevice()))
    assert (np.abs(plain.to_dense()) < 1.5).all(), "devices clip what they cannot hold"
    whole.set_matrix(-dense / 3)
    assert whole.to_dense() == pytest.approx(-dense / 3, rel=1e-6)
    assert np.abs(AnalogMatrix(dense).tile.weights).max() == 1.0


@pytest.mark.parametrize("mapping", [{}, COLUMNWISE])
def test_rank_update(mapping: dict[str, object]) -> None:
    """Exact on ideal devices without pulses, one vector or several."""
    cfg = config(**mapping)
    cfg.update = c.UpdateParameters(pulse_type=c.PulseType.NONE)
    dense = matrix()
    a = AnalogMatrix(dense, cfg)
    rng = np.random.default_rng(5)
    x, d, X, D = (rng.standard_normal(shape) for shape in (3, 5, (3, 4), (5, 4)))
    a.ger(x, d, alpha=0.5)
    expected = dense + 0.5 * np.outer(d, x)
    assert a.to_dense() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    a.ger(X, D)
    assert a.to_dense() == pytest.approx(expected + D @ X.T, rel=1e-5, abs=1e-5)


def test_rank_update_with_pulses() -> None:
    """Both probabilities are 1, so each of 20 updates is 3 pulses of 0.001 with a cycle noise of 30 %.

    40000 cells: the mean of 60 pulses is known to 0.3 sqrt(60) / 200 = 0.012 pulses; 5 standard errors are 0.1 %.
    """
    device = identical(c.ConstantStepDevice, w_max=5.0, w_min=-5.0)
    a = AnalogMatrix(np.zeros((200, 200)), config(device))
    for _ in range(20):
        a.ger(np.full(200, 0.5), np.full(200, -0.3), alpha=0.02)
    assert a.tile.pulse_counts == (0, 60 * 40000)
    assert a.to_dense().mean() == pytest.approx(-20 * 0.02 * 0.15, rel=1e-3)


def test_realistic_programming() -> None:
    dense = 0.3 * matrix(20, 30, 1.0).clip(-1, 1)
    a = AnalogMatrix(dense, config(c.ConstantStepDevice(dw_min=0.0002)), realistic=True)
    assert sum(a.tile.pulse_counts) > 0
    assert np.abs(a.to_dense() - dense).mean() < 0.011 * np.abs(dense).max()


def test_copies_are_independent() -> None:
    a = AnalogMatrix(matrix(), seed=4)
    for twin in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert twin.shape == a.shape
        assert (twin.to_dense() == a.to_dense()).all()
        twin.set_matrix(np.zeros((5, 3)))
        assert a.to_dense().any()


def test_bad_matrices_and_operands() -> None:
    with pytest.raises(ShapeError, match="two dimensions"):
        AnalogMatrix(np.ones(3))
    with pytest.raises(DtypeError, match="real numbers"):
        AnalogMatrix(np.ones((3, 3)) * 1j)
    with pytest.raises(DtypeError, match="real numbers"):
        AnalogMatrix(np.array([["a"]]))
    with pytest.raises(NonFiniteError):
        AnalogMatrix(np.array([[1.0, np.nan]]))
    a = AnalogMatrix(matrix())
    with pytest.raises(ShapeError, match="the tile has"):
        a.set_matrix(np.ones((3, 5)))
    with pytest.raises(DtypeError, match="real numbers"):
        a @ (np.ones(3) * 1j)
    for big in (np.inf, 1e39):
        with pytest.raises(NonFiniteError, match="float32"):
            a @ np.array([1.0, big, 0.0])
    before = a.to_dense()
    with pytest.raises(ShapeError, match="one d per x"):
        a.ger(np.ones((3, 2)), np.ones((5, 4)))
    with pytest.raises(NonFiniteError):
        a.ger(np.ones(3), np.full(5, np.nan))
    assert (a.to_dense() == before).all()


def test_missing_scipy_is_explained() -> None:
    code = "import sys; sys.modules['scipy'] = None; import rpu_sim; import rpu_sim.linalg"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "rpu_sim.linalg needs SciPy; install rpu-sim[linalg]" in run.stderr


def test_krylov_example() -> None:
    """Digital precision from analog products, with fewer exact products than conjugate gradients alone needs."""
    example = Path(__file__).parents[1] / "examples" / "krylov.py"
    found = runpy.run_path(str(example))["main"]()
    digital, analog, refined, flexible = found.values()
    assert digital[0] < 1e-11
    assert analog[0] > 0.01, "analog products alone stay at their error"
    for residual, exact_products, analog_products in (refined, flexible):
        assert residual < 1.1e-12
        assert exact_products < 0.6 * digital[1] < analog_products
