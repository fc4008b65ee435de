"""What all experiments have: hooks that are called while they run, and results."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import Dataset, Subset

Hook = Callable[..., dict[str, Any] | None]


class Signals(Enum):
    """Moments of an experiment that hooks can wait for."""

    EXPERIMENT_START = 1
    EXPERIMENT_END = 2
    EPOCH_START = 10
    EPOCH_END = 11
    TRAIN_EPOCH_START = 20
    TRAIN_EPOCH_END = 21
    TRAIN_EPOCH_BATCH_START = 22
    TRAIN_EPOCH_BATCH_END = 23
    VALIDATION_EPOCH_START = 30
    VALIDATION_EPOCH_END = 31
    VALIDATION_EPOCH_BATCH_START = 32
    VALIDATION_EPOCH_BATCH_END = 33
    INFERENCE_START = 40
    INFERENCE_END = 41
    INFERENCE_REPEAT_START = 50
    INFERENCE_REPEAT_END = 51


class Experiment:
    """A model with the class of a data set; subclasses say what is done with them.

    Args:
        dataset: class whose constructor takes `root`, `transform`, `train` (or `split`, as `SVHN` does), and maybe
            `download`.
        model: the model.

    Attributes:
        hooks: functions by signal; what they return as a dict goes into the result of the epoch or of the repeat.
        results: of the last run, None before.
    """

    SIGNALS: ClassVar[tuple[Signals, Signals]] = (Signals.EXPERIMENT_START, Signals.EXPERIMENT_END)  # of a run

    def __init__(self, dataset: type[Dataset[Any]], model: nn.Module) -> None:
        self.dataset, self.model = dataset, model
        self.hooks: dict[Signals, list[Hook]] = {signal: [] for signal in Signals}
        self.results: Any = None

    def add_hook(self, key: Signals, hook: Hook) -> None:
        """Call `hook` at every `key`; the docstring of each experiment says with which arguments."""
        self.hooks[key].append(hook)

    def clear_hooks(self) -> None:
        """Forget all hooks."""
        for hooks in self.hooks.values():
            hooks.clear()

    def _call_hook(self, key: Signals, *args: Any) -> dict[str, Any]:
        """Call the hooks of a signal; return what they returned, as one dict."""
        merged: dict[str, Any] = {}
        for hook in self.hooks[key]:
            merged |= hook(*args) or {}
        return merged

    def get_dataset_arguments(self, dataset: type[Dataset[Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arguments that choose the training and the test part of a data set."""
        if dataset.__name__ == "SVHN":
            return {"split": "train"}, {"split": "test"}
        return {"train": True}, {"train": False}

    def get_dataset_transform(self, dataset: type[Dataset[Any]]) -> Any:
        """Return the transform of the images, None (for data sets that give tensors) unless overridden."""
        return None

    def run(
        self,
        max_elements: int = 0,
        dataset_root: Path | str | None = None,
        device: torch.device | None = None,
    ) -> Any:
        """Do what the experiment is for and return a copy of its results.

        Args:
            max_elements: most samples of training, or of test where nothing is trained; 0 for all.
            dataset_root: where data sets from files lie, by default `datasets` in the folder for temporary files.
            device: of the model and the data, by default the CPU.
        """
        work = self._prepare(max_elements, dataset_root, torch.device("cpu") if device is None else device)
        start, end = self.SIGNALS
        self._call_hook(start)
        self.results = work()
        self._call_hook(end)
        return copy.copy(self.results)

    def _prepare(self, max_elements: int, dataset_root: Path | str | None, device: torch.device) -> Callable[[], Any]:
        """Get data and model ready; return the function that works with them and returns the results."""
        raise NotImplementedError

    @torch.no_grad()
    def _evaluated(
        self, loader: Iterable[Any], model: nn.Module, loss_function: nn.Module, device: torch.device
    ) -> Iterator[tuple[int, int, float]]:
        """Yield the number of samples of each batch, how many of them are right, and the sum of their losses."""
        for images, labels in loader:
            output, labels = model(images.to(device)), labels.to(device)
            right = int((output.argmax(dim=1) == labels).sum())
            yield len(labels), right, float(loss_function(output, labels)) * len(labels)

    def _part(self, part: int, dataset_root: Path | str | None, most: int) -> Dataset[Any]:
        """The training (0) or the test (1) part of the data set, with `most` elements, 0 for all."""
        arguments = self.get_dataset_arguments(self.dataset)[part]
        root = Path(tempfile.gettempdir()) / "datasets" if dataset_root is None else dataset_root
        data = self.dataset(root=str(root), transform=self.get_dataset_transform(self.dataset), **arguments)  # type: ignore[call-arg]
        return Subset(data, range(min(most, len(data)))) if most > 0 else data  # type: ignore[arg-type]
