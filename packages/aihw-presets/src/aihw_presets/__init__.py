"""Calibrated analog memory devices, unit cells, periphery, noise models and training configurations, as data.

    >>> import aihw_presets
    >>> aihw_presets.load("GokmenVlasovPresetDevice")
    {'class': 'ConstantStepDevice', 'dw_min': 0.0016, 'w_max': 1.0, 'w_min': -1.0}

Every preset is a TOML file that names its source, DOI, licence and units. The dictionaries hold the values that differ
from the defaults of the class they name, and are what `rpu_sim.config.from_dict` takes.
"""

from __future__ import annotations

from .api import compose, load, names
from .compare import diff, digest
from .describe import info, validate
from .errors import PresetError
from .library import register_path
from .schema import KINDS

__version__ = "0.1.0"

__all__ = [
    "KINDS",
    "PresetError",
    "compose",
    "diff",
    "digest",
    "info",
    "load",
    "names",
    "register_path",
    "validate",
]
