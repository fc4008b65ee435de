"""Transfer and buffered transfer compounds: published traces and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from exact import batch
from unit_cells import PERFECT, SHAPE, f32, plain, pulses, tile_of

from rpu_sim import config as c


def test_transfer_trace() -> None:
    """A slow array after each pair of samples; the fast one grows by 0.01 per sample."""
    long = c.UpdateParameters(desired_bl=100)
    fixed = {"scale_fast_lr": False, "scale_transfer_lr": False, "transfer_forward": PERFECT, "transfer_update": long}
    cell = c.TransferCompound([plain(), plain()], transfer_every=2, units_in_mbatch=False, **fixed)
    tile = tile_of(cell, (2, 3))
    tile.set_weights(np.zeros((2, 3), np.float32))
    expected = {2: (0.02, 0, 0), 4: (0.02, 0.04, 0), 6: (0.02, 0.04, 0.06), 8: (0.10, 0.04, 0.06)}
    for sample in range(1, 9):
        pulses(tile, -0.01, 0.1)
        wanted = expected[sample - sample % 2] if sample > 1 else (0, 0, 0)
        np.testing.assert_allclose(tile.weights, np.tile(wanted, (2, 1)), atol=1.1e-3)  # U3: a slot may be lost
    np.testing.assert_allclose(tile.hidden_parameters()["hidden_weights_0"], 0.08, atol=1.1e-3)


@pytest.mark.parametrize("forget", [True, False])
def test_buffer_trace(forget: bool) -> None:
    """A constant read of 3.4 steps: one pulse per transfer, and what stays in the buffer."""
    cell = c.BufferedTransferCompound(
        [plain(), plain()],
        forget_buffer=forget,
        units_in_mbatch=False,
        scale_transfer_lr=False,
        transfer_forward=PERFECT,
        fast_lr=1e-30,
        scale_fast_lr=False,
    )
    tile = tile_of(cell, (1, 1))
    tile.set_weights(np.zeros((1, 1), np.float32))
    tile.set_hidden_parameters({"hidden_weights_0": f32([0.0034])})
    for n, kept in enumerate([3.4e-4, 3.74e-4, 3.774e-4] if forget else [2.5e-3, 5e-3, 7.5e-3], start=1):
        pulses(tile, 1.0, 1.0)
        np.testing.assert_allclose(tile.hidden_parameters()["buffered_FP_weight_0"], kept, rtol=1e-5)
        np.testing.assert_allclose(tile.weights, n * 1e-3, rtol=1e-5)


def test_a_column_is_reset_after_it_was_read() -> None:
    """Two reads per transfer with certain reset: both columns arrive, and the third keeps its weight."""
    cell = c.TransferCompound(
        [plain(), plain()],
        n_reads_per_transfer=2,
        with_reset_prob=1.0,
        scale_transfer_lr=False,
        transfer_forward=PERFECT,
        transfer_update=c.UpdateParameters(desired_bl=100, pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT),
        fast_lr=1e-30,
    )
    tile = tile_of(cell, (1, 3))
    tile.set_weights(np.zeros((1, 3), np.float32))
    tile.set_hidden_parameters({"hidden_weights_0": f32([0.01, 0.02, 0.03])})
    pulses(tile, 1.0, 1.0)
    np.testing.assert_allclose(tile.weights, [[0.01, 0.02, 0.0]], atol=1e-6)
    np.testing.assert_allclose(tile.hidden_parameters()["hidden_weights_0"], [[0.0, 0.0, 0.03]], atol=1e-6)


@pytest.mark.parametrize("columns", [True, False])
def test_rows_and_columns_lose_the_same_pulses(columns: bool) -> None:
    """A slice of (0.1, 0.02) through trains of 31 slots of 0.001: only the large element is cut."""
    shape = (2, 1) if columns else (1, 2)
    cell = c.TransferCompound(
        [plain(), plain()],
        transfer_columns=columns,
        scale_transfer_lr=False,
        transfer_forward=PERFECT,
        transfer_update=c.UpdateParameters(pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT),
        fast_lr=1e-30,
    )
    tile = tile_of(cell, shape)
    tile.set_weights(np.zeros(shape, np.float32))
    tile.set_hidden_parameters({"hidden_weights_0": f32(0.1, 0.02).reshape(shape)})
    pulses(tile, 1.0, 1.0)
    np.testing.assert_allclose(tile.weights.ravel(), [0.031, 0.020], atol=1e-6)


def test_periods_of_a_chain() -> None:
    """Samples between transfers of each array: a sweep of one is a period of the next."""
    tile = tile_of(c.TransferCompound([plain()] * 4, transfer_every=2, units_in_mbatch=False), (3, 5))
    assert [edge.period(7) for edge in tile._cells.edges] == [2, 10, 50]
    tile = tile_of(c.TransferCompound([plain()] * 2, transfer_every=0.5), (3, 5))
    assert tile._cells.edges[0].period(7) == 4


def test_batches_may_be_split_between_transfers() -> None:
    """The schedule counts samples, not calls: all remaining samples of a batch reach the fast array."""
    cell = c.TransferCompound([plain(), plain()], transfer_every=3, units_in_mbatch=False, transfer_forward=PERFECT)
    one, many = (tile_of(cell, pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT) for _ in range(2))
    x, d = batch(SHAPE, 8, seed=1)
    one.update(x, 0.3 * d, 0.1)
    for b in range(8):
        many.update(x[b : b + 1], 0.3 * d[b : b + 1], 0.1)
    np.testing.assert_allclose(one.weights, many.weights, atol=1e-6)
    hidden = (tile.hidden_parameters()["hidden_weights_0"] for tile in (one, many))
    np.testing.assert_allclose(*hidden, atol=1e-6)
