"""PyTorch layers and optimizers for neural networks whose weights live on simulated analog crossbars.

The sub-modules: `nn` (layers), `optim` (optimizers), `config` (what is simulated), `presets` (published settings),
`inference` (programming, drift, calibration), `tiles` (the arrays below a layer), `utils` (summaries, plots, files),
`errors`; `migrate` and `legacy` for scripts and checkpoints of aihwkit. `python -m aihw_torch.quickstart` trains a
first network.
"""

from __future__ import annotations

__version__ = "0.1.0"

from aihw_torch import config, errors, inference, nn, optim, presets, tiles
from aihw_torch.legacy import import_checkpoint

__all__ = ["__version__", "config", "errors", "import_checkpoint", "inference", "nn", "optim", "presets", "tiles"]
