"""Chopped and dynamic transfer compounds: published traces and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from exact import batch
from unit_cells import PERFECT, f32, plain, pulses, tile_of

from rpu_sim import config as c
from rpu_sim.errors import ConfigError

CHOPPED = [  # A, H, C (A and C in 1e-3), flipped, sweeps
    ((2, 2), (0.2, 0), (0, 0), (0, 0), 0),
    ((4, 4), (0.2, 0.4), (0, 0), (0, 0), 1),
    ((6, 6), (0.8, 0.4), (0, 0), (0, 0), 1),
    ((8, 8), (0.8, 0.2), (0, 1), (0, 0), 2),
    ((10, 10), (0.8, 0.2), (1, 1), (0, 0), 2),
    ((12, 12), (0.8, 0.4), (1, 2), (0, 0), 3),
    ((14, 14), (1.2, 0.4), (2, 2), (1, 0), 3),
    ((12, 16), (1.2, 1.0), (2, 3), (1, 1), 4),
    ((10, 14), (0.2, 1.0), (2, 3), (1, 1), 4),
    ((8, 12), (0.2, -0.2), (2, 3), (1, 1), 5),
    ((6, 10), (-0.4, -0.2), (2, 3), (1, 1), 5),
]


def test_chopped_trace() -> None:
    """Two lines, four sweeps per phase of the chopper; the last line of the published trace is a tie in float32."""
    cell = c.ChoppedTransferCompound(
        [plain(), plain()], in_chop_prob=0.25, in_chop_random=False, forget_buffer=False, transfer_forward=PERFECT
    )
    tile = tile_of(cell, (1, 2), pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT)
    tile.set_weights(np.zeros((1, 2), np.float32))
    for fast, gathered, slow, flipped, sweeps in CHOPPED:
        # the learning rate of the tile is 0.1, that of the fast array 1
        pulses(tile, -0.002, 0.1 * (1 + 1e-6))  # away from the ties of the published trace
        hidden, saved = tile.hidden_parameters(), tile.state_dict()
        np.testing.assert_allclose(hidden["hidden_weights_0"][0], np.array(fast) * 1e-3, atol=1e-8)
        np.testing.assert_allclose(hidden["buffered_FP_weight_0"][0], gathered, atol=1e-4)
        np.testing.assert_allclose(tile.weights[0], np.array(slow) * 1e-3, atol=1e-8)
        np.testing.assert_array_equal(saved["transfer.0.in_chopper"] < 0, np.array(flipped) == 1)
        assert saved["transfer.0.counters"][1] == sweeps


DYNAMIC = [  # A, H, M, P, C (but H in 1e-3)
    (2, 0.2, 2, 0, 0),
    (4, 0.6, 4, 0, 0),
    (2, 0.8, 2, 4, 0),
    (0, 0.2, 0, 4, 1),
    (2, 0.4, 2, 0, 1),
    (4, 0.8, 4, 0, 1),
    (2, 0.0, 2, 4, 2),
    (0, 0.4, 0, 4, 2),
]


def test_dynamic_trace() -> None:
    """One device, two sweeps per phase, the mean of a phase is its last read."""
    cell = c.DynamicTransferCompound(
        [plain(), plain()], in_chop_prob=0.5, forget_buffer=False, transfer_forward=PERFECT
    )
    tile = tile_of(cell, (1, 1), pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT)
    tile.set_weights(np.zeros((1, 1), np.float32))
    for fast, gathered, running, past, slow in DYNAMIC:
        pulses(tile, -0.002, 0.1 * (1 + 1e-6))
        hidden = {name: float(values[0, 0]) for name, values in tile.hidden_parameters().items()}
        names = ("hidden_weights_0", "running_mean_weight", "past_mean_weight", "hidden_weights_1")
        np.testing.assert_allclose([hidden[n] for n in names], np.array([fast, running, past, slow]) * 1e-3, atol=1e-8)
        np.testing.assert_allclose(hidden["buffered_FP_weight"], gathered, atol=1e-4)


def test_buffer_conserves_what_is_read() -> None:
    """Without forgetting and momentum: sum of gained reads = end - start of the buffer + steps written."""
    cell = c.ChoppedTransferCompound(
        [plain(), plain(w_max=1e3, w_min=-1e3)],
        in_chop_prob=0.0,
        forget_buffer=False,
        transfer_forward=PERFECT,
        fast_lr=0.3,
    )
    tile = tile_of(cell, (4, 3))
    tile.set_weights(np.zeros((4, 3), np.float32))
    gained = np.zeros((4, 3))
    for call in range(60):
        x, d = batch((4, 3), 1, seed=call)
        tile.update(x, d, 0.001)
        column = call % 3
        gained[:, column] += 0.001 / 1e-3 * tile.hidden_parameters()["hidden_weights_0"][:, column].astype(np.float64)
    hidden = tile.hidden_parameters()
    steps = hidden["hidden_weights_1"].astype(np.float64) / 1e-3
    np.testing.assert_allclose(hidden["buffered_FP_weight_0"] + steps, gained, atol=2e-4)
    assert np.abs(steps).max() > 1


@pytest.mark.parametrize("kind", ["chopped", "dynamic"])
def test_a_constant_offset_of_the_fast_array_is_rejected(kind: str) -> None:
    """Without a gradient: choppers keep the slow array bounded, and AGAD writes nothing at all."""
    chopped = {"in_chop_prob": 0.25, "in_chop_random": False, "forget_buffer": False, "transfer_forward": PERFECT}
    classes = {"chopped": c.ChoppedTransferCompound, "dynamic": c.DynamicTransferCompound}
    cell = classes[kind]([plain(), plain()], fast_lr=1e-30, **chopped)
    tile = tile_of(cell, (3, 4))
    tile.set_weights(np.zeros((3, 4), np.float32))
    offset = np.full((3, 4), 0.1, np.float32)
    tile.set_hidden_parameters({"hidden_weights_0": offset})
    largest = 0.0
    for _ in range(4 * 4 * 8):
        pulses(tile, 0.5, 0.01)
        largest = max(largest, float(np.abs(tile.weights).max()))
    np.testing.assert_array_equal(tile.hidden_parameters()["hidden_weights_0"], offset)
    # a phase of four sweeps adds four steps of 0.01 * 0.1 / 1e-3 = 1
    assert largest == 0.0 if kind == "dynamic" else 1e-3 <= largest <= 4.1e-3


def test_read_out_of_a_chopped_array() -> None:
    """Each cell of the fast array counts with the sign of its line."""
    fast = f32([0.1, 0.2], [0.3, 0.4])
    for columns, expected in ((True, [[-0.05, 0.1], [-0.15, 0.2]]), (False, [[-0.05, -0.1], [0.15, 0.2]])):
        cell = c.ChoppedTransferCompound([plain(), plain()], gamma_vec=[0.5, 1.0], transfer_columns=columns)
        tile = tile_of(cell, (2, 2))
        tile.set_weights(np.zeros((2, 2), np.float32))
        saved = tile.state_dict()
        saved["transfer.0.in_chopper"] = f32(-1.0, 1.0)
        saved["sub.0.weight"] = fast
        tile.load_state(saved)
        np.testing.assert_allclose(tile.weights, expected, rtol=1e-6)


def test_a_period_without_a_meaning_is_refused() -> None:
    fast = c.VectorUnitCell([plain(), plain()])
    with pytest.raises(ConfigError, match="automatic period needs a fast device"):
        tile_of(c.ChoppedTransferCompound([fast, plain()], transfer_every=-1.0))
