"""The installed version; ``pyproject.toml`` defines it."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("rpu-sim")
