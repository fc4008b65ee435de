"""Bad input to the product and the rank update: a clear error before anything is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from analog import Product

from rpu_sim import Tile, _core
from rpu_sim.config import AnalogMVType, BoundManagementType, IOParameters, NoiseManagementType, SingleRPUConfig
from rpu_sim.errors import ConfigError, NonFiniteError, ShapeError


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("perfect", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_non_finite_input_changes_nothing(bad: float, perfect: bool, backward: bool) -> None:
    io = IOParameters(is_perfect=perfect, noise_management=NoiseManagementType.AVERAGE_ABS_MAX)
    product = Product(io, np.ones((20, 20)), backward=backward)
    x, y = np.ones((300, 20), np.float32), np.full((300, 20), 7.0, np.float32)
    x[299, 19] = bad
    with pytest.raises(NonFiniteError, match="d contains NaN" if backward else "x contains NaN"):
        product.compiled(x, y, 1, 0, 0)
    assert (y == 7.0).all()
    assert all((v == 0.0).all() for v in product.constants.values())


@pytest.mark.parametrize("which", ["x", "d"])
def test_non_finite_rank_update_changes_nothing(which: str) -> None:
    w = np.ones((4, 5), np.float32)
    arrays = {"x": np.ones((3, 5), np.float32), "d": np.ones((3, 4), np.float32)}
    arrays[which][2, 3] = np.nan
    with pytest.raises(NonFiniteError, match=f"{which} contains NaN"):
        _core.rank_update(w, arrays["x"], arrays["d"], 0.1)
    assert (w == 1.0).all()


def test_wrong_shapes() -> None:
    product = Product(IOParameters(), np.ones((4, 5)))
    y = np.zeros((2, 4), np.float32)
    with pytest.raises(ShapeError, match="x has 4 elements per sample but the tile needs 5"):
        product.compiled(np.ones((2, 4), np.float32), y, 1, 0, 0)
    with pytest.raises(ShapeError, match="contiguous samples"):
        product.compiled(np.ones((5, 2), np.float32).T, y, 1, 0, 0)
    for bad in (np.zeros((3, 4), np.float32), np.zeros((2, 5), np.float32)):
        with pytest.raises(ShapeError, match="output array"):
            product.compiled(np.ones((2, 5), np.float32), bad, 1, 0, 0)
    w = np.ones((4, 5), np.float32)
    with pytest.raises(ShapeError, match="x has 2 samples but d has 3"):
        _core.rank_update(w, np.ones((2, 5), np.float32), np.ones((3, 4), np.float32), 0.1)
    with pytest.raises(ShapeError, match="out_noise must have 4 values"):
        _core.AnalogProduct(IOParameters(out_noise_std=0.1), False, w)
    with pytest.raises(ShapeError, match="nonlinearity must have 4 values"):
        _core.AnalogProduct(IOParameters(out_nonlinearity=0.1), False, w, nonlinearity=np.zeros(5, np.float32))
    with pytest.raises(ShapeError, match="voltage_offset must have 5 values"):
        _core.AnalogProduct(IOParameters(v_offset_std=0.1), True, w)
    two_passes = IOParameters(mv_type=AnalogMVType.POS_NEG_SEPARATE, w_read_asymmetry_dtod=0.1)
    with pytest.raises(ShapeError, match="read_asymmetry must have the shape of the weights"):
        _core.AnalogProduct(two_passes, False, w, read_asymmetry=np.zeros((5, 4), np.float32))
    with pytest.raises(ShapeError, match="running_mean must have 1 values"):
        _core.AnalogProduct(IOParameters(noise_management=NoiseManagementType.AVERAGE_ABS_MAX), False, w)


def test_arrays_are_never_converted() -> None:
    """A converted output would be written and lost."""
    product = Product(IOParameters(), np.ones((4, 5)))
    x, y = np.ones((2, 5), np.float32), np.zeros((2, 4), np.float32)
    for args in ((x.astype(np.float64), y), (x, y.astype(np.float64)), (x, np.zeros((2, 8), np.float32)[:, ::2])):
        with pytest.raises(TypeError):
            product.compiled(*args, 1, 0, 0)


def test_empty_batch() -> None:
    product = Product(IOParameters(), np.ones((4, 5)))
    assert product(np.ones((0, 5), np.float32)).shape == (0, 4)
    w = np.ones((4, 5), np.float32)
    _core.rank_update(w, np.ones((0, 5), np.float32), np.ones((0, 4), np.float32), 0.1)
    assert (w == 1.0).all()


def test_huge_inputs_stay_finite_in_the_chain() -> None:
    """Inputs near the largest float32: the scale cannot overflow into NaN."""
    io = IOParameters(out_noise=0.0, bound_management=BoundManagementType.NONE)
    y = Product(io, np.eye(3, dtype=np.float32))(np.float32([[3e38, 0.0, -1e38]]))
    np.testing.assert_allclose(y / np.float32(3e38), [[1.0, 0.0, -1 / 3]], atol=0.03)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bound_management": BoundManagementType.SHIFT}, "SHIFT has no definition"),
        ({"mv_type": AnalogMVType.SPLIT_MODE, "inp_res": -1.0}, "SPLIT_MODE needs codes"),
        ({"mv_type": AnalogMVType.SPLIT_MODE, "split_mode_bit_shift": 6}, "split_mode_bit_shift must lie in 1..5"),
        ({"mv_type": AnalogMVType.BIT_WISE, "inp_res": 1e-6}, "BIT_WISE needs codes of 1 to 16 bits"),
        ({"w_noise": 0.1}, "w_noise needs a law"),
        ({"w_read_asymmetry_dtod": 0.1}, "mv_type to POS_NEG_SEPARATE"),
        ({"ir_drop": -1.0}, "ir_drop must lie in"),
        ({"ir_drop_g_ratio": 0.0}, "ir_drop_g_ratio"),
        ({"out_nonlinearity": 1e300}, "out_nonlinearity"),
        ({"slope_calibration": -0.1}, "slope_calibration"),
        ({"v_offset_std": -0.1}, "v_offset_std"),
        ({"v_offset_w_min": float("-inf")}, "v_offset_w_min"),
        ({"r_series": -0.1}, "r_series"),
        ({"inp_bound": 0.5}, "inp_bound must be 1"),
        ({"out_bound": 1e-30}, "out_bound must lie in"),
        ({"out_res": 1e-30}, "out_res must be at least"),
        ({"out_noise": -0.1}, "out_noise"),
        ({"inp_noise": float("inf")}, "inp_noise"),
        ({"max_bm_factor": 0}, "max_bm_factor"),
        ({"max_bm_factor": 2**40}, "max_bm_factor"),
        ({"max_bm_res": float("inf")}, "max_bm_res"),
        ({"out_scale": 0.0}, "out_scale"),
        ({"inp_res": float("inf")}, "inp_res"),
        ({"inp_asymmetry": float("inf")}, "inp_asymmetry"),
    ],
)
def test_impossible_parameters(fields: dict[str, Any], message: str) -> None:
    """One sentence, no tile, and a tile that should change stays as it was."""
    io = IOParameters(**fields)
    with pytest.raises(ConfigError, match=message) as caught:
        io.check()
    assert "\n" not in str(caught.value)
    tile, x = Tile(4, 5, seed=1), np.ones((2, 5), np.float32)
    expected = tile.forward(x, step=0)
    for direction in ("forward", "backward"):
        with pytest.raises(ConfigError, match=message):
            Tile(4, 5, SingleRPUConfig(**{direction: io}))
        with pytest.raises(ConfigError, match=message):
            tile.reconfigure(**{direction: io})
    np.testing.assert_array_equal(tile.forward(x, step=0), expected)
    held = not fields.keys() & {"out_scale", "out_nonlinearity"} and fields.get("max_bm_factor") != 2**40
    if held:  # what the core cannot hold is refused of a perfect chain too
        IOParameters(is_perfect=True, **fields).check()
