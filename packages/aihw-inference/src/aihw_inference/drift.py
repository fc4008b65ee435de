"""Power-law drift of phase-change memory: g(t) = g_prog (t_device / t_0)^-nu.

Device time is t_device = t + t_0: `t` counts from the end of programming, and `t_0` is the age at which the fit's
first read took place. Source: Le Gallo et al. 2018, doi:10.1002/aelm.201700627.
"""

from __future__ import annotations

import math
from typing import Any

Array = Any


def log_time_ratio(t: float, t_0: float) -> float:
    """ln((t + t_0) / t_0), with both times in seconds; 0 at the first read (t = 0)."""
    return math.log((t + t_0) / t_0)


def power_law(xp: Any, g_prog: Array, nu: Array, t: float, t_0: float) -> Array:
    """Drifted conductances (microsiemens) of devices with drift exponents `nu`, `t` seconds after programming."""
    return g_prog * xp.exp(nu * -log_time_ratio(t, t_0))
