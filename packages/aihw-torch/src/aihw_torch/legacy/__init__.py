"""Checkpoints of aihwkit: `import_checkpoint(path)` reads them without running any code from the file.

`python -m aihw_torch.legacy checkpoint.pt` prints what one holds.
"""

from __future__ import annotations

from aihw_torch.legacy.checkpoint import ImportedCheckpoint, import_checkpoint
from aihw_torch.legacy.tiles import ImportedTile

__all__ = ["ImportedCheckpoint", "ImportedTile", "import_checkpoint"]
