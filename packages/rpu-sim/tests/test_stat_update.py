"""From a requested change to pulse counts: binomial law, covariances, management, resolutions, deterministic pulses.

The devices have noise-free steps and wide bounds, so a weight change is a pulse count times the granularity.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from closed_forms import trains
from sampling import check_correlation, check_counts, check_mean, check_std, identical, tile_of, weights_of
from scipy import stats

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import NonFiniteError
from rpu_sim.reference.trains import plan_train

G = 0.001
DEVICE = identical(c.ConstantStepDevice, dw_min=G, dw_min_std=0.0, w_max=20.0, w_min=-20.0)


def update_parameters(management: str = "", **fields: object) -> c.UpdateParameters:
    """Update parameters with ``"um"``, ``"ublm"`` or no management."""
    return c.UpdateParameters(update_management=management == "um", update_bl_management=management == "ublm", **fields)


def counts_of(tile: Tile) -> np.ndarray:
    """Signed pulse counts (up positive) since the weights were zero."""
    counts = weights_of(tile) / G
    assert counts == pytest.approx(np.rint(counts), abs=1e-2)
    return np.rint(counts).astype(np.int64)


def updates(parameters: c.UpdateParameters, x: np.ndarray, d: np.ndarray, lr: float, n: int, device: c.Device = DEVICE):
    """Weight changes of n update calls from zero, float32 [n, out, in]; x [batch, in], d [batch, out]."""
    x, d = (np.ascontiguousarray(np.atleast_2d(v), np.float32) for v in (x, d))
    tile = tile_of(device, (d.shape[1], x.shape[1]), update=parameters)
    changes = np.empty((n, d.shape[1], x.shape[1]), np.float32)
    for change in changes:
        tile.weights[...] = 0.0
        tile.update(x, d, lr)
        change[...] = tile.weights
    return changes


def independent_counts(parameters: c.UpdateParameters, x: float, d: float, lr: float, n: int) -> np.ndarray:
    """n pulse counts of single crosspoints with input x and gradient d: cells on a diagonal share no train."""
    lines = 128
    changes = updates(parameters, np.full(lines, x), np.full(lines, d), lr, -(-n // lines))
    return np.rint(-np.sign(x * d) * np.einsum("bii->bi", changes) / G).astype(np.int64)


# -- trains -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 7, 8, 9, 31, 32, 33, 64, 100])
def test_counts_are_binomial(slots: int) -> None:
    """51200 counts per length, both kinds of train (direct up to 8 slots, bit-sliced above); detects a probability that
    is off by 0.03 / sqrt(slots), or pulses that are correlated between slots by about 2 %."""
    x, d, lr = 0.37, 0.61, slots * G
    counts = independent_counts(update_parameters(desired_bl=slots), x, d, lr, 51200)
    check_counts(counts, stats.binom.pmf(np.arange(slots + 1), slots, x * d), f"{slots} slots")


def test_counts_of_a_managed_train_are_binomial() -> None:
    """k = 2.8 becomes 3 slots of probability 0.9333."""
    counts = independent_counts(update_parameters("ublm"), 0.7, -0.4, 0.01, 51200)
    check_counts(counts, stats.binom.pmf(np.arange(4), 3, 2.8 / 3), "managed train")


def test_certain_and_impossible_pulses() -> None:
    """Probability 1 never misses a slot and probability 0 never fires one, in 1e6 slots of each kind of train."""
    for slots in (8, 100):
        x = np.array([1.0, 0.0, -1.0, -0.0], np.float32)
        changes = updates(update_parameters(desired_bl=slots), x, np.ones(64), slots * G, 200)
        assert (np.rint(changes / G) == np.array([-slots, 0, slots, 0])).all()


def test_small_probabilities() -> None:
    """p_x = 2e-5: 5100 pulses expected in 2.5e8 slots; detects 10 %, so fewer than 19 bits of probability."""
    x = np.full(4096, 2e-5)
    changes = updates(update_parameters(desired_bl=31), x, np.ones(1), 31 * G, 2000)
    counts = np.rint(-changes / G)
    check_mean(counts, 31 * 2e-5, "count", std=np.sqrt(31 * 2e-5))


def test_mean_variance_and_covariance_of_an_update() -> None:
    """16 x 16 cells, lr 0.02, g 0.001 (k <= 20 < 31), cycle noise 0.3, 20000 updates: mean -lr x d, variance
    g^2 (BL p (1 - p) + sigma^2 BL p), covariance g^2 BL pd (1 - pd) px px' in a row, likewise in a column, 0 elsewhere.
    The scale of the variances and covariances is known to 0.5 % and 2 %.
    """
    n, lr, sigma = 20000, 0.02, 0.3
    rng = np.random.default_rng(3)
    x, d = rng.uniform(-1, 1, 16).astype(np.float32), rng.uniform(-1, 1, 16).astype(np.float32)
    device = identical(c.ConstantStepDevice, dw_min_std=sigma, w_max=20.0, w_min=-20.0)
    t = trains(c.UpdateParameters(), lr, G, x.astype(np.float64), d.astype(np.float64))
    samples = updates(c.UpdateParameters(), x, d, lr, n, device).astype(np.float64).reshape(n, 256) / G
    sign = -np.sign(np.outer(d, x)).ravel()

    mean = t.slots * t.p.ravel()
    variance = mean * (1 - t.p.ravel()) + sigma**2 * mean
    assert mean * G == pytest.approx(lr * np.abs(np.outer(d, x)).ravel(), rel=1e-6)
    for cell in range(256):
        check_mean(samples[:, cell], sign[cell] * mean[cell], f"cell {cell}", std=np.sqrt(variance[cell]))
        check_std(samples[:, cell], np.sqrt(variance[cell]), f"cell {cell}")

    row, column = np.divmod(np.arange(256), 16)
    px, pd = t.px[column], t.pd[row]
    same_row, same_column = row[:, None] == row, column[:, None] == column
    expected = np.zeros((256, 256))
    expected += np.where(same_row & ~same_column, t.slots * (pd * (1 - pd))[:, None] * np.outer(px, px), 0.0)
    expected += np.where(same_column & ~same_row, t.slots * (px * (1 - px))[:, None] * np.outer(pd, pd), 0.0)
    expected *= np.outer(sign, sign)
    centred = samples - sign * mean
    blocks = np.array([b.T @ b / len(b) for b in np.array_split(centred, 20)])
    found = blocks.mean(axis=0)
    error = np.sqrt(((centred**2).T @ (centred**2) / n - found**2) / n)
    off_diagonal = ~np.eye(256, dtype=bool)
    z = (found - expected)[off_diagonal] / error[off_diagonal]
    assert np.abs(z).max() < 6  # 65280 covariances: false alarm 1.3e-4
    for group in (same_row & ~same_column, same_column & ~same_row):
        scale = np.mean(blocks[:, group] * expected[group], axis=1) / np.mean(expected[group] ** 2)
        check_mean(scale, 1.0, "scale of the covariances")


def test_updates_and_samples_are_independent() -> None:
    """Counts of successive calls, and the variance of a batch of 8 equal samples; 51200 of each."""
    counts = independent_counts(update_parameters(desired_bl=5), 0.7, 0.6, 5 * G, 51200)
    check_correlation(counts[1:], counts[:-1], 0.0, "successive calls")
    lines = 64
    x, d = np.full((8, lines), 0.7), np.full((8, lines), 0.6)
    changes = updates(update_parameters(desired_bl=5), x, d, 5 * G, 800)
    batch = np.rint(-np.einsum("bii->bi", changes) / G).astype(np.int64)
    check_counts(batch, stats.binom.pmf(np.arange(41), 40, 0.42), "batch of 8")


# -- management -------------------------------------------------------------------------------------------------------

MANAGED = {
    "none": update_parameters(),
    "um": update_parameters("um"),
    "ublm": update_parameters("ublm"),
    "ublm, 10 slots": update_parameters("ublm", desired_bl=10),
    "um, 10 slots": update_parameters("um", desired_bl=10),
    "um, scaled gradient": update_parameters("um", um_grad_scale=0.5),
    "ublm, scaled gradient": update_parameters("ublm", um_grad_scale=0.4, desired_bl=12),
    "ublm, enlarged gradient": update_parameters("ublm", um_grad_scale=2.0),
    "growing": update_parameters(fixed_bl=False, desired_bl=5),
    "resolution": update_parameters("um", res=0.07),
    "resolution in steps": update_parameters(res=15.0),
}


@pytest.mark.parametrize("lr", [0.004, 0.03])
@pytest.mark.parametrize("name", MANAGED)
def test_mean_and_variance_under_management(name: str, lr: float) -> None:
    """g BL px pd with the probabilities of the definitions, clipped at 1; 4000 updates of 4 x 6 cells."""
    x = np.array([0.9, -0.35, 0.1, 0.62, 0.0, -1.3])
    d = np.array([-0.8, 0.45, 0.05, 1.1])
    t = trains(MANAGED[name], lr, G, x.astype(np.float32).astype(float), d.astype(np.float32).astype(float))
    changes = updates(MANAGED[name], x, d, lr, 4000)
    p = np.minimum(t.px, 1.0) * np.minimum(t.pd, 1.0)[:, None]
    for i, j in itertools.product(range(4), range(6)):
        counts = np.rint(-np.sign(d[i] * x[j]) * changes[:, i, j] / G).astype(np.int64)
        check_counts(counts, stats.binom.pmf(np.arange(t.slots + 1), t.slots, p[i, j]), f"{name}, cell {i}, {j}")


def test_management_keeps_the_mean_and_shrinks_the_variance() -> None:
    """x 0.7, d -0.4, lr 0.01 (k = 2.8): mean +0.0028 in every mode, variance 1.867e-7 with BL management (3 slots)
    and 2.547e-6 without (31 slots)."""
    for name, slots, published in (("none", 31, 2.547e-6), ("um", 31, 2.547e-6), ("ublm", 3, 1.867e-7)):
        counts = independent_counts(MANAGED[name], 0.7, -0.4, 0.01, 51200)
        std = np.sqrt(2.8 * (1 - 2.8 / slots))
        assert (std * G) ** 2 == pytest.approx(published, rel=1e-3)
        check_mean(counts, 2.8, name, std=std)
        check_std(counts, std, name)


@pytest.mark.parametrize("management", ["um", "ublm"])
def test_counts_are_capped_at_the_train_length(management: str) -> None:
    """lr 1 asks for 1000 pulses; x_max always fires, so it gets 31 g |x_j| / x_max."""
    change = updates(update_parameters(management), np.array([1.0]), np.array([1.0]), 1.0, 20)
    assert change == pytest.approx(-31 * G, abs=1e-7)
    samples = updates(update_parameters(management), np.array([1.0, 0.25]), np.array([1.0]), 1.0, 20000)
    assert samples[:, 0, 0] == pytest.approx(-31 * G, abs=1e-7)
    counts = np.rint(-samples[:, 0, 1] / G).astype(np.int64)
    check_counts(counts, stats.binom.pmf(np.arange(32), 31, 0.25), "capped count")


def test_the_largest_input_of_a_capped_train_never_misses_a_slot() -> None:
    """Its probability is 1 after rounding, for any input; the core computes the same plan bit for bit."""
    for x_max in np.random.default_rng(0).lognormal(0, 3, 2000).astype(np.float32):
        plan = plan_train(c.UpdateParameters(), np.float32(1e6), np.float32(G), x_max, np.float32(1.0))
        assert np.float32(x_max * plan.x_scale) >= 1
        assert plan.length == 31


@pytest.mark.parametrize("management", ["um", "ublm"])
def test_gradients_beyond_the_scaled_maximum_are_clipped(management: str) -> None:
    """um_grad_scale 0.5: unbiased up to |d| = 0.5 d_max sqrt(BL / k), constant beyond."""
    parameters = update_parameters(management, um_grad_scale=0.5)
    d, lr = np.array([0.1, 0.3, 0.7, 1.0]), 0.0098
    k = lr * 1.0 * 0.5 / G
    slots = 31 if management == "um" else int(np.ceil(k))
    limit = 0.5 * np.sqrt(slots / k)
    samples = updates(parameters, np.array([1.0, 0.5]), d, lr, 20000)
    for i, j in itertools.product(range(4), range(2)):
        x = (1.0, 0.5)[j]
        expected = lr * x * d[i] if d[i] <= limit else G * slots * x * np.sqrt(k / slots)
        check_mean(-samples[:, i, j], expected, f"d = {d[i]}")


def test_growing_trains_round_the_rate_up() -> None:
    """fixed_bl=False: lr 0.0123 takes ceil(12.3) = 13 slots of probability |x d|, so the effective rate is 0.013."""
    counts = independent_counts(MANAGED["growing"], 0.7, 0.8, 0.0123, 51200)
    check_counts(counts, stats.binom.pmf(np.arange(14), 13, 0.56), "growing train")


# -- resolutions and deterministic pulses -----------------------------------------------------------------------------


def test_resolution_above_one_is_a_number_of_steps() -> None:
    x, d = np.linspace(-1, 1, 9), np.linspace(-0.5, 1, 7)
    for field, kind in (("res", "STOCHASTIC_COMPRESSED"), ("x_res_implicit", "DETERMINISTIC_IMPLICIT")):
        fraction, steps = (
            updates(c.UpdateParameters(pulse_type=c.PulseType[kind], **{field: value}), x, d, 0.02, 20)
            for value in (1 / 16, 16.0)
        )
        assert (fraction == steps).all()
        assert (fraction != 0).any()


def test_probabilities_below_half_a_resolution_vanish() -> None:
    parameters = update_parameters(res=0.1, desired_bl=10)
    samples = updates(parameters, np.array([0.049, 0.051]), np.array([1.0]), 10 * G, 5000)
    assert (samples[:, 0, 0] == 0).all()
    check_mean(-samples[:, 0, 1] / G, 10 * 0.1, "count of the smallest step", std=np.sqrt(0.9))


def test_stochastic_rounding_is_unbiased() -> None:
    """One rounding per line and sample: the probability is 0.3 or 0.4, so E n = 10 * 0.34, and the variance gains
    100 Var p = 0.24; 51200 counts, detects 1 %."""
    counts = independent_counts(update_parameters(res=0.1, sto_round=True, desired_bl=10), 0.34, 1.0, 10 * G, 51200)
    pmf = 0.6 * stats.binom.pmf(np.arange(11), 10, 0.3) + 0.4 * stats.binom.pmf(np.arange(11), 10, 0.4)
    check_counts(counts, pmf, "rounded probability")


@pytest.mark.parametrize("lr", [0.02, -0.02, 0.3])
@pytest.mark.parametrize("management", ["", "um", "ublm"])
def test_deterministic_counts(management: str, lr: float) -> None:
    """rint(BL min(px, 1) min(pd, 1)) pulses exactly (no value is within 1e-3 of a tie), down for lr x d > 0."""
    rng = np.random.default_rng(5)
    x, d = rng.uniform(-1, 1, 17).astype(np.float32), rng.uniform(-1, 1, 13).astype(np.float32)
    parameters = update_parameters(management, pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT)
    t = trains(parameters, abs(lr), G, x.astype(float), d.astype(float))
    wanted = t.slots * np.minimum(t.px, 1) * np.minimum(t.pd, 1)[:, None]
    clear = np.abs(np.abs(wanted - np.rint(wanted)) - 0.5) > 1e-3
    assert clear.mean() > 0.98
    tile = tile_of(DEVICE, (13, 17), update=parameters)
    tile.update(x[None], d[None], lr)
    expected = (-np.sign(lr * np.outer(d, x)) * np.rint(wanted)).astype(np.int64)
    assert (counts_of(tile)[clear] == expected[clear]).all()
    assert sum(tile.pulse_counts) == np.abs(counts_of(tile)).sum()


def test_deterministic_resolutions() -> None:
    parameters = update_parameters(
        pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT, x_res_implicit=0.1, d_res_implicit=0.2, desired_bl=50
    )
    tile = tile_of(DEVICE, (3, 4), update=parameters)
    x, d = np.array([[0.26, -0.74, 0.04, 1.5]], np.float32), np.array([[0.49, 0.08, -0.9]], np.float32)
    tile.update(x, d, 50 * G)  # scale 1: px = 0.3, 0.7, 0, 1 and pd = 0.4, 0, 0.8 (0.9 / 0.2 = 4.5 rounds to even)
    assert (counts_of(tile) == [[-6, 14, 0, -20], [0, 0, 0, 0], [12, -28, 0, 40]]).all()


def test_deterministic_stochastic_rounding_is_unbiased() -> None:
    """x is rounded to 0.3 or 0.4: 30 or 40 pulses of 100, 40 with probability 0.4."""
    parameters = update_parameters(
        pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT, x_res_implicit=0.1, sto_round=True, desired_bl=100
    )
    counts = independent_counts(parameters, 0.34, 1.0, 100 * G, 51200)
    assert set(np.unique(counts)) == {30, 40}
    check_mean(counts == 40, 0.4, "rounding up", std=np.sqrt(0.24))


# -- edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["STOCHASTIC_COMPRESSED", "STOCHASTIC", "DETERMINISTIC_IMPLICIT"])
def test_sign_of_an_update(kind: str) -> None:
    """Positive x, d and lr lower the weight; a negative rate raises it."""
    for x, d, lr in itertools.product((0.5, -0.5), (0.4, -0.4), (0.1, -0.1)):
        parameters = c.UpdateParameters(pulse_type=c.PulseType[kind])
        change = updates(parameters, np.array([x]), np.array([d]), lr, 1)
        assert np.sign(change.item()) == -np.sign(x * d * lr)


def test_nothing_happens_without_a_request() -> None:
    tile = tile_of(DEVICE, (3, 4), start=0.125, update=c.UpdateParameters())
    x, d, zero_x, zero_d = np.ones((2, 4)), np.ones((2, 3)), np.zeros((2, 4)), np.zeros((2, 3))
    for a, b, lr in ((zero_x, d, 0.1), (x, zero_d, 0.1), (x, d, 0.0)):
        tile.update(a.astype(np.float32), b.astype(np.float32), lr)
    assert (tile.weights == 0.125).all()
    assert tile.pulse_counts == (0, 0)


def test_both_stochastic_types_fire_the_same_pulses() -> None:
    rng = np.random.default_rng(0)
    x, d = rng.standard_normal((5, 9)), rng.standard_normal((5, 7))
    compressed, plain = (
        updates(c.UpdateParameters(pulse_type=kind), x, d, 0.02, 3)
        for kind in (c.PulseType.STOCHASTIC_COMPRESSED, c.PulseType.STOCHASTIC)
    )
    assert (compressed == plain).all()


@pytest.mark.parametrize("device", [c.SoftBoundsDevice(), c.IdealDevice()])
def test_pulse_type_none_is_the_floating_point_update(device: c.Device) -> None:
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((6, n)).astype(np.float32) for n in (9, 7))
    tile = tile_of(device, (7, 9), update=c.UpdateParameters(pulse_type=c.PulseType.NONE))
    before = weights_of(tile)
    tile.update(x, d, 3.0)
    assert weights_of(tile) == pytest.approx(before - 3.0 * d.T.astype(float) @ x.astype(float), rel=1e-5, abs=1e-5)


def test_pulse_type_none_with_device_clips_after_every_sample() -> None:
    """Two samples that overshoot the bound and come back end below it."""
    device = identical(c.ConstantStepDevice, w_max=0.6, w_min=-0.4)
    tile = tile_of(device, (1, 2), update=c.UpdateParameters(pulse_type=c.PulseType.NONE_WITH_DEVICE))
    tile.update(np.array([[1.0, 0.1], [1.0, 0.1]], np.float32), np.array([[-1.0], [0.5]], np.float32), 1.0)
    assert tile.weights[0] == pytest.approx([0.6 - 0.5, 0.1 - 0.05], abs=1e-6)


@pytest.mark.parametrize("device", [c.IdealDevice(), c.ConstantStepDevice()])
@pytest.mark.parametrize("kind", [c.PulseType.NONE, c.PulseType.NONE_WITH_DEVICE, c.PulseType.STOCHASTIC_COMPRESSED])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_requests_leave_the_weights_alone(device: c.Device, kind: c.PulseType, bad: float) -> None:
    good = np.ones((2, 3), np.float32)
    wrong = good.copy()
    wrong[1, 2] = bad
    tile = tile_of(device, (3, 3), start=0.1, update=c.UpdateParameters(pulse_type=kind))
    for x, d, name in ((wrong, good, "x"), (good, wrong, "d")):
        with pytest.raises(NonFiniteError, match=f"^{name} contains NaN or infinity; "):
            tile.update(x, d, 0.1)
    assert (tile.weights == np.float32(0.1)).all()
    assert tile.steps["update"] == 0


@pytest.mark.parametrize("management", ["um", "ublm"])
def test_an_enormous_request_saturates(management: str) -> None:
    """A request beyond the range of float32 fills the trains like any other one that exceeds them."""
    tile = tile_of(DEVICE, (1, 1), update=update_parameters(management))
    tile.update(np.array([[1e25]], np.float32), np.array([[1e25]], np.float32), 1.0)
    assert tile.weights.item() == pytest.approx(-31 * G, abs=1e-7)
