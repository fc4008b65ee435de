"""Unit cells and compounds that several tests use: one of each kind, and tiles of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from exact import batch

from rpu_sim import Tile
from rpu_sim import config as c

PERFECT = c.IOParameters(is_perfect=True)
SHAPE = (5, 7)


def plain(**fields: Any) -> c.ConstantStepDevice:
    """Devices that all step by the same amount, without noise."""
    same = {"dw_min_dtod": 0.0, "dw_min_std": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}
    return c.ConstantStepDevice(**same | {"reset_std": 0.0} | fields)


def tile_of(cell: Any, shape: tuple[int, int] = SHAPE, seed: int = 5, **update: Any) -> Tile:
    kind = c.DigitalRankUpdateRPUConfig if isinstance(cell, c.DigitalRankUpdateCell) else c.UnitCellRPUConfig
    return Tile(
        *shape, kind(device=cell, forward=PERFECT, backward=PERFECT, update=c.UpdateParameters(**update)), seed=seed
    )


def f32(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def pulses(tile: Tile, d: float, lr: float, n: int = 1, width: float = 1.0) -> None:
    x = np.full((n, tile.in_size), width, np.float32)
    tile.update(x, np.full((n, tile.out_size), d, np.float32), lr)


NOISY = c.IOParameters(out_bound=1.0, out_noise=0.01, out_noise_std=0.2, inp_res=-1.0, out_res=-1.0)
WRITTEN = c.SoftBoundsDevice(dw_min=0.01, write_noise_std=0.5)
SOFT = c.SoftBoundsDevice(dw_min=0.01, diffusion=0.001, lifetime=50.0)


def cells() -> dict[str, Any]:
    """One of each kind, with everything random switched on."""
    pair = [c.ConstantStepDevice(dw_min=0.01), SOFT]
    single = [("fixed", "SINGLE_FIXED"), ("sequential", "SINGLE_SEQUENTIAL"), ("random", "SINGLE_RANDOM")]
    vectors = {
        f"vector-{name}": c.VectorUnitCell(pair, update_policy=c.VectorUnitCellUpdatePolicy[policy])
        for name, policy in single
    }
    read = {"transfer_forward": NOISY, "units_in_mbatch": False}
    reference = c.ReferenceUnitCell([SOFT, c.ConstantStepDevice()])
    refresh = {"refresh_every": 2, "refresh_upper_thres": 0.02, "refresh_lower_thres": 0.01}
    return vectors | {
        "vector-all": c.VectorUnitCell(pair, gamma_vec=[0.5, 0.3]),
        "reference": reference,
        "one-sided": c.OneSidedUnitCell([SOFT], **refresh),
        "one-sided-mirrored": c.OneSidedUnitCell([c.LinearStepDevice(gamma_up=0.3)], copy_inverted=True, **refresh),
        "transfer": c.TransferCompound(
            pair, with_reset_prob=0.5, random_selection=True, n_reads_per_transfer=2, **read
        ),
        "transfer-rows": c.TransferCompound(pair, gamma=0.3, transfer_columns=False, transfer_forward=NOISY),
        "transfer-three": c.TransferCompound([*pair, SOFT], transfer_every=1.0, **read),
        "transfer-references": c.TransferCompound([reference, reference], **read),
        "buffered": c.BufferedTransferCompound(pair, **read),
        "chopped": c.ChoppedTransferCompound(
            pair, in_chop_prob=0.3, out_chop_prob=0.3, gamma=0.2, auto_scale=True, transfer_forward=NOISY
        ),
        "chopped-rows": c.ChoppedTransferCompound(pair, transfer_columns=False, transfer_every=2, step=0.5, **read),
        "dynamic": c.DynamicTransferCompound(pair, in_chop_prob=0.5, auto_scale=True, transfer_forward=NOISY),
        "mixed-precision": c.MixedPrecisionCompound(
            SOFT, n_rows_per_transfer=2, random_row=True, n_x_bins=6, n_d_bins=4
        ),
        "mixed-precision-vector": c.MixedPrecisionCompound(c.VectorUnitCell(pair), transfer_lr=0.7),
        "write-noise": c.VectorUnitCell([WRITTEN, c.ConstantStepDevice()]),
        "write-noise-transfer": c.TransferCompound([WRITTEN, WRITTEN], **read),
        "write-noise-mixed-precision": c.MixedPrecisionCompound(WRITTEN),
        "nested": c.VectorUnitCell([reference, c.TransferCompound(pair, gamma=0.1, transfer_forward=NOISY)]),
    }


def train(tile: Tile, first: int, last: int) -> Tile:
    for call in range(first, last):
        x, d = batch((tile.out_size, tile.in_size), 3 + call % 3, seed=call)
        tile.update(x, d, 0.1)
        tile.post_update_step()
        if call == 2:
            tile.reset(start_column=1, n_columns=2, prob=0.5)
    return tile


def assert_same_state(a: Tile, b: Tile) -> None:
    one, two = a.state_dict(), b.state_dict()
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)
