"""Training of a classifier, with a validation after each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from aihw_torch.experiments.base import Experiment, Signals
from aihw_torch.experiments.loops import train_epoch
from aihw_torch.optim import AnalogSGD

Loader = DataLoader[Any]


class BasicTraining(Experiment):
    """Train a classifier by stochastic gradient descent; a run returns one dict for each epoch.

    Everything with a name that does not start with an underscore can be overridden, such as `get_optimizer` or `train`.
    Hooks get: `EPOCH_START` and `TRAIN_EPOCH_START` the number of the epoch, `TRAIN_EPOCH_BATCH_END` (samples, sum of
    the loss), `VALIDATION_EPOCH_BATCH_END` (samples, right ones, sum of the loss), the others nothing.

    Args:
        dataset: class of the data set, such as `Digits` (see `Experiment`).
        model: gives what the loss expects, by default logarithms of probabilities.
        batch_size: samples of a step.
        loss_function: class of the loss.
        epochs: passes over the training data.
        learning_rate: of `AnalogSGD`.
    """

    def __init__(
        self,
        dataset: type[Dataset[Any]],
        model: nn.Module,
        batch_size: int = 64,
        loss_function: type[nn.Module] = nn.NLLLoss,
        epochs: int = 30,
        learning_rate: float = 0.05,
    ) -> None:
        super().__init__(dataset, model)
        self.batch_size, self.loss_function = batch_size, loss_function
        self.epochs, self.learning_rate = epochs, learning_rate

    def get_data_loaders(
        self,
        dataset: type[Dataset[Any]],
        batch_size: int,
        max_elements_train: int = 0,
        dataset_root: Path | str | None = None,
    ) -> tuple[Loader, Loader]:
        """Return shuffled training data, at most `max_elements_train` of them (0: all), and validation data."""
        training = self._part(0, dataset_root, max_elements_train)
        validation = self._part(1, dataset_root, 0)
        return DataLoader(training, batch_size, shuffle=True), DataLoader(validation, batch_size)

    def get_optimizer(self, learning_rate: float, model: nn.Module) -> Optimizer:
        """Return the optimizer."""
        optimizer = AnalogSGD(model.parameters(), lr=learning_rate)
        optimizer.regroup_param_groups(model)
        return optimizer

    def training_step(
        self,
        training_loader: Loader,
        model: nn.Module,
        optimizer: Optimizer,
        loss_function: nn.Module,
        device: torch.device,
    ) -> None:
        """Train one epoch."""
        batches = ((images.to(device), labels.to(device)) for images, labels in training_loader)
        train_epoch(model, optimizer, batches, loss_function, partial(self._call_hook, Signals.TRAIN_EPOCH_BATCH_END))

    def validation_step(
        self, validation_loader: Loader, model: nn.Module, loss_function: nn.Module, device: torch.device
    ) -> None:
        """Evaluate once."""
        model.eval()
        for found in self._evaluated(validation_loader, model, loss_function, device):
            self._call_hook(Signals.VALIDATION_EPOCH_BATCH_END, *found)

    def train(
        self,
        training_loader: Loader,
        validation_loader: Loader,
        model: nn.Module,
        optimizer: Optimizer,
        loss_function: nn.Module,
        epochs: int,
        device: torch.device,
    ) -> list[dict[str, Any]]:
        """Train and validate; return what the hooks of `EPOCH_END` returned in each epoch."""
        results = []
        for epoch in tqdm(range(epochs), desc="training", unit="epoch", disable=None):
            self._call_hook(Signals.EPOCH_START, epoch)
            self._call_hook(Signals.TRAIN_EPOCH_START, epoch)
            self.training_step(training_loader, model, optimizer, loss_function, device)
            self._call_hook(Signals.TRAIN_EPOCH_END)
            self._call_hook(Signals.VALIDATION_EPOCH_START)
            self.validation_step(validation_loader, model, loss_function, device)
            self._call_hook(Signals.VALIDATION_EPOCH_END)
            results.append(self._call_hook(Signals.EPOCH_END))
        return results

    def _prepare(
        self, max_elements: int, dataset_root: Path | str | None, device: torch.device
    ) -> Callable[[], list[dict[str, Any]]]:
        loaders = self.get_data_loaders(self.dataset, self.batch_size, max_elements, dataset_root)
        self.model.to(device)
        optimizer = self.get_optimizer(self.learning_rate, self.model)
        return lambda: self.train(*loaders, self.model, optimizer, self.loss_function(), self.epochs, device)


def download(dataset: type[Dataset[Any]], experiment: Experiment, root: Path | str) -> None:
    """Let a data set that can do so fetch both of its parts."""
    if "download" in inspect.signature(dataset).parameters:
        for arguments in experiment.get_dataset_arguments(dataset):
            dataset(root=str(root), download=True, **arguments)  # type: ignore[call-arg]
