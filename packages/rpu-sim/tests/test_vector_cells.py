"""Vector, reference and one-sided cells: closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from exact import assert_same_bits, batch
from unit_cells import PERFECT, SHAPE, f32, plain, pulses, tile_of

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError


def test_arrays_of_a_cell_have_their_own_devices_and_noise() -> None:
    tile = tile_of(c.VectorUnitCell([c.ConstantStepDevice()] * 3, construction_seed=4), shape=(40, 40))
    hidden = tile.hidden_parameters()
    assert abs(np.corrcoef(hidden["max_bound_0"].ravel(), hidden["max_bound_1"].ravel())[0, 1]) < 0.15  # 6 sigma
    other = tile_of(c.VectorUnitCell([c.ConstantStepDevice()] * 3, construction_seed=4), shape=(40, 40), seed=77)
    assert_same_bits(other.hidden_parameters()["dwmin_up_2"], hidden["dwmin_up_2"], "devices of one construction seed")
    own = c.ConstantStepDevice(construction_seed=8)
    wins = tile_of(c.VectorUnitCell([c.ConstantStepDevice(), own], construction_seed=4), shape=(40, 40), seed=3)
    single = Tile(40, 40, c.SingleRPUConfig(device=own), seed=1)
    assert_same_bits(wins.hidden_parameters()["dwmin_up_1"], single.hidden_parameters()["dwmin_up"], "own seed")
    x = np.full((1, 40), 0.3, np.float32)
    before = [hidden[f"hidden_weights_{k}"] for k in range(3)]
    tile.update(x, x, 0.005)
    moved = [tile.hidden_parameters()[f"hidden_weights_{k}"] != before[k] for k in range(3)]
    # the same trains reach all devices of a crosspoint; a few start at a bound of theirs and stay there
    assert (moved[0] == moved[1]).mean() > 0.98
    assert 0.1 < moved[0].mean() < 0.9


def test_weights_without_a_sum_are_distributed() -> None:
    tile = tile_of(c.VectorUnitCell([plain(w_max=2.0, w_min=-2.0)] * 3, gamma_vec=[1.0, -1.0, 0.0]))
    tile.set_weights(np.full(SHAPE, 0.3, np.float32))
    np.testing.assert_allclose(tile.weights, 0.3, rtol=1e-6)


def test_single_device_policies_divide_the_learning_rate() -> None:
    """Kept as published presets expect it: one of n devices with a factor of 1 / n moves the weight by 1 / n."""
    tile = tile_of(c.VectorUnitCell([plain()] * 3, update_policy=c.VectorUnitCellUpdatePolicy.SINGLE_SEQUENTIAL))
    tile.set_weights(np.zeros(SHAPE, np.float32))
    for n in range(1, 4):
        pulses(tile, -1.0, 0.001)
        np.testing.assert_allclose(tile.weights, n * 1e-3 / 3, rtol=1e-5)
        assert_same_bits(tile.hidden_parameters()[f"hidden_weights_{n - 1}"], np.full(SHAPE, 1e-3, np.float32), "turn")


def test_reference_cell() -> None:
    """Only the device is pulsed; the reference is programmed through the update index, and set weights respect it."""
    tile = tile_of(c.ReferenceUnitCell([plain(), plain()]))
    offset = np.full(SHAPE, 0.05, np.float32)
    tile.hidden_update_index = 1
    tile.set_weights(offset)
    tile.hidden_update_index = 0
    tile.set_weights(np.full(SHAPE, 0.2, np.float32))
    np.testing.assert_allclose(tile.weights, 0.2, rtol=1e-6)
    np.testing.assert_allclose(tile.hidden_parameters()["hidden_weights_0"], 0.25, rtol=1e-6)
    pulses(tile, -1.0, 0.01)
    np.testing.assert_array_equal(tile.hidden_parameters()["hidden_weights_1"], offset)
    assert (tile.weights > 0.2).all()
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        tile.hidden_update_index = 2


def test_a_refresh_keeps_the_weight() -> None:
    """0.55 against 0.2 becomes 0.35 against 0, whatever the length of the trains."""
    for kind in (c.PulseType.STOCHASTIC_COMPRESSED, c.PulseType.DETERMINISTIC_IMPLICIT):
        cell = c.OneSidedUnitCell(
            [plain(w_min=0.0)],
            refresh_every=1,
            refresh_lower_thres=0.25,
            refresh_upper_thres=0.75,
            refresh_forward=PERFECT,
            refresh_update=c.UpdateParameters(pulse_type=kind),
        )
        tile = tile_of(cell, (1, 1))
        tile.set_hidden_parameters({"hidden_weights_0": f32([0.2]), "hidden_weights_1": f32([0.55])})
        pulses(tile, 1e-12, 0.1)
        hidden = tile.hidden_parameters()
        # U3: up to one slot more than pulses, so a spread of one pulse; five of them
        np.testing.assert_allclose(hidden["hidden_weights_1"], 0.35, atol=5e-3)
        np.testing.assert_array_equal(hidden["hidden_weights_0"], 0.0)


def test_one_sided_devices_only_go_up() -> None:
    tile = tile_of(c.OneSidedUnitCell([plain(w_min=0.0)]))
    before = tile.hidden_parameters()
    x, d = batch(SHAPE, 20, seed=3)
    tile.update(x, d, 0.01)
    after = tile.hidden_parameters()
    assert tile.pulse_counts.down == 0
    for k in (0, 1):
        assert (after[f"hidden_weights_{k}"] >= before[f"hidden_weights_{k}"]).all()
        assert (after[f"hidden_weights_{k}"] > before[f"hidden_weights_{k}"]).any()


def test_mirrored_devices() -> None:
    """What pulses down do to a device, pulses up do to its mirror image with the sign of the weight turned."""
    device = c.LinearStepDevice(gamma_up=0.5, gamma_down=0.2, dw_min_std=0.0, up_down=0.3)
    tile = tile_of(c.OneSidedUnitCell([device], copy_inverted=True))
    hidden = tile.hidden_parameters()
    for name, mirrored, sign in (
        ("max_bound", "min_bound", -1),
        ("dwmin_up", "dwmin_down", 1),
        ("slope_up", "slope_down", -1),
        ("reset_bias", "reset_bias", -1),
    ):
        assert_same_bits(hidden[f"{name}_1"], sign * hidden[f"{mirrored}_0"], name)


@pytest.mark.parametrize(
    "device",
    [
        c.SoftBoundsPmaxDevice(),
        c.ExpStepDevice(dw_min_std=0.0),
        c.PowStepDevice(dw_min_std=0.0, pow_up_down=0.2),
        c.PiecewiseStepDevice(piecewise_up=[1.0, 0.5, 0.2], piecewise_down=[0.3, 0.6, 1.0], dw_min_std=0.0),
        c.SoftBoundsReferenceDevice(dw_min_std=0.0, reference_std=0.1),
    ],
    ids=lambda device: type(device).__name__,
)
def test_any_device_has_a_mirror_image(device: c.PulsedDevice) -> None:
    """Pulses up on the plus device are pulses down on the minus device seen in a mirror."""
    tile = tile_of(c.OneSidedUnitCell([device], copy_inverted=True))
    minus, plus = tile._cells.children
    start = np.linspace(-0.2, 0.2, 35, dtype=np.float32).reshape(SHAPE)
    minus.set_weights(start)
    plus.set_weights(-start)
    np.testing.assert_allclose(plus.weight, -minus.weight, atol=1e-7)
    counts = np.full(SHAPE, 20, np.int32)
    minus.fire(-counts)
    plus.fire(counts)
    if device.dw_min_std == 0.0:
        np.testing.assert_allclose(plus.weight, -minus.weight, atol=1e-6)
