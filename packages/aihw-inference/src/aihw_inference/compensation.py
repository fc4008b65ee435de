"""Drift compensation: a digital factor alpha on the outputs, from a probe read after programming and again later.

A compensation knows its probe, reduces the outputs of the probe to a readout, and compares the readout right after
programming (the baseline) with the one at time t. Readouts keep leading axes, so many chips are compensated at once.
Source of the global factor: Joshi et al. 2020, doi:10.1038/s41467-020-16108-9.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from array_api_compat import array_namespace, device

from .arrays import at_least
from .errors import ConfigError, ShapeError
from .programming import ProgrammedArray
from .rng import Draw, Philox

Array = Any

FLOOR = 1e-4  # smallest readout, in units of the output of a full-range weight; keeps alpha finite

ESTIMATORS = ("mean_abs", "rms", "least_squares", "median")


class BaseDriftCompensation(ABC):
    """What every drift compensation offers. A compensation of your own defines `readout` and perhaps the probe."""

    def get_readout_tensor(self, in_size: int, *, like: Array) -> Array:
        """Probe inputs [n_probe, in_size] of the library, dtype and device of `like`; here all one-hot vectors."""
        return array_namespace(like).eye(in_size, dtype=like.dtype, device=device(like))

    @abstractmethod
    def readout(self, out_tensor: Array) -> Array:
        """Reduces probe outputs [..., n_probe, out] to what is kept as a baseline."""

    def init_baseline(self, forward: Callable[[Array], Array], weights: Array) -> Array:
        """The readout right after programming.

        Args:
            forward: raw matrix-vector product of the programmed tile, [n, in] -> [..., n, out].
            weights: target weights [out, in].
        """
        return self.readout(forward(self.get_readout_tensor(weights.shape[-1], like=weights)))

    def apply(self, forward_output: Array, ref_value: Array) -> Array:
        """alpha: the baseline `ref_value` over the readout of the present probe outputs."""
        return ref_value / self.readout(forward_output)

    def alpha(self, forward: Callable[[Array], Array], baseline: Array, weights: Array) -> Array:
        """alpha of a drifted tile; arguments as `init_baseline`."""
        return self.apply(forward(self.get_readout_tensor(weights.shape[-1], like=weights)), baseline)


@dataclass(frozen=True)
class GlobalDriftCompensation(BaseDriftCompensation):
    """One factor for all outputs of a tile.

    Attributes:
        estimator: "mean_abs" compares means of |y|. They have a noise floor: where the weights are not much larger
            than the output noise, alpha is too small. "rms" compares root mean squares and "least_squares" takes
            sum(y_0 y_t) / sum(y_t^2); both remove the noise floor that `out_noise` states. "median" takes the median
            of y_0 / y_t, which a few broken devices do not move.
        out_noise: standard deviation of the noise of one output; used by "rms" and "least_squares".
        n_reads: the probe is read so many times and the outputs averaged.
        n_random_probes: 0 probes with all one-hot inputs, n with n random vectors of 1 and -1, the same each time:
            fewer products, and outputs further above their noise.

    Raises:
        ConfigError: an unknown estimator, a negative noise, fewer than one read or than no random probe.
    """

    estimator: str = "mean_abs"
    out_noise: float = 0.0
    n_reads: int = 1
    n_random_probes: int = 0

    _axes: ClassVar[tuple[int, ...]] = (-2, -1)

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ConfigError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {self.estimator!r}.")
        if not 0.0 <= self.out_noise < float("inf") or self.n_reads < 1 or self.n_random_probes < 0:
            given = f"{self.out_noise}, {self.n_reads} and {self.n_random_probes}"
            raise ConfigError(f"out_noise must be >= 0, n_reads >= 1 and n_random_probes >= 0, got {given}.")

    def get_readout_tensor(self, in_size: int, *, like: Array) -> Array:
        """The probe, all one-hot inputs or random signs, `n_reads` times: [n_reads * n_probes, in_size]."""
        xp = array_namespace(like)
        if self.n_random_probes == 0:
            probe = super().get_readout_tensor(in_size, like=like)
        else:
            shape = xp.zeros((self.n_random_probes, in_size), dtype=like.dtype, device=device(like))
            normals = Philox(0).normal_like(shape, Draw("probe"))
            probe = xp.where(normals < 0.0, shape - 1.0, shape + 1.0)
        return xp.concat([probe] * self.n_reads)

    def readout(self, out_tensor: Array) -> Array:
        """Mean of |y| or root mean square over probes (and outputs); else the outputs themselves."""
        xp, y = array_namespace(out_tensor), self._averaged(out_tensor)
        if self.estimator in ("least_squares", "median"):
            return y
        if self.estimator == "mean_abs":
            return at_least(xp.mean(xp.abs(y), axis=self._axes), FLOOR)
        return xp.sqrt(self._mean_square(y))

    def apply(self, forward_output: Array, ref_value: Array) -> Array:
        """alpha: shape of the leading axes, and [..., out] per column."""
        if self.estimator not in ("least_squares", "median"):
            return super().apply(forward_output, ref_value)
        xp, y = array_namespace(forward_output), self._averaged(forward_output)
        if tuple(y.shape[-2:]) != tuple(ref_value.shape[-2:]):
            raise ShapeError(
                f"The baseline of shape {tuple(ref_value.shape)} does not fit the outputs {tuple(y.shape)}."
            )
        if self.estimator == "median":
            return self._median_ratio(ref_value, y)
        return xp.mean(ref_value * y, axis=self._axes) / self._mean_square(y)

    def _median_ratio(self, y_0: Array, y: Array) -> Array:
        """Median of y_0 / y over probes (and outputs), without those that are nearly 0; 1 where all are."""
        xp = array_namespace(y)
        counts = (xp.abs(y) >= FLOOR) & (xp.abs(y_0) >= FLOOR)
        ratio = xp.where(counts, y_0 / xp.where(counts, y, xp.ones_like(y)), xp.full_like(y, float("inf")))
        if len(self._axes) == 2:
            flat = (*ratio.shape[:-2], ratio.shape[-2] * ratio.shape[-1], 1)
            ratio, counts = xp.reshape(ratio, flat), xp.reshape(counts, flat)
        ordered, n = xp.sort(ratio, axis=-2), xp.sum(xp.astype(counts, y.dtype), axis=-2, keepdims=True)
        place = xp.reshape(xp.arange(ratio.shape[-2], dtype=y.dtype, device=device(y)), (-1, 1))
        middle = (xp.floor((n - 1.0) * 0.5) == place, xp.floor(n * 0.5) == place)
        median = sum(xp.sum(xp.where(at, ordered, xp.zeros_like(ordered)), axis=-2) for at in middle) * 0.5
        median = xp.where(n[..., 0, :] > 0.0, median, xp.ones_like(median))
        return median[..., 0] if len(self._axes) == 2 else median

    def _averaged(self, y: Array) -> Array:
        """Probe outputs [..., in, out], averaged over the reads."""
        if y.ndim < 2 or y.shape[-2] % self.n_reads:
            raise ShapeError(
                f"Probe outputs must be [..., n_reads * in, out] with n_reads={self.n_reads}, got {tuple(y.shape)}."
            )
        xp = array_namespace(y)
        split = (*y.shape[:-2], self.n_reads, y.shape[-2] // self.n_reads, y.shape[-1])
        return xp.mean(xp.reshape(y, split), axis=-3)

    def _mean_square(self, y: Array) -> Array:
        xp = array_namespace(y)
        return at_least(xp.mean(y * y, axis=self._axes) - self.out_noise**2 / self.n_reads, FLOOR**2)


@dataclass(frozen=True)
class PerColumnDriftCompensation(GlobalDriftCompensation):
    """One factor for each output (each column of devices); alpha has a last axis of that length."""

    _axes: ClassVar[tuple[int, ...]] = (-2,)


@dataclass(frozen=True)
class GlobalDriftCompensationWithExactReference(GlobalDriftCompensation):
    """One factor for all outputs, against the ideal product of the probe with the target weights.

    The baseline has neither programming errors nor noise, so with "mean_abs" alpha differs from 1 even without drift.
    """

    def init_baseline(self, forward: Callable[[Array], Array], weights: Array) -> Array:
        """Readout of the ideal product; `forward` is not used."""
        return self.readout(ideal_forward(weights)(self.get_readout_tensor(weights.shape[-1], like=weights)))


def ideal_forward(weights: Array) -> Callable[[Array], Array]:
    """x [n, in] -> y [..., n, out] = x W^T of weights [..., out, in]."""
    xp = array_namespace(weights)
    return lambda x: xp.matmul(x, xp.matrix_transpose(weights))


def scale_outputs(y: Array, alpha: Array, *, axis: int = -1) -> Array:
    """y * alpha, with a per-column alpha [out] along the output axis `axis` of y (1 for channel-first convolutions).

    Raises:
        ShapeError: alpha is neither a scalar nor as long as that axis.
    """
    if alpha.ndim == 0:
        return y * alpha
    if alpha.ndim != 1 or not -y.ndim <= axis < y.ndim or alpha.shape[0] != y.shape[axis]:
        raise ShapeError(f"alpha of shape {tuple(alpha.shape)} does not fit axis {axis} of outputs {tuple(y.shape)}.")
    shape = [1] * y.ndim
    shape[axis] = alpha.shape[0]
    return y * array_namespace(alpha).reshape(alpha, tuple(shape))


@dataclass(frozen=True, eq=False)
class CompensatedRead:
    """Weights read at one time and their compensation.

    Attributes:
        weights: as read, [(n_chips,) out, in].
        alpha: factor on the outputs, [(n_chips)], and [(n_chips,) out] per column.
    """

    weights: Array
    alpha: Array

    @property
    def compensated(self) -> Array:
        """alpha times the weights: what the network effectively computes with."""
        per_column = self.alpha.ndim == self.weights.ndim - 1
        return self.weights * (self.alpha[..., None] if per_column else self.alpha[..., None, None])


def read_compensated(
    state: ProgrammedArray,
    t: float,
    compensation: BaseDriftCompensation,
    *,
    repeat: int = 0,
    forward: Callable[[Array], Callable[[Array], Array]] = ideal_forward,
) -> CompensatedRead:
    """Reads an array [out, in] of one or many chips at `t` and computes alpha against its state after programming.

    The baseline is computed in each call; with a noisy `forward`, measure it once instead (`init_baseline`, `alpha`).

    Args:
        state: result of `program` on a matrix.
        t, repeat: as `ProgrammedArray.weights_at`.
        compensation: how to compare.
        forward: weights -> raw matrix-vector product of a tile with them; default: the ideal product.

    Raises:
        ShapeError: the weights are no matrix.
        ConfigError: no compensation; read with `state.weights_at(t)` then.
    """
    if not isinstance(compensation, BaseDriftCompensation):
        raise ConfigError(f"compensation must be one such as GlobalDriftCompensation(), got {compensation!r}.")
    if state.weights.ndim != 2:
        raise ShapeError(f"Drift compensation needs a weight matrix [out, in], got shape {tuple(state.weights.shape)}.")
    baseline = compensation.init_baseline(forward(state.programmed_weights()), state.weights)
    weights = state.weights_at(t, repeat=repeat)
    return CompensatedRead(weights, compensation.alpha(forward(weights), baseline, state.weights))
