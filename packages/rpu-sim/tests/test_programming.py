"""Reading and programming weights through the noisy periphery, against closed forms; see ``sampling`` for the power."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sampling import check_mean, check_std, identical

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError, NonFiniteError, ShapeError

NOISE = 0.06
NOISY = c.IOParameters(  # additive output noise and nothing else
    inp_res=0, inp_bound=0, out_res=0, out_bound=0, out_noise=NOISE,
    noise_management=c.NoiseManagementType.NONE, bound_management=c.BoundManagementType.NONE,
)  # fmt: skip
PERFECT = c.IOParameters(is_perfect=True)
PULSELESS = c.UpdateParameters(pulse_type=c.PulseType.NONE)


def weights(shape: tuple[int, int]) -> np.ndarray:
    return np.clip(0.2 * np.random.default_rng(4).standard_normal(shape), -0.5, 0.5).astype(np.float32)


def noisy_tile(shape: tuple[int, int], forward: c.IOParameters = NOISY, **config: object) -> Tile:
    tile = Tile(*shape, c.SingleRPUConfig(forward=forward, **config), seed=3)
    tile.set_weights(weights(shape))
    return tile


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over_sampling", [2, 10])
def test_error_of_reading_is_that_of_least_squares(over_sampling: int) -> None:
    """n normal vectors, k inputs: E[(X^T X)^-1] = I / (n - k - 1), and outputs have independent noise.

    One read has 400 outputs x 50 inputs = 20000 errors, so the standard deviation is known to 0.5 %; that of the mean
    over the vectors of one read, sqrt(1 / (n k)), is below 0.5 % as well. 10 reads: 0.22 % together.
    """
    tile = noisy_tile((400, 50))
    errors = np.stack([tile.read_weights(over_sampling=over_sampling) - tile.get_weights() for _ in range(10)])
    n, k = over_sampling * 50, 50
    expected = NOISE / np.sqrt(n - k - 1)
    check_mean(errors, 0.0, "error of reading")
    found = errors.std()
    spread_of_designs = np.sqrt(2 / (10 * n * k))
    allowed = 5 * expected * np.hypot(1 / np.sqrt(2 * errors.size), spread_of_designs)
    assert abs(found - expected) < allowed, f"{found} instead of {expected} +- {allowed}"


def test_given_vectors_and_perfect_reads() -> None:
    """n times the unit vectors average the noise: s / sqrt(n). Without noise the weights come back to rounding."""
    tile = noisy_tile((200, 40))
    vectors = np.tile(np.eye(40, dtype=np.float32), (25, 1))
    check_std(tile.read_weights(vectors) - tile.weights, NOISE / 5, "error of 25 averaged reads")
    exact = noisy_tile((20, 40), PERFECT)
    assert exact.read_weights() == pytest.approx(exact.weights, abs=2e-6)


def test_error_of_reading_through_the_default_periphery() -> None:
    """Noise and grids scale with the largest input a of a vector: Cov = (X^T X)^-1 X^T D X (X^T X)^-1, D = s^2 a^2.

    s has the output noise 0.06, the grid of the ADC, 24 / 510 / sqrt(12), and that of the DAC, 1 / 63 / sqrt(12) times
    the weights of an output. 20000 errors: 5 standard errors are 2.5 %.
    """
    tile = noisy_tile((400, 50), c.IOParameters())
    x = np.random.default_rng(7).standard_normal((500, 50)).astype(np.float32)
    errors = tile.read_weights(x) - tile.weights
    dac = (tile.weights**2).sum(axis=1).mean() / 63**2 / 12
    noise = np.abs(x).max(axis=1) * np.sqrt(0.06**2 + (24 / 510) ** 2 / 12 + dac)
    estimator = np.linalg.inv(x.T @ x) @ x.T
    check_mean(errors, 0.0, "error of reading")
    assert errors.std() == pytest.approx(np.sqrt(np.mean(((estimator * noise) ** 2).sum(axis=1))), rel=0.03)


def test_reading_counts_as_one_forward_call_and_repeats() -> None:
    config = c.IOParameters(noise_management=c.NoiseManagementType.AVERAGE_ABS_MAX)
    tile, twin = noisy_tile((7, 5), config), noisy_tile((7, 5), config)
    x = np.ones((3, 5), np.float32)
    first = tile.read_weights()
    assert (first == twin.read_weights()).all()
    assert (tile.read_weights() != first).any(), "every read has noise of its own"
    assert tile.steps["forward"] == 2
    twin.read_weights()
    before = tile.state_dict()["buffer.forward_running_mean"]
    assert before == 0.0, "reading is no training"
    assert (tile.forward(x) == twin.forward(x)).all()


def test_reading_refuses_vectors_that_do_not_span_the_inputs() -> None:
    tile = noisy_tile((3, 4))
    with pytest.raises(ShapeError, match="has 3 vectors but reading 4 inputs"):
        tile.read_weights(np.eye(3, 4, dtype=np.float32))
    with pytest.raises(ShapeError, match="does not span the 4 inputs"):
        tile.read_weights(np.ones((8, 4), np.float32))
    with pytest.raises(NonFiniteError, match="x_values"):
        tile.read_weights(np.full((8, 4), np.nan, np.float32))
    with pytest.raises(ConfigError, match="over_sampling"):
        tile.read_weights(over_sampling=0)
    assert tile.steps["forward"] == 0


# -- programming ------------------------------------------------------------------------------------------------------


def test_exact_programming_converges_geometrically() -> None:
    """Without noise and pulses the error shrinks by 1 - lr per round, from weights of 0."""
    tile = noisy_tile((6, 5), PERFECT, update=PULSELESS)
    target = tile.get_weights()
    result = tile.program_weights(learning_rate=0.2, tolerance=1e-3, w_init=0.0)
    start = np.abs(target).mean() / np.abs(target).max()
    assert result.converged
    assert result.iterations == int(np.ceil(np.log(1e-3 / start) / np.log(0.8)))
    assert result.error == pytest.approx(start * 0.8**result.iterations, rel=1e-3)
    assert tile.weights == pytest.approx(target * (1 - 0.8**result.iterations), rel=1e-3)


@pytest.mark.parametrize("lr", [0.1, 0.5])
def test_scatter_of_programming_without_pulses(lr: float) -> None:
    """An autoregression: var = lr s^2 / (2 - lr), (1 - lr)^300 of the start is left; 40000 weights."""
    tile = noisy_tile((200, 200), update=PULSELESS)
    target = tile.get_weights()
    result = tile.program_weights(learning_rate=lr, max_iter=300, tolerance=1e-4)
    assert not result.converged
    assert result.iterations == 300
    check_std(tile.weights - target, NOISE * np.sqrt(lr / (2 - lr)), "programming error")
    check_mean(tile.weights - target, 0.0, "programming error")
    seen = np.sqrt(2 / np.pi) * NOISE * np.sqrt(2 / (2 - lr))  # noise of the output and of the weight
    assert result.error == pytest.approx(seen / np.abs(target).max(), rel=0.02)


def test_scatter_of_programming_with_pulses() -> None:
    """Pulses of size g add lr g E|error| (1 - p + sigma^2) to the variance of a round, p between 0 and 1.

    The stationary variance is that of a round over 1 - (1 - lr)^2, and error is the noise plus the programming error
    itself. sigma = 0.3; 10000 weights.
    """
    lr, g, sigma = 0.1, 0.002, 0.3
    device = identical(c.ConstantStepDevice, dw_min=g, dw_min_std=sigma, w_max=1.0, w_min=-1.0)
    tile = noisy_tile((100, 100), device=device)
    target = tile.get_weights()
    tile.program_weights(learning_rate=lr, max_iter=400, tolerance=1e-4)
    scatter = float((tile.weights - target).var())
    memory = 1 - (1 - lr) ** 2
    limits = []
    for p in (1.0, 0.0):
        variance = NOISE**2 * lr / (2 - lr)
        for _ in range(20):  # the error depends on the scatter
            error = np.sqrt(2 / np.pi * (NOISE**2 + variance))
            variance = (lr**2 * NOISE**2 + lr * g * error * (1 - p + sigma**2)) / memory
        limits.append(variance)
    uncertainty = 5 * np.sqrt(2 / tile.weights.size)
    assert limits[0] * (1 - uncertainty) < scatter < limits[1] * (1 + uncertainty)
    check_mean(tile.weights - target, 0.0, "programming error")


def test_programming_with_the_default_periphery_reaches_a_reachable_tolerance() -> None:
    tile = noisy_tile((20, 30), c.IOParameters(), device=c.SoftBoundsDevice())
    target = tile.get_weights()
    result = tile.program_weights(tolerance=0.2)
    assert result.converged
    assert 0 < result.iterations < 100
    assert np.abs(tile.weights - target).mean() < 0.2 * np.abs(target).max()


def test_given_target_start_and_vectors() -> None:
    tile = noisy_tile((6, 5), PERFECT, update=PULSELESS)
    target = -tile.get_weights()
    x = np.random.default_rng(0).standard_normal((15, 5)).astype(np.float32)
    start = np.full((6, 5), 0.05, np.float32)
    result = tile.program_weights(target, x, learning_rate=0.02, w_init=start, tolerance=1e-5)
    assert result.converged
    assert tile.weights == pytest.approx(target, abs=1e-4)
    assert tile.program_weights(target, w_init=target).iterations == 0


def test_programming_repeats() -> None:
    results = []
    for _ in range(2):
        tile = noisy_tile((6, 5))
        tile.program_weights(max_iter=20)
        results.append(tile.get_weights())
    assert (results[0] == results[1]).all()


def test_bad_arguments_leave_the_weights_alone() -> None:
    tile = noisy_tile((6, 5))
    before = tile.get_weights()
    bad = np.full((6, 5), np.nan, np.float32)
    with pytest.raises(NonFiniteError):
        tile.program_weights(bad)
    with pytest.raises(ShapeError):
        tile.program_weights(before.T.copy())
    with pytest.raises(NonFiniteError):
        tile.program_weights(w_init=bad)
    for fields in ({"learning_rate": -0.1}, {"tolerance": 0.0}, {"max_iter": -1}):
        with pytest.raises(ConfigError, match="must be positive"):
            tile.program_weights(**fields)
    assert (tile.weights == before).all()


def test_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm", reason="the progress bar needs tqdm")
    tile = noisy_tile((6, 5))
    tile.program_weights(max_iter=5)
    assert capsys.readouterr().err == ""
    tile.program_weights(max_iter=5, progress=True)
    assert "programming" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ConfigError, match="needs tqdm"):
        tile.program_weights(max_iter=5, progress=True)
