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


class Metric:
    """What a runner adds to an experiment: hooks whose results become those of the experiment."""

    def attach(self, experiment: Any) -> None:
        """Add the hooks to an experiment."""
        raise NotImplementedError


class LocalMetric(Metric):
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


class InferenceLocalMetric(Metric):
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


class Runner:
    """Runs experiments here, each with a metric.

    Args:
        device: of the model and the data, by default the CPU.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device

    def _run(self, experiment: Experiment, metric: Metric, most: int, dataset_root: Path | str | None) -> Any:
        """Run an experiment with a metric and those hooks that no runner has added; return its results.

        A data set that can do so is fetched, by default to `datasets` in the folder for temporary files.
        """
        for hooks in experiment.hooks.values():
            hooks[:] = [hook for hook in hooks if not isinstance(getattr(hook, "__self__", None), Metric)]
        root = Path(tempfile.gettempdir()) / "datasets" if dataset_root is None else dataset_root
        download(experiment.dataset, experiment, root)
        metric.attach(experiment)
        return experiment.run(most, root, self.device)


class LocalRunner(Runner):
    """Runs a training here, with a `LocalMetric`."""

    def run(
        self,
        experiment: BasicTraining,
        max_elements_train: int = 0,
        dataset_root: Path | str | None = None,
        stdout: bool = False,
    ) -> list[dict[str, Any]]:
        """Train the model of the experiment in place; return one dict for each epoch.

        Args:
            experiment: what is run.
            max_elements_train: most training samples, 0 for all.
            dataset_root: see `Experiment.run`; data sets that can do so are fetched there.
            stdout: print a line per epoch.
        """
        found: list[dict[str, Any]] = self._run(experiment, LocalMetric(stdout), max_elements_train, dataset_root)
        return found


class InferenceLocalRunner(Runner):
    """Runs an inference experiment here, with an `InferenceLocalMetric`."""

    def run(
        self,
        experiment: BasicInferencing,
        max_elements: int = 0,
        dataset_root: Path | str | None = None,
        stdout: bool = False,
    ) -> dict[str, Any]:
        """Evaluate a copy of the model of the experiment; return the `inference_runs`.

        `max_elements` are the most test samples (0: all), `stdout` prints a table in the end, and data sets are fetched
        to `dataset_root` where they can be (see `Experiment.run`).
        """
        found: dict[str, Any] = self._run(experiment, InferenceLocalMetric(stdout), max_elements, dataset_root)
        return found
