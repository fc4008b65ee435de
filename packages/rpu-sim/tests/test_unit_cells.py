"""Unit cells and compounds: published traces, closed forms, exact continuation, errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from exact import assert_same_bits, batch

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError, NonFiniteError, StateError

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


# -- every kind of cell ------------------------------------------------------------------------------------------------

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


KINDS = sorted(cells())


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["state", "load", "pickle", "deepcopy"])
def test_training_continues_bit_for_bit(kind: str, way: str) -> None:
    straight = train(tile_of(cells()[kind]), 0, 8)
    broken = train(tile_of(cells()[kind]), 0, 4)
    if way == "state":
        restored = Tile.from_state(broken.state_dict())
    elif way == "load":
        restored = tile_of(cells()[kind], seed=99)
        restored.load_state(broken.state_dict())
    else:
        restored = pickle.loads(pickle.dumps(broken)) if way == "pickle" else copy.deepcopy(broken)
    assert_same_state(train(restored, 4, 8), straight)
    assert np.isfinite(straight.weights).all()
    assert restored.pulse_counts == straight.pulse_counts
    assert sum(restored.pulse_counts) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_name_chips(kind: str) -> None:
    assert_same_state(train(tile_of(cells()[kind]), 0, 3), train(tile_of(cells()[kind]), 0, 3))
    other = train(tile_of(cells()[kind], seed=6), 0, 3)
    assert (other.weights != train(tile_of(cells()[kind]), 0, 3).weights).any()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_set_are_read(kind: str) -> None:
    """Within bounds, and whatever a reference or another device holds."""
    tile = train(tile_of(cells()[kind]), 0, 3)
    bounded = tile.hidden_parameters()
    room = min(float(values.min()) for name, values in bounded.items() if name.startswith("max_bound"))
    wanted = np.linspace(-0.1 * room, 0.1 * room, 35, dtype=np.float32).reshape(SHAPE)
    tile.set_weights(wanted)
    noise = 6 * 0.5 * 0.01 if kind.startswith("write-noise") else 0.0  # of 35 weights, six sigma
    np.testing.assert_allclose(tile.get_weights(), wanted, atol=2e-7 + noise)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_parameters_come_back(kind: str) -> None:
    """All hidden parameters of one tile, set on another, give the same weights and the same hidden parameters."""
    tile, twin = train(tile_of(cells()[kind]), 0, 5), tile_of(cells()[kind], seed=9)
    if hasattr(cells()[kind], "in_chop_prob"):  # the signs of the lines are no hidden parameters
        tile = tile_of(cells()[kind])
    hidden = tile.hidden_parameters()
    if kind.endswith("mixed-precision"):  # the weight of a single device is no hidden parameter
        twin.set_weights(tile.get_weights())
    twin.set_hidden_parameters(hidden)
    for name, values in twin.hidden_parameters().items():
        assert_same_bits(values, hidden[name], name)
    if kind != "write-noise-mixed-precision":
        assert_same_bits(twin.get_weights(), tile.get_weights(), "weights")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_changes_nothing(kind: str) -> None:
    tile = train(tile_of(cells()[kind]), 0, 2)
    before = copy.deepcopy(tile)
    x, d = batch(SHAPE, 3, seed=0)
    d[2, 1] = np.nan
    for first in (0, 2):  # also as a single sample
        with pytest.raises(NonFiniteError, match="d contains NaN"):
            tile.update(x[first:], d[first:], 0.1)
    damaged = tile.state_dict()
    del damaged[next(name for name in damaged if "counters" in name or "sub." in name)]
    with pytest.raises(StateError, match="lacks"):
        tile.load_state(damaged)
    assert_same_state(tile, before)


UNMANAGED = c.UpdateParameters(update_management=False, update_bl_management=False, fixed_bl=False)
GREEDY = {"transfer_lr": 100.0, "transfer_update": UNMANAGED}  # its writes would be trains of 10^5 slots


@pytest.mark.parametrize(
    "cell",
    [
        c.TransferCompound([plain(), plain()], transfer_every=2, units_in_mbatch=False, **GREEDY),
        c.VectorUnitCell([plain(), c.TransferCompound([plain(), plain()], **GREEDY)]),
        c.ChoppedTransferCompound([plain(), plain()], auto_scale=True, fast_lr=1e4),
        c.TransferCompound([plain(), plain(dw_min=1e-6)], transfer_update=UNMANAGED),
    ],
    ids=["write", "nested", "scaled", "granularity"],
)
def test_a_step_that_cannot_be_done_changes_nothing(cell: Any) -> None:
    """Also where the first array could have been pulsed."""
    unmanaged = {"update_management": False, "update_bl_management": False, "fixed_bl": False}
    tile = tile_of(cell, **unmanaged if isinstance(cell, c.ChoppedTransferCompound) else {})
    before = copy.deepcopy(tile)
    x, d = batch(SHAPE, 5, seed=0)
    with pytest.raises(ConfigError, match="more than 8192 slots"):
        tile.update(x, d, 1.0)
    assert_same_state(tile, before)
    if not isinstance(cell, c.ChoppedTransferCompound):
        tile.update(x, d, 1e-4)
        before.update(x, d, 1e-4)
        assert sum(tile.pulse_counts) > 0
    assert_same_state(tile, before)


def test_a_change_that_one_array_refuses_leaves_all_as_they_were() -> None:
    tile = train(tile_of(c.TransferCompound([SOFT, SOFT], transfer_forward=NOISY)), 0, 3)
    twin = copy.deepcopy(tile)
    drifting = c.SoftBoundsDevice(drift=c.DriftParameter(nu=0.1))
    with pytest.raises(ConfigError, match="drift"):
        tile.reconfigure(device=c.TransferCompound([c.SoftBoundsDevice(dw_min=0.1), drifting], transfer_every=3))
    assert tile.granularity == twin.granularity
    assert_same_state(train(tile, 3, 5), train(twin, 3, 5))


def test_a_period_without_a_meaning_is_refused() -> None:
    fast = c.VectorUnitCell([plain(), plain()])
    with pytest.raises(ConfigError, match="automatic period needs a fast device"):
        tile_of(c.ChoppedTransferCompound([fast, plain()], transfer_every=-1.0))


def test_an_empty_batch_fires_nothing() -> None:
    for cell in cells().values():
        tile = tile_of(cell)
        tile.update(np.empty((0, 7), np.float32), np.empty((0, 5), np.float32), 0.1)
        assert sum(tile.pulse_counts) == 0


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


# -- traces and closed forms -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("kind", KINDS)
def test_reconfigure_keeps_devices_and_buffers(kind: str) -> None:
    tile = train(tile_of(cells()[kind]), 0, 4)
    before = copy.deepcopy(tile)
    tile.reconfigure(backward=c.IOParameters(out_noise=0.0), device=tile.rpu_config.device.mutable_copy())
    one, two = tile.state_dict(), before.state_dict()
    assert one.keys() == two.keys()
    for name in one.keys() - {"meta"}:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


# -- configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*c.ALGORITHMS, "AGAD"])
def test_algorithms_by_name(name: str) -> None:
    config = c.build_config(
        name, c.SoftBoundsDevice, construction_seed=3, mapping=c.MappingParameter(digital_bias=False)
    )
    assert config.mapping.digital_bias is False
    tile = train(Tile(4, 6, config), 0, 2)
    again = Tile(4, 6, config, seed=8)
    found = {n: v for n, v in tile.hidden_parameters().items() if n.startswith("dwmin_up")}
    for each, values in found.items():
        assert_same_bits(again.hidden_parameters()[each], values, "the construction seed draws the devices")


def test_fields_of_algorithms() -> None:
    ttv2 = c.build_config("ttv2", c.SoftBoundsDevice(w_max=2.0), c.IOParameters(out_noise=0.0))
    assert isinstance(ttv2.device, c.ChoppedTransferCompound)
    assert (ttv2.device.in_chop_prob, ttv2.device.auto_scale, ttv2.update.desired_bl) == (0.0, False, 5)
    assert ttv2.device.transfer_forward.noise_management is c.NoiseManagementType.NONE
    assert ttv2.forward.noise_management is c.NoiseManagementType.ABS_MAX
    assert ttv2.device.transfer_forward.out_noise == 0.0
    assert [d.w_max for d in ttv2.device.unit_cell_devices] == [2.0, 2.0]
    agad = c.build_config("agad", c.SoftBoundsDevice)
    assert isinstance(agad.device, c.DynamicTransferCompound)
    assert (agad.device.transfer_update.update_management, agad.device.fast_lr) == (True, 0.1)
    several = c.build_config("sgd", c.SoftBoundsDevice, n_devices=3)
    assert len(several.device.unit_cell_devices) == 3
    assert several.device.update_policy is c.VectorUnitCellUpdatePolicy.SINGLE_RANDOM
    with pytest.raises(ConfigError, match="no algorithm 'adam'; use one of sgd"):
        c.build_config("adam", c.SoftBoundsDevice)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (c.VectorUnitCell(), "at least 1 devices"),
        (c.VectorUnitCell([c.IdealDevice()]), "pulsed devices or unit cells"),
        (c.VectorUnitCell([plain()], gamma_vec=[1.0, 2.0]), "gamma_vec"),
        (c.VectorUnitCell([plain()], first_update_idx=1), "first_update_idx"),
        (c.OneSidedUnitCell([plain(), SOFT]), "one type"),
        (c.OneSidedUnitCell([plain()] * 3), "1 or 2 devices"),
        (c.TransferCompound([plain()]), "at least 2"),
        (c.TransferCompound([plain()] * 2, transfer_every=0.2, units_in_mbatch=False), "whole number"),
        (c.TransferCompound([plain()] * 2, gamma_vec=[1.0, 0.0]), "last value of gamma_vec"),
        (c.TransferCompound([plain()] * 2, with_reset_prob=0.1, transfer_columns=False), "cannot be reset"),
        (c.ChoppedTransferCompound([plain()] * 3), "exactly 2"),
        (c.ChoppedTransferCompound([plain()] * 2, n_reads_per_transfer=2), "n_reads_per_transfer"),
        (c.DynamicTransferCompound([plain()] * 2, in_chop_prob=0.0), "in_chop_prob"),
        (c.MixedPrecisionCompound(), "at least 1 devices"),
        (c.MixedPrecisionCompound(plain(), n_x_bins=1), "n_x_bins"),
        (c.UnitCell([plain()]), "must be set to a cell"),
    ],
)
def test_impossible_cells_are_refused(cell: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        tile_of(cell)
    assert "\n" not in str(error.value)


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="unit_cell_devices must be a list"):
        tile_of(c.VectorUnitCell(unit_cell_devices=plain()))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="gamma_vec"):
        tile_of(c.VectorUnitCell([plain()], gamma_vec=["1"]))  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="another pulse_type"):
        tile_of(c.VectorUnitCell([plain()]), pulse_type=c.PulseType.NONE_WITH_DEVICE)


def test_without_pulses_a_cell_is_an_ideal_device() -> None:
    tile = tile_of(c.VectorUnitCell([SOFT, SOFT]), pulse_type=c.PulseType.NONE)
    tile.set_weights(np.zeros(SHAPE, np.float32))
    x, d = batch(SHAPE, 2, seed=0)
    tile.update(x, d, 1.0)
    np.testing.assert_allclose(tile.weights, -d.T @ x, rtol=1e-5, atol=1e-6)


def test_weights_of_cells_are_read_only() -> None:
    tile = tile_of(c.VectorUnitCell([SOFT, SOFT]))
    with pytest.raises(ValueError, match="read-only"):
        tile.weights[0, 0] = 1.0
