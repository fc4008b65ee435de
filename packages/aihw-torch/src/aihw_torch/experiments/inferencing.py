"""Inference of a classifier on programmed devices over time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from aihw_torch.errors import ConfigError
from aihw_torch.experiments.base import Experiment, Signals
from aihw_torch.inference import drift_analog_weights, program_analog_weights
from aihw_torch.nn.base import analog_tiles

Array = NDArray[np.float64]


class BasicInferencing(Experiment):
    """Program a copy of a classifier into several chips and evaluate each over time.

    Hooks get: `INFERENCE_REPEAT_START` the number of the chip, `INFERENCE_REPEAT_END` (times, mean accuracy, its
    standard deviation, mean error, mean loss, number of chips so far), the statistics over the chips so far.

    Args:
        dataset: class of the data set (see `Experiment`); its test part is used.
        model: with inference tiles; it is not changed.
        batch_size: samples of a batch.
        loss_function: class of the loss.
        weight_template_id: file with a state dict to load before, or empty.
        inference_repeats: number of chips.
        inference_time: last time, in seconds after programming, at least 1.
        remap_weights: map the weights to the full range of the devices before.
    """

    SIGNALS: ClassVar[tuple[Signals, Signals]] = (Signals.INFERENCE_START, Signals.INFERENCE_END)

    def __init__(
        self,
        dataset: type[Dataset[Any]],
        model: nn.Module,
        batch_size: int = 10,
        loss_function: type[nn.Module] = nn.CrossEntropyLoss,
        weight_template_id: str = "",
        inference_repeats: int = 2,
        inference_time: float = 86400,
        remap_weights: bool = True,
    ) -> None:
        if inference_time < 1 or inference_repeats < 1:
            raise ConfigError("an inference experiment needs inference_time >= 1 s and inference_repeats >= 1")
        super().__init__(dataset, model)
        self.batch_size, self.loss_function, self.weight_template_id = batch_size, loss_function, weight_template_id
        self.inference_repeats, self.inference_time = inference_repeats, inference_time
        self.remap_weights = remap_weights

    def get_data_loader(
        self,
        dataset: type[Dataset[Any]],
        batch_size: int,
        max_elements: int = 0,
        dataset_root: Path | str | None = None,
    ) -> DataLoader[Any]:
        """Return the test data, at most `max_elements` of them (0: all)."""
        return DataLoader(self._part(1, dataset_root, max_elements), batch_size)

    def get_model(self, weight_template_id: str, device: torch.device) -> nn.Module:
        """Return a copy of the model, with the weights of a file.

        Raises:
            ConfigError: there is no such file.
        """
        model = copy.deepcopy(self.model)
        if weight_template_id:
            if not Path(weight_template_id).is_file():
                raise ConfigError(f"weight_template_id must be the path of a state dict, not {weight_template_id!r}")
            model.load_state_dict(torch.load(weight_template_id, weights_only=True))
        if self.remap_weights:
            for tile in analog_tiles(model):
                tile.remap_weights()
        return model.to(device)

    def inferencing_step(
        self,
        validation_loader: DataLoader[Any],
        model: nn.Module,
        loss_function: nn.Module,
        t_inference_list: Sequence[float],
        device: torch.device,
    ) -> tuple[Array, Array, Array]:
        """Program once, then read at each time; return accuracies and errors in percent and mean losses, [times]."""
        model.eval()
        program_analog_weights(model)
        found = np.zeros((3, len(t_inference_list)))  # samples, right ones, sum of the loss
        for number, t_inference in enumerate(t_inference_list):
            drift_analog_weights(model, float(t_inference))
            for batch in self._evaluated(validation_loader, model, loss_function, device):
                found[:, number] += batch
        accuracy, loss = 100.0 * found[1] / found[0], found[2] / found[0]
        return accuracy, 100.0 - accuracy, loss

    def inference(
        self,
        validation_loader: DataLoader[Any],
        model: nn.Module,
        loss_function: nn.Module,
        inference_repeats: int,
        inference_time: float,
        device: torch.device,
        n_inference_times: int = 10,
    ) -> dict[str, Any]:
        """Evaluate at 0 s and at times in equal ratios up to `inference_time`; return what the last hook returned."""
        times = [0.0, *np.logspace(0.0, np.log10(inference_time), n_inference_times - 1).tolist()]
        runs: list[tuple[Array, Array, Array]] = []
        results: dict[str, Any] = {}
        for repeat in tqdm(range(inference_repeats), desc="inference", unit="chip", disable=None):
            self._call_hook(Signals.INFERENCE_REPEAT_START, repeat)
            runs.append(self.inferencing_step(validation_loader, model, loss_function, times, device))
            accuracy, error, loss = (np.array(values) for values in zip(*runs, strict=True))
            means = (accuracy.mean(0), accuracy.std(0), error.mean(0), loss.mean(0))
            results = self._call_hook(Signals.INFERENCE_REPEAT_END, times, *means, len(runs))
        return results

    def _prepare(
        self, max_elements: int, dataset_root: Path | str | None, device: torch.device
    ) -> Callable[[], dict[str, Any]]:
        loader = self.get_data_loader(self.dataset, self.batch_size, max_elements, dataset_root)
        model, repeats, last = (
            self.get_model(self.weight_template_id, device),
            self.inference_repeats,
            self.inference_time,
        )
        return lambda: self.inference(loader, model, self.loss_function(), repeats, last, device)
