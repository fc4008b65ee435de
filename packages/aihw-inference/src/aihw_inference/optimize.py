"""Weight-programming optimisation: conductance curves g+-(w) that make the weights least wrong over time.

A weight can be held by many pairs of conductances; which are best depends on the noise of the devices. The search
space, the loss (a time-averaged normalised mean squared error that includes drift compensation) and the stopping rule
are those of Mackin et al. 2022, doi:10.1038/s41467-022-31405-1. Every candidate sees the same random numbers, so the
objective is a deterministic function of the curves.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from .arrays import finite_array, on_host
from .compensation import BaseDriftCompensation, GlobalDriftCompensation, read_compensated
from .converters import BaseConductanceConverter, CustomPairConductanceConverter
from .errors import BackendError, ConfigError
from .models import BaseNoiseModel
from .programming import program
from .rng import Generator, as_generator

Array = Any
Vector = NDArray[np.float64]
Minimizer = Callable[[Callable[[Vector], float], int, float], Vector]

_GLOBAL = GlobalDriftCompensation()


@dataclass(frozen=True)
class ProgrammingCurves:
    """The unit hypercube of conductance curves of P pairs.

    Coordinates: the free significance factors, then the largest programmed weight (unless `use_max`), then 2 P - 1 rows
    of one number per node: for each pair the place of g+ in its possible range, and for all pairs but the last, which
    carries the rest, its share of the weight.

    Attributes:
        f_lst: significance factor of each pair, None to optimise it.
        g_min, g_max: conductance range in microsiemens.
        n_bins: nodes between zero and the largest weight, both included, at least 2.
        symmetric: the curves of negative weights are those of positive ones with g+ and g- exchanged.
        f_min, f_max: range of a free factor.
        use_max: program the largest weight with all pairs full, instead of optimising that.
        g_err: share of the range by which the target of a device may be beyond what the others leave.

    Raises:
        ConfigError: a parameter has an impossible value.
    """

    f_lst: tuple[float | None, ...]
    g_min: float
    g_max: float
    n_bins: int = 6
    symmetric: bool = True
    f_min: float = 0.1
    f_max: float = 5.0
    use_max: bool = False
    g_err: float = 0.0

    def __post_init__(self) -> None:
        if not self.f_lst or not all(f is None or 0.0 < f < math.inf for f in self.f_lst):
            raise ConfigError(f"f_lst needs positive factors, or None to optimise one, got {list(self.f_lst)}.")
        if not (0.0 < self.f_min < self.f_max < math.inf and 0.0 <= self.g_err < 1.0 and self.n_bins >= 2):
            raise ConfigError("the search needs 0 < f_min < f_max, 0 <= g_err < 1 and n_bins >= 2; correct these.")

    @property
    def n_nodes(self) -> int:
        """Nodes of a decoded row: those of the weights <= 0 of symmetric curves, else all 2 n_bins - 1."""
        return self.n_bins if self.symmetric else 2 * self.n_bins - 1

    @property
    def n_free(self) -> int:
        """Number of factors to optimise."""
        return sum(f is None for f in self.f_lst)

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return (2 * len(self.f_lst) - 1) * self.n_nodes + self.n_free + (not self.use_max)

    def converter(self, x: Vector) -> CustomPairConductanceConverter:
        """The converter at a point [dimension] of the unit hypercube."""
        free, rest = iter(x[: self.n_free]), x[self.n_free :]
        factors = [float(next(free)) * (self.f_max - self.f_min) + self.f_min if f is None else f for f in self.f_lst]
        share, rest = (1.0, rest) if self.use_max else (float(rest[0]), rest[1:])
        span = self.g_max - self.g_min
        largest = (0.05 + 0.95 * share) * span * sum(factors)
        rows = np.reshape(rest, (2 * len(factors) - 1, self.n_nodes))
        code = largest * np.linspace(-1.0, 1.0, 2 * self.n_bins - 1)[: self.n_nodes]
        curves = _decoded(rows, code, factors, self.g_min, span, self.g_err)
        if self.symmetric:
            curves = [_mirrored(own, other) for own, other in zip(curves, _exchanged(curves), strict=True)]
        return CustomPairConductanceConverter(
            factors, [curve.tolist() for curve in curves], self.g_max, self.g_min, invertibility_test=False
        )


def _decoded(
    rows: Vector, code: Vector, factors: Sequence[float], g_min: float, span: float, g_err: float
) -> list[Vector]:
    """The curves [g1+, g1-, g2+, ...] at the nodes whose programmed weights are `code` microsiemens."""
    curves, remaining = [], code
    for p, factor in enumerate(factors):
        others, own = sum(factors[p + 1 :]) * span, factor * span
        low, high = np.maximum(remaining - others, -own), np.minimum(remaining + others, own)
        share = rows[2 * p + 1] if p + 1 < len(factors) else 1.0
        carried = low + share * (high - low)
        remaining = remaining - carried
        difference = carried / factor
        lowest = g_min + np.maximum(difference, 0.0) - g_err * span
        highest = g_min + span + np.minimum(difference, 0.0) + g_err * span
        plus = np.clip(lowest + rows[2 * p] * (highest - lowest), g_min, g_min + span)
        curves += [plus, np.clip(plus - difference, g_min, g_min + span)]
    return curves


def _exchanged(curves: list[Vector]) -> list[Vector]:
    return [curves[k ^ 1] for k in range(len(curves))]


def _mirrored(own: Vector, other: Vector) -> Vector:
    """Continues a curve of weights <= 0 to positive ones by the mirrored curve of its partner."""
    return np.concatenate([own[:-1], other[::-1]])


def downsample_weight_distribution(weights: Array, shape: tuple[int, ...], *, seed: int = 0) -> Vector:
    """A float64 matrix of `shape` with the distribution of `weights`: equally spaced quantiles, fully shuffled.

    The smallest and the largest weight are kept; a larger `shape` interpolates.
    """
    _, weights = finite_array(weights, "weights")
    ordered = np.sort(on_host(weights).astype(np.float64).reshape(-1))
    if not ordered.size or not ordered.any():
        raise ConfigError("the optimisation needs weights that are not all zero; pass trained weights.")
    n = math.prod(shape)
    sampled = np.interp(np.linspace(0.0, ordered.size - 1.0, n), np.arange(ordered.size), ordered)
    return np.random.default_rng(seed).permutation(sampled).reshape(shape)


def loss_weights(
    weights: Array,
    noise_model: BaseNoiseModel,
    t_steps: Sequence[float],
    *,
    rng: Generator | int,
    compensation: BaseDriftCompensation | None = None,
    n_chips: int = 1,
) -> float:
    """100 times the mean squared error over the squared largest weight, averaged over times, chips and weights.

    Args:
        weights: matrix [out, in].
        noise_model: devices and converter.
        t_steps: seconds after programming.
        rng: seed or generator; the same one gives the same loss.
        compensation: drift compensation; None applies none.
        n_chips: independent programmings to average over.
    """
    state = program(weights, noise_model, rng=rng, n_chips=n_chips)
    xp = array_namespace(weights)
    largest = float(xp.max(xp.abs(weights)))
    total = 0.0
    for t in t_steps:
        read = state.weights_at(t) if compensation is None else read_compensated(state, t, compensation).compensated
        total += float(xp.mean(((read - weights) * (10.0 / largest)) ** 2))
    return total / len(t_steps)


@dataclass(frozen=True)
class ProgrammingResult:
    """Outcome of an optimisation.

    Attributes:
        converter: the best converter found.
        success: whether the search found one that beats the baseline by the margin.
        loss, baseline_loss: of the best and of the baseline converter, on random numbers that the search did not see.
        evaluations: number of converters tried.
    """

    converter: CustomPairConductanceConverter
    success: bool
    loss: float
    baseline_loss: float
    evaluations: int


def optimize_programming(
    weights: Array,
    noise_model: BaseNoiseModel,
    t_steps: Sequence[float],
    *,
    f_lst: Sequence[float | None] = (1.0,),
    baseline: BaseConductanceConverter | None = None,
    compensation: BaseDriftCompensation | None = _GLOBAL,
    rng: Generator | int = 100,
    test_shape: tuple[int, int] = (16, 256),
    n_chips: int = 1,
    loss_margin: float = 0.125,
    minimize: Minimizer | None = None,
    **curves: Any,
) -> ProgrammingResult:
    """Searches the curves of P pairs that make the weights least wrong at the given times.

    Args:
        weights: trained weights of any shape; the search uses `test_shape` quantiles of them.
        noise_model: the devices; not changed. Its converter is replaced by each candidate.
        t_steps: seconds after programming, at least one.
        f_lst: significance factor of each pair, None to optimise one.
        baseline: converter to beat (default: that of the noise model); its conductance range is used.
        compensation: drift compensation included in the loss, or None.
        rng: seed or generator of the devices; every candidate sees the same numbers.
        test_shape: (out, in) of the array on which a candidate is tried.
        n_chips: independent programmings to average each loss over.
        loss_margin: fraction of the baseline loss by which to beat it; the search stops there.
        minimize: (objective, dimension, target) -> best point of the unit hypercube, stopping below the target
            (default: differential evolution of SciPy, package extra `optimize`).
        **curves: n_bins, symmetric, f_min, f_max, use_max, g_err of `ProgrammingCurves`.

    Raises:
        ConfigError: a parameter has an impossible value.
        BackendError: SciPy is not installed and no `minimize` is given.
        TimeError: a time that the noise model does not cover.
    """
    if len(t_steps) == 0 or n_chips < 1 or not 0.0 <= loss_margin < 1.0:
        raise ConfigError("the optimisation needs at least one time and one chip, and 0 <= loss_margin < 1.")
    reference = noise_model.g_converter if baseline is None else baseline
    space = ProgrammingCurves(tuple(f_lst), reference.g_min, reference.g_max, **curves)
    generator = as_generator(rng)
    sample = downsample_weight_distribution(weights, test_shape, seed=generator.seed)

    def loss(converter: BaseConductanceConverter, numbers: Generator = generator) -> float:
        model = _with(noise_model, converter)
        return loss_weights(sample, model, t_steps, rng=numbers, compensation=compensation, n_chips=n_chips)

    search = _Search(space, loss, loss(reference), loss_margin)
    best = (_differential_evolution(generator.seed) if minimize is None else minimize)(search, space.dimension, 0.0)
    search(np.clip(np.asarray(best, dtype=np.float64), 0.0, 1.0))
    found, fresh = search.best, generator.fold("validation")
    success = search.best_objective < 0.0
    return ProgrammingResult(found, success, loss(found, fresh), loss(reference, fresh), search.evaluations)


def _with(noise_model: BaseNoiseModel, converter: BaseConductanceConverter) -> BaseNoiseModel:
    model = copy.copy(noise_model)
    model.g_converter = converter
    return model


class _Search:
    """The objective, which remembers the best point."""

    def __init__(
        self,
        space: ProgrammingCurves,
        loss: Callable[[BaseConductanceConverter], float],
        baseline: float,
        margin: float,
    ) -> None:
        self._space, self._loss, self._baseline, self._margin = space, loss, baseline, margin
        self.best = space.converter(np.full(space.dimension, 0.5))
        self.best_objective, self.evaluations = math.inf, 0

    def __call__(self, x: Vector) -> float:
        converter = self._space.converter(x)
        loss = self._loss(converter)
        objective = (loss - self._baseline) / self._baseline + self._margin
        objective = objective if math.isfinite(objective) else math.inf
        self.evaluations += 1
        if objective < self.best_objective:
            self.best, self.best_objective = converter, objective
        return objective


def _differential_evolution(seed: int) -> Minimizer:
    try:
        from scipy.optimize import differential_evolution
    except ImportError:
        raise BackendError(
            "the search needs SciPy: install aihw-inference[optimize], or pass minimize= with a minimizer of your own."
        ) from None

    def minimize(objective: Callable[[Vector], float], dimension: int, target: float) -> Vector:
        found = differential_evolution(
            objective,
            [(0.0, 1.0)] * dimension,
            popsize=max(8, 60 // dimension),
            maxiter=100,
            tol=0.0,
            atol=0.002,
            mutation=(0.1, 0.7),
            recombination=0.7,
            polish=False,  # the gradient-based polish wants a smooth objective
            rng=np.random.default_rng(seed),
            callback=lambda intermediate_result: bool(intermediate_result.fun < target),
        )
        best: Vector = found.x
        return best

    return minimize
