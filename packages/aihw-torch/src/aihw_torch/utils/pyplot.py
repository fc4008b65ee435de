"""Matplotlib, or a sentence that says how to get it."""

from __future__ import annotations

try:
    from matplotlib import pyplot as plt
except ImportError as error:
    raise ImportError("plots need matplotlib; install it with pip install 'aihw-torch[plot]'") from error

__all__ = ["plt"]
