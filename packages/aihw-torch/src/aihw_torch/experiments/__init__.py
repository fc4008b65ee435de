"""Experiments with one call, and small data sets that need no download.

`BasicTraining` and `BasicInferencing` hold a model, a data set class and the parameters of a run; `LocalRunner` and
`InferenceLocalRunner` run them and return their results. `Digits`, `digits`, `textures`, `two_rows` and `Characters`
are data, `lenet5` and `resnet` digital networks, `train_epoch` and `learn_two_rows` loops, and `command_line` and
`format_table` input and output of examples.
"""

from __future__ import annotations

from aihw_torch.experiments.base import Experiment, Signals
from aihw_torch.experiments.command_line import command_line
from aihw_torch.experiments.data import Digits, digits, textures
from aihw_torch.experiments.inferencing import BasicInferencing
from aihw_torch.experiments.loops import learn_two_rows, train_epoch, two_rows
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
    "command_line",
    "digits",
    "format_table",
    "learn_two_rows",
    "lenet5",
    "perplexity",
    "resnet",
    "textures",
    "train_epoch",
    "two_rows",
]
