"""What a model is worth over time on many chips: a table with standard errors, and a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import rpu_sim
from aihw_inference import BaseDriftCompensation, BaseNoiseModel
from aihw_inference.errors import TimeError
from aihw_torch.errors import ConfigError
from aihw_torch.inference.devices import ModelDevices
from aihw_torch.inference.loader import check_repeatable
from aihw_torch.inference.model import evaluation_mode, inference_tiles
from aihw_torch.nn.base import analog_tiles
from aihw_torch.tiles.samples import SampleCount

Metric = Callable[[nn.Module, Iterable[Any]], float]

_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0), ("month", 2592000.0), ("year", 31536000.0))


@dataclass(frozen=True, eq=False)
class DriftTable:
    """A metric of several chips over time.

    Attributes:
        times: seconds after programming, [T].
        values: the metric, [n_chips, T].
        name: of the metric.
    """

    times: tuple[float, ...]
    values: NDArray[np.float64]
    name: str = "accuracy"

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the chips, [T]."""
        mean: NDArray[np.float64] = self.values.mean(axis=0)
        return mean

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard error of the mean over the chips, [T]; NaN for a single chip."""
        n = len(self.values)
        if n < 2:
            return np.full(self.values.shape[1], math.nan)
        error: NDArray[np.float64] = self.values.std(axis=0, ddof=1) / math.sqrt(n)
        return error

    def __str__(self) -> str:
        lines = [f"{'time':>10}{'mean':>10}{'std. err.':>11}   ({self.name}, {len(self.values)} chips)"]
        for t, mean, error in zip(self.times, self.mean, self.standard_error, strict=True):
            lines.append(f"{format_time(t):>10}{mean:>10.4f}{error:>11.4f}")
        return "\n".join(lines)

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Plot mean and standard error over time; `style` goes to matplotlib's `errorbar`. Returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.figure(layout="constrained").add_subplot()
        ax.errorbar([max(t, 1.0) for t in self.times], self.mean, self.standard_error, **{"marker": "o", **style})
        ax.set_xscale("log")
        ax.set_xticks([max(t, 1.0) for t in self.times], [format_time(t) for t in self.times])
        ax.minorticks_off()
        ax.set_xlabel("time after programming")
        ax.set_ylabel(self.name)
        return ax


def format_time(t: float) -> str:
    """Return a time in the largest unit of which it is at least one, such as `1 month`."""
    unit, seconds = next(((u, s) for u, s in reversed(_UNITS) if t >= s), _UNITS[0])
    return f"{t / seconds:g} {unit}"


def evaluate_over_time(
    model: nn.Module,
    loader: Iterable[Any],
    times: Sequence[float],
    n_chips: int = 25,
    *,
    metric: Metric | None = None,
    name: str = "accuracy",
    noise_model: BaseNoiseModel | None = None,
    compensation: BaseDriftCompensation | None = None,
    seed: int = 0,
) -> DriftTable:
    """Program a model into `n_chips` independent chips and evaluate each at every time.

    Every chip is programmed anew, because reading one chip again would show the spread of reads only. The model is
    evaluated in evaluation mode; its trained weights and its training mode stay as they are. The noise of a product
    follows from the number of its sample in the data, so that another batch size gives the same outputs, as far as the
    digital parts of the model do; a compiled model, and a metric that does not call the model itself, number their
    calls instead.

    Args:
        model: any module with analog tiles, trained hardware-aware or in memory.
        loader: batches (input, target), read once for each chip and time: a list or a `DataLoader`, no generator.
        times: seconds after programming, in any order.
        n_chips: number of chips.
        metric: (model, loader) -> number; by default the accuracy of the largest output.
        name: of the metric, for the table.
        noise_model, compensation: as for `ModelDevices`.
        seed: of the chips; chip i is the same for any number of chips.

    Raises:
        ConfigError: no time or chip, or a loader that can be read only once.
        TimeError: a time that is no number of at least 0, or that a noise model does not cover.
        StateError: no analog tile.
    """
    seconds = _seconds(times)
    if isinstance(n_chips, bool) or not hasattr(n_chips, "__index__") or n_chips < 1 or not seconds:
        raise ConfigError(
            f"an evaluation over time needs at least one chip and one time, not {n_chips!r} and {len(seconds)}"
        )
    check_repeatable(loader, n_chips * len(seconds))
    measure = accuracy if metric is None else metric
    values = np.empty((n_chips, len(seconds)))
    with _as_before(model), evaluation_mode(model), _noise_by_sample(model) as counts:
        for chip in range(n_chips):
            devices = ModelDevices(model, noise_model, compensation, seed=rpu_sim.derive_seed(seed, "chip", chip))
            devices.program()
            for number in np.argsort(seconds, kind="stable"):
                devices.advance(seconds[number] - devices.time)
                with devices.loaded():
                    values[chip, number] = measure(model, loader)
                for count in counts:
                    count.next_pass()
    return DriftTable(seconds, values, name)


def _seconds(times: Any) -> tuple[float, ...]:
    try:
        if isinstance(times, str | bytes):
            raise TypeError
        seconds = tuple(float(t) for t in times)
    except (TypeError, ValueError):
        raise TimeError(f"times must be seconds after programming, such as [1.0, 3600.0], not {times!r}") from None
    if not all(0.0 <= t < math.inf for t in seconds):
        raise TimeError(f"times are seconds after programming, finite and at least 0, not {list(seconds)}")
    return seconds


@contextmanager
def _as_before(model: nn.Module) -> Iterator[None]:
    """Put back the addresses of the noise, and what inference tiles held and are configured with."""
    steps = [(tile, tile.forward_step.clone()) for tile in analog_tiles(model)]
    tiles = [(tile, tile.programmed, tile.rpu_config.noise_model) for _, tile in inference_tiles(model)]
    try:
        yield
    finally:
        for tile, programmed, noise_model in tiles:
            if tile.rpu_config.noise_model != noise_model:
                tile.reconfigure(noise_model=noise_model)
            tile.programmed = programmed
        for any_tile, step in steps:
            any_tile.forward_step.copy_(step)


@contextmanager
def _noise_by_sample(model: nn.Module) -> Iterator[list[SampleCount]]:
    """Address the noise of all tiles by sample, where every call of the model is a batch; gives their counts."""
    if hasattr(model, "_orig_mod") or model._compiled_call_impl is not None:  # a graph knows `forward_step` only
        yield []
        return
    tiles = list(analog_tiles(model))
    counts = [SampleCount(int(tile.forward_step)) for tile in tiles]

    def next_batch(*_: Any) -> None:
        for count in counts:
            count.next_batch()

    hook = model.register_forward_pre_hook(next_batch)
    for tile, count in zip(tiles, counts, strict=True):
        tile.sample_count = count
    try:
        yield counts
    finally:
        hook.remove()
        for tile in tiles:
            tile.sample_count = None


@torch.no_grad()
def accuracy(model: nn.Module, loader: Iterable[Any]) -> float:
    """Return the fraction of the samples of (input, target) batches whose largest output is that of the target.

    Raises:
        ConfigError: a batch is no such pair, or there is no sample.
    """
    right = total = 0
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ConfigError("an accuracy needs batches (input, target), such as [(x, y)], or a metric of your own")
        x, target = batch
        output: Tensor = model(x)
        right += int((output.argmax(-1) == target).sum())
        total += target.numel()
    if total == 0:
        raise ConfigError("the loader gave no sample; an accuracy needs at least one")
    return right / total
