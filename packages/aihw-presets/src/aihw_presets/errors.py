"""The one exception of this package."""

from __future__ import annotations


class PresetError(ValueError):
    """A preset is unknown, or a preset file is broken; the message says which and what to do."""
