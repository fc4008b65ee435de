"""What a layer simulates: devices, pulsed update, converters and noise of the read, mapping.

Every name of `rpu_sim.config`, which defines and documents them, under the name that training scripts import.
"""

from __future__ import annotations

from rpu_sim.config import *  # noqa: F403
from rpu_sim.config import __all__ as __all__
