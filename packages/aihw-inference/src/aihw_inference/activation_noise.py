"""Read noise of PCM that depends on how long the input pulses are.

With pulse-width coded inputs the devices are read for a time in proportion to the input, and the noise of a read of a
conductance G = |g+ - g-| has the standard deviation a(L) G + b(L), where L is the decimal logarithm of the mean number
of input steps. Polynomials fitted for PCM at conductances in microsiemens (the established toolkit, release 1.1.0).
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from .arrays import finite_array, polynomial
from .errors import ConfigError
from .rng import READ, Draw, Generator, as_generator

Array = Any

_SLOPE = (0.02578764, -0.0146159, 0.00655714, -0.00187352, 0.00021926)  # of G, without unit
_OFFSET = (0.117763144, -0.0677079241, 0.0307015063, -0.00908576764, 0.00111906167)  # microsiemens


def mean_input_steps(x: Array, inp_res: float, *, axis: int | None = None) -> Array:
    """Mean number of steps |x| / (2 inp_res) of inputs after the DAC.

    Args:
        x: inputs [..., in], between -1 and 1.
        inp_res: step of the DAC as a fraction of its full range of 2, 0 < inp_res < 1.
        axis: None averages over the whole batch, -1 gives one number for each input vector.

    Raises:
        ConfigError: inp_res out of range.
        DtypeError, NonFiniteError: bad inputs.
    """
    if not 0.0 < inp_res < 1.0:
        raise ConfigError(f"inp_res must lie between 0 and 1, a fraction of the range of the DAC, got {inp_res}.")
    xp, x = finite_array(x, "the inputs of a read")
    return xp.mean(xp.abs(x), axis=axis) / (2.0 * inp_res)


def activation_dependent_read_std(conductance: Array, n_steps: float) -> Array:
    """Standard deviation, in microsiemens, of a read of `conductance` = |g+ - g-| (microsiemens).

    Args:
        conductance: array of differences of a pair.
        n_steps: mean number of input steps; 0 means that nothing is read, so there is no noise.

    Raises:
        ConfigError: n_steps negative or not finite.
    """
    if not 0.0 <= n_steps < math.inf:
        raise ConfigError(f"n_steps must be finite and at least 0, got {n_steps}.")
    if n_steps == 0.0:
        return conductance * 0.0
    level = math.log10(n_steps)
    return conductance * _evaluated(_SLOPE, level) + _evaluated(_OFFSET, level)


def apply_activation_dependent_read_noise(
    weights: Array,
    x: Array,
    *,
    inp_res: float,
    w_max: float,
    g_max: float = 25.0,
    scale: float = 1.0,
    rng: Generator | int,
    repeat: int = 0,
) -> Array:
    """A new matrix: the weights of single pairs as seen by the inputs `x`. Weights of exactly 0 stay 0.

    The noise level follows from the mean over all of `x`; call it for one input vector at a time where results must
    not depend on what else is in the batch. Inputs that are all zero read nothing and give the weights unchanged.

    Args:
        weights: any shape.
        x: inputs after the DAC, between -1 and 1.
        inp_res: step of the DAC, a fraction of its full range.
        w_max: weight at g_max, positive.
        g_max: largest conductance in microsiemens.
        scale: factor on the noise.
        rng: seed or generator.
        repeat: another number is another read.

    Raises:
        ConfigError: a parameter out of range.
        DtypeError, NonFiniteError: bad arrays.
    """
    if not (0.0 < w_max < math.inf and 0.0 < g_max < math.inf and 0.0 <= scale < math.inf):
        raise ConfigError(f"w_max and g_max must be positive and scale at least 0, got {w_max}, {g_max} and {scale}.")
    steps = float(mean_input_steps(x, inp_res))
    xp, weights = finite_array(weights, "weights")
    if steps == 0.0:
        return xp.asarray(weights, copy=True)
    conductance = xp.abs(weights) * (g_max / w_max)
    std = activation_dependent_read_std(conductance, steps) * scale
    xi = as_generator(rng).normal_like(weights, Draw(READ, 0.0, repeat))
    return array_namespace(weights).sign(weights) * (conductance + std * xi) * (w_max / g_max)


def _evaluated(coefficients: tuple[float, ...], level: float) -> float:
    return float(polynomial(coefficients, level))
