"""The device equations and their closed forms in double precision, written independently of ``rpu_sim.reference``.

`one_pulse` and `walk` are the per-pulse law: n pulses are n applications, each with its own normal, clipped each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from scipy.stats import norm

from rpu_sim import config as c

Float64 = NDArray[np.float64]

# -- devices without spread -------------------------------------------------------------------------------------------


def steps(p: c.PulsedDevice) -> tuple[float, float]:
    """Mean up and down step at weight 0: the asymmetry only ever shrinks one of them."""
    return p.dw_min * (1 + min(p.up_down, 0.0)), p.dw_min * (1 - max(p.up_down, 0.0))


def references(p: Any) -> tuple[float, float]:
    """Weights at which the affine up and down step vanish for gamma = 1."""
    up = p.w_min - p.reverse_offset if p.reverse_up else p.w_max
    down = p.w_max + p.reverse_offset if p.reverse_down else p.w_min
    return up, down


def gammas(p: Any) -> tuple[float, float]:
    return (1.0, 1.0) if isinstance(p, c.SoftBoundsDevice) else (p.gamma_up, p.gamma_down)


def exp_factor(p: c.ExpStepDevice, w: Any, up: bool) -> Any:
    """The factor y(w) on the step of ExpStep."""
    z = 2 * p.a * np.asarray(w) / (p.w_max - p.w_min) + p.b
    y = 1 - p.A_up * np.exp(p.gamma_up * z) if up else 1 - p.A_down * np.exp(-p.gamma_down * z)
    return np.maximum(y, 0.0)


def mean_step(p: c.PulsedDevice, w: Any, up: bool) -> Any:
    """Signed mean change of one pulse at weight ``w``."""
    step = steps(p)[0] if up else -steps(p)[1]
    if isinstance(p, c.ExpStepDevice):
        return step * exp_factor(p, w, up)
    if isinstance(p, c.ConstantStepDevice):
        return step + 0.0 * np.asarray(w)
    side = 0 if up else 1
    return step * (1 - gammas(p)[side] * np.asarray(w) / references(p)[side])


def noise_std(p: c.PulsedDevice, w: Any, up: bool) -> Any:
    """Standard deviation of the change of one pulse at weight ``w``."""
    size = np.abs(mean_step(p, w, up))
    if isinstance(p, c.ExpStepDevice) and (p.dw_min_std_add != 0 or p.dw_min_std_slope != 0):
        size = np.where(size > 0, size + p.dw_min_std_add + p.dw_min_std_slope * np.abs(w), 0.0)
    elif isinstance(p, c.AffineStepDevice) and not p.mult_noise:
        size = steps(p)[0 if up else 1] + 0.0 * size
    return p.dw_min_std * size


def one_pulse(p: c.PulsedDevice, w: Float64, up: bool, xi: Any) -> Float64:
    return np.clip(w + mean_step(p, w, up) + noise_std(p, w, up) * xi, p.w_min, p.w_max)


def walk(p: c.PulsedDevice, start: Any, directions: str, shape: tuple[int, int], seed: int = 0) -> Float64:
    """Weights after the pulses ``directions`` (``+`` and ``-``), by NumPy's generator."""
    rng = np.random.default_rng(seed)
    w = np.broadcast_to(np.asarray(start, np.float64), shape).copy()
    for step in directions:
        w = one_pulse(p, w, step == "+", rng.standard_normal(shape) if p.dw_min_std > 0 else 0.0)
    return w


# -- moments ----------------------------------------------------------------------------------------------------------


def affine_moments(p: Any, start: float, directions: str) -> tuple[float, float]:
    """Mean and standard deviation after pulses of an affine device, away from the bounds."""
    m1, m2 = start, start**2
    for step in directions:
        side, sign = (0, 1.0) if step == "+" else (1, -1.0)
        a = sign * steps(p)[side]
        h = gammas(p)[side] / references(p)[side]
        q = 1 - a * h
        noise = 1 - 2 * h * m1 + h * h * m2 if p.mult_noise else 1.0
        m1, m2 = q * m1 + a, q * q * m2 + 2 * q * a * m1 + a * a + (a * p.dw_min_std) ** 2 * noise
    return m1, math.sqrt(m2 - m1 * m1)


def affine_symmetry_point(p: Any) -> float:
    """Weight at which the mean up and down step are equal."""
    (s_up, s_dn), (r_up, r_dn), (g_up, g_dn) = steps(p), references(p), gammas(p)
    return (s_up - s_dn) / (s_up * g_up / r_up - s_dn * g_dn / r_dn)


def affine_pair_fixed_point(p: Any) -> float:
    """Fixed point of the noise-free map "one up, then one down"."""
    (s_up, s_dn), (r_up, r_dn), (g_up, g_dn) = steps(p), references(p), gammas(p)
    down = 1 + s_dn * g_dn / r_dn
    return (down * s_up - s_dn) / (1 - (1 - s_up * g_up / r_up) * down)


def logistic_weight(p: c.ExpStepDevice, start: float, n: int, up: bool) -> float:
    """Weight after n noise-free ExpStep pulses: the logistic law of the continuum, and its discretisation error.

    y = A exp(gamma z) obeys dy/dn = c s y (1 - y). n discrete steps are an Euler scheme of step 1, whose leading error
    is -(1/2) f(w_n) log(f(w_n) / f(w_0)) for a rate f.
    """
    a, gamma, sign = (p.A_up, p.gamma_up, 1.0) if up else (p.A_down, p.gamma_down, -1.0)
    rate = 2 * p.a * gamma / (p.w_max - p.w_min)
    s = steps(p)[0 if up else 1]
    y0 = a * math.exp(sign * gamma * (2 * p.a * start / (p.w_max - p.w_min) + p.b))
    grown = y0 * math.exp(rate * s * n)
    y = grown / (1 - y0 + grown)
    w = sign * (math.log(y / a) - sign * gamma * p.b) / rate
    return w - sign * 0.5 * s * (1 - y) * math.log((1 - y) / (1 - y0))


# -- laws -------------------------------------------------------------------------------------------------------------


def folded_moments(mean: float, std: float) -> tuple[float, float]:
    """Mean and standard deviation of |N(mean, std^2)|."""
    first = std * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * std**2)) + mean * erf(mean / (std * math.sqrt(2)))
    return first, math.sqrt(mean**2 + std**2 - first**2)


def folded_cdf(mean: float, std: float) -> Any:
    """Distribution function of |N(mean, std^2)|."""
    return lambda t: np.where(t < 0, 0.0, norm.cdf((t - mean) / std) - norm.cdf((-t - mean) / std))


def ordered_bound_cdf(upper: tuple[float, float], lower: tuple[float, float]) -> Any:
    """Distribution function of the upper bound made of b_max ~ N(upper), b_min ~ N(lower): swapped when crossed, then
    the absolute value."""
    grid = np.linspace(0.0, max(abs(m) + 9 * s for m, s in (upper, lower)), 20001)
    x = np.concatenate([-grid[:0:-1], grid])
    kept = norm.pdf(x, *upper) * norm.cdf((x - lower[0]) / lower[1])
    swapped = norm.pdf(x, *lower) * norm.cdf((x - upper[0]) / upper[1])
    density = kept + swapped
    half = density[grid.size - 1 :] + density[grid.size - 1 :: -1]
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (half[1:] + half[:-1]) * np.diff(grid))])
    return lambda t: np.interp(t, grid, mass, left=0.0, right=1.0)


# -- pulse management -------------------------------------------------------------------------------------------------


@dataclass
class Trains:
    """Slots and firing probabilities of one sample."""

    slots: int
    px: Float64
    pd: Float64

    @property
    def p(self) -> Float64:
        """Coincidence probability per slot, [out, in]."""
        return np.outer(self.pd, self.px)


def quantised(p: Float64, res: float) -> Float64:
    step = 1 / res if res > 1 else res
    return np.minimum(step * np.rint(p / step) if step > 0 else p, 1.0)


def trains(p: c.UpdateParameters, lr: float, g: float, x: Float64, d: Float64) -> Trains:
    """Train length and probabilities of a sample, from the definitions of update and update-BL management."""
    xm, dm = np.abs(x).max(), p.um_grad_scale * np.abs(d).max()
    k = lr * xm * dm / g
    slots, a, b = p.desired_bl, 1.0, 1.0
    if p.update_bl_management:
        slots = min(math.ceil(k), p.desired_bl)
    if p.update_bl_management or p.update_management:
        dm = min(dm, dm * p.desired_bl / k)
        a, b = math.sqrt(xm / dm), math.sqrt(dm / xm)
    elif not p.fixed_bl and g * p.desired_bl < lr:
        slots = math.ceil(lr / g)
        return Trains(slots, quantised(np.abs(x), p.res), quantised(np.abs(d), p.res))
    scale = math.sqrt(lr / (g * slots))
    return Trains(slots, quantised(b * scale * np.abs(x), p.res), quantised(a * scale * np.abs(d), p.res))
