"""Experiments with one call, and small data sets that need no download.

`BasicTraining` and `BasicInferencing` hold a model, a data set class and the parameters of a run; `LocalRunner` and
`InferenceLocalRunner` run them and return their results. `Digits`, `digits`, `textures` and `Characters` are data,
`lenet5` and `resnet` digital networks for examples and tests.
"""

from __future__ import annotations

from aihw_torch.experiments.base import Experiment, Signals
from aihw_torch.experiments.data import Digits, digits, textures
from aihw_torch.experiments.inferencing import BasicInferencing
from aihw_torch.experiments.networks import lenet5, resnet
from aihw_torch.experiments.runners import InferenceLocalMetric, InferenceLocalRunner, LocalMetric, LocalRunner
from aihw_torch.experiments.table import format_table
from aihw_torch.experiments.text import Characters, alice, perplexity
from aihw_torch.experiments.training import BasicTraining

__all__ = [
    "BasicInferencing",
    "BasicTraining",
    "Characters",
    "Digits",
    "Experiment",
    "InferenceLocalMetric",
    "InferenceLocalRunner",
    "LocalMetric",
    "LocalRunner",
    "Signals",
    "alice",
    "digits",
    "format_table",
    "lenet5",
    "perplexity",
    "resnet",
    "textures",
]
