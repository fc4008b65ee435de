"""Mixed-precision compounds: a trace, and what is conserved."""

from __future__ import annotations

import numpy as np
import pytest
from exact import batch
from unit_cells import plain, pulses, tile_of

from rpu_sim import config as c


def test_mixed_precision_trace() -> None:
    """A gradient of 0.01 per sample, two samples a batch: twenty steps are written at the end of each batch."""
    tile = tile_of(c.MixedPrecisionCompound(plain()), (2, 2))
    tile.set_weights(np.zeros((2, 2), np.float32))
    for n in range(1, 5):
        pulses(tile, -0.01, 1.0, n=2)
        chi = tile.hidden_parameters()["hidden_weights_chi"]
        np.testing.assert_allclose(tile.weights - chi, 0.02 * n, rtol=1e-5)
        assert np.abs(chi).max() < 1.001e-3


@pytest.mark.parametrize("transfer_lr", [1.0, 0.37])
def test_mixed_precision_writes_what_it_takes_from_chi(transfer_lr: float) -> None:
    """Weight + transfer_lr * (gradient - chi) is conserved: exactly, or within the rounding of each pulse."""
    device = plain(w_max=10.0, w_min=-10.0)
    tile = tile_of(c.MixedPrecisionCompound(device, transfer_every=2, transfer_lr=transfer_lr), (6, 9))
    tile.set_weights(np.zeros((6, 9), np.float32))
    gradient = np.zeros((6, 9))
    for call in range(8):
        x, d = batch((6, 9), 4, seed=call)
        tile.update(x, d, 0.5)
        gradient += 0.5 * d.astype(np.float64).T @ x
    chi = tile.hidden_parameters()["hidden_weights_chi"]
    # four transfers, each rounded to a pulse: at most 4e-3 from the wanted weight
    allowed = 2e-5 if transfer_lr == 1.0 else 4.1e-3
    np.testing.assert_allclose(tile.weights, -transfer_lr * (gradient - chi), atol=allowed)
    assert np.abs(tile.weights).max() > 0.1
