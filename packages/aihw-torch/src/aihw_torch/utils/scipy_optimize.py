"""SciPy's optimizers, or a sentence that says how to get them."""

from __future__ import annotations

try:
    from scipy import optimize
except ImportError as error:
    raise ImportError("fits need SciPy; install it with pip install 'aihw-torch[fitting]'") from error

__all__ = ["optimize"]
