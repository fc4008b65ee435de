"""Runners: they give an experiment its metric, run it here, and return the results."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from aihw_torch.experiments.base import Experiment, Signals
from aihw_torch.experiments.inferencing import Array, BasicInferencing
from aihw_torch.experiments.table import format_table
from aihw_torch.experiments.training import BasicTraining, download


class LocalMetric:
    """Collects `epoch`, `time_epoch` (s), `accuracy` (fraction), `train_loss` and `valid_loss` of each epoch.

    Args:
        stdout: print a line per epoch.
    """

    def __init__(self, stdout: bool = True) -> None:
        self.stdout = stdout
        self._epoch, self._start = 0, 0.0
        self._trained = [0.0, 0.0]  # samples, loss
        self._validated = [0.0, 0.0, 0.0]  # samples, right ones, loss

    def attach(self, experiment: Experiment) -> None:
        """Add the hooks to an experiment."""
        experiment.add_hook(Signals.EPOCH_START, self._on_epoch_start)
        experiment.add_hook(Signals.TRAIN_EPOCH_BATCH_END, self._on_train_batch)
        experiment.add_hook(Signals.VALIDATION_EPOCH_BATCH_END, self._on_validation_batch)
        experiment.add_hook(Signals.EPOCH_END, self._on_epoch_end)

    def _on_epoch_start(self, epoch: int) -> None:
        self._epoch, self._start = epoch, time.perf_counter()
        self._trained, self._validated = [0.0, 0.0], [0.0, 0.0, 0.0]

    def _on_train_batch(self, samples: int, loss: float) -> None:
        self._trained = [self._trained[0] + samples, self._trained[1] + loss]

    def _on_validation_batch(self, samples: int, right: int, loss: float) -> None:
        new = (samples, right, loss)
        self._validated = [old + value for old, value in zip(self._validated, new, strict=True)]

    def _on_epoch_end(self) -> dict[str, Any]:
        trained, (validated, right, loss) = max(self._trained[0], 1.0), self._validated
        validated = max(validated, 1.0)
        result = {
            "epoch": self._epoch,
            "time_epoch": time.perf_counter() - self._start,
            "accuracy": right / validated,
            "train_loss": self._trained[1] / trained,
            "valid_loss": loss / validated,
        }
        if self.stdout:
            print(
                f"epoch {self._epoch:3}  train loss {result['train_loss']:.4f}  valid loss {result['valid_loss']:.4f}  "
                f"accuracy {result['accuracy']:.2%}  {result['time_epoch']:.2f} s",
                flush=True,
            )
        return result


class InferenceLocalMetric:
    """Collects the accuracy over time, in percent, as `inference_runs`.

    Args:
        stdout: print a table after the last chip.
    """

    def __init__(self, stdout: bool = False) -> None:
        self.stdout = stdout
        self._start, self._repeats = 0.0, 0

    def attach(self, experiment: BasicInferencing) -> None:
        """Add the hooks to an experiment."""
        self._start, self._repeats = time.perf_counter(), experiment.inference_repeats
        experiment.add_hook(Signals.INFERENCE_REPEAT_END, self._on_repeat_end)

    def _on_repeat_end(
        self, times: list[float], accuracy: Array, spread: Array, error: Array, loss: Array, repeats: int
    ) -> dict[str, Any]:
        names = ("t_inference", "avg_accuracy", "std_accuracy", "avg_error", "avg_loss")
        columns = zip(times, accuracy, spread, error, loss, strict=True)
        rows = [dict(zip(names, map(float, column), strict=True)) for column in columns]
        if self.stdout and repeats == self._repeats:
            print(format_table(rows), flush=True)
        run = {
            "inference_repeat": repeats,
            "is_partial": repeats < self._repeats,
            "time_elapsed": time.perf_counter() - self._start,
            "inference_results": rows,
        }
        return {"inference_runs": run}


class LocalRunner:
    """Runs a training here.

    Args:
        device: of the model and the data, by default the CPU.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device

    def run(
        self,
        experiment: BasicTraining,
        max_elements_train: int = 0,
        dataset_root: Path | str | None = None,
        stdout: bool = False,
    ) -> list[dict[str, Any]]:
        """Run it with a `LocalMetric`; return one dict for each epoch.

        Args:
            experiment: its model is trained in place.
            max_elements_train: most training samples, 0 for all.
            dataset_root: where data sets from files lie or are fetched to, by default `datasets` in the folder for
                temporary files.
            stdout: print a line per epoch.
        """
        root = _prepared(experiment, dataset_root)
        LocalMetric(stdout).attach(experiment)
        return experiment.run(max_elements_train, root, self.device)


class InferenceLocalRunner:
    """Runs an inference experiment here.

    Args:
        device: of the model and the data, by default the CPU.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device

    def run(
        self,
        experiment: BasicInferencing,
        max_elements: int = 0,
        dataset_root: Path | str | None = None,
        stdout: bool = False,
    ) -> dict[str, Any]:
        """Run it with an `InferenceLocalMetric`; return its `inference_runs`.

        Args:
            experiment: its model is not changed.
            max_elements: most test samples, 0 for all.
            dataset_root: where data sets from files lie or are fetched to, by default `datasets` in the folder for
                temporary files.
            stdout: print a table in the end.
        """
        root = _prepared(experiment, dataset_root)
        InferenceLocalMetric(stdout).attach(experiment)
        return experiment.run(max_elements, root, self.device)


def _prepared(experiment: Experiment, dataset_root: Path | str | None) -> Path | str:
    """Remove the metrics of former runs, fetch the data set if it can do so, and return where it lies."""
    for hooks in experiment.hooks.values():
        hooks[:] = [
            hook
            for hook in hooks
            if not isinstance(getattr(hook, "__self__", None), LocalMetric | InferenceLocalMetric)
        ]
    root = Path(tempfile.gettempdir()) / "datasets" if dataset_root is None else dataset_root
    download(experiment.dataset, experiment, root)
    return root
