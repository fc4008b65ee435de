"""Accumulated 1/f read noise.

The noise of a read pulse of width t_read at device time t has the standard deviation Q g S(t), where Q is a property
of the device and S(t) = sqrt(ln((t + t_read) / (2 t_read))). Source: Nandakumar et al. 2019,
doi:10.1109/ICECS46596.2019.8964852.
"""

from __future__ import annotations

import math


def read_noise_factor(t_device: float, t_read: float) -> float:
    """S, without unit; 0 where the logarithm would be negative (t_device < t_read)."""
    return math.sqrt(max(math.log((t_device + t_read) / (2.0 * t_read)), 0.0))
