"""Input ranges of a model from data, and how its signals use the ranges of the converters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aihw_inference import InputRangeCalibrationType, MagnitudeHistogram, RangeStatistics, range_estimator
from aihw_torch.config import NoiseManagementType
from aihw_torch.errors import ConfigError, StateError
from aihw_torch.inference.loader import arguments, check_repeatable
from aihw_torch.inference.model import evaluation_mode, inference_tiles, shared_grids
from aihw_torch.inference.tile import InferenceTile
from aihw_torch.tiles import SharedPeripheryArray


@dataclass(frozen=True)
class LayerRanges:
    """How the signals of one tile use its converters.

    Attributes:
        input_range: magnitude of the input that the DAC maps to its end; None without an input range.
        dac: inputs in units of the DAC, after the input range and the noise management.
        adc: exact outputs in units of the ADC, before the bound management repeats what is clipped.
    """

    input_range: float | None
    dac: RangeStatistics
    adc: RangeStatistics


def calibrate(
    model: nn.Module,
    loader: Iterable[Any],
    calibration_type: InputRangeCalibrationType = InputRangeCalibrationType.CACHE_QUANTILE,
    *,
    quantile: float = 0.99995,
    max_samples: int = 1000,
    std_alpha: float | None = None,
    signed: bool = False,
    force_all_layers: bool = True,
    seed: int = 0,
) -> dict[str, LayerRanges]:
    """Set the input range of every inference tile from data, and return how the converters are then used.

    A grid of tiles with one periphery (`SharedPeripheryArray`) has one range, which is set from its inputs.

    The data runs through the exact model in evaluation mode, once for the ranges and once for the statistics. A tile
    without an input range gets one that is not learned; noise management, which the range replaces, becomes NONE. Old
    ranges have no influence.

    Args:
        model: any module with inference tiles; its training mode stays as it is.
        loader: batches, read twice: tensors, (input, target, ...) sequences, or (args, kwargs) pairs.
        calibration_type: how a range follows from the inputs of a tile.
        quantile: of the magnitudes, for the quantile types.
        max_samples: input vectors to keep (CACHE_QUANTILE) or to look at (MOVING_STD).
        std_alpha: standard deviations of MOVING_STD; by default `init_std_alpha` of the tile.
        signed: take quantiles of the values instead of the magnitudes.
        force_all_layers: False raises an error for a tile without an input range or with noise management.
        seed: of the choice of vectors.

    Returns:
        name of the tile -> its ranges.

    Raises:
        StateError: no inference tile, or a tile saw no input; nothing was changed.
        ConfigError: an impossible parameter, a loader that can be read only once, or a tile that
            `force_all_layers=False` refuses; nothing was changed.
    """
    check_repeatable(loader, 2)
    ranged = _ranged(model)
    if not force_all_layers:
        _require_ranges(ranged)
    estimators = {}
    for name, module in ranged.items():
        alpha = module.rpu_config.pre_post.input_range.init_std_alpha if std_alpha is None else std_alpha
        estimators[name] = range_estimator(
            calibration_type, quantile=quantile, max_samples=max_samples, std_alpha=alpha, signed=signed, seed=seed
        )
    with _hooked(ranged, {name: estimator.update for name, estimator in estimators.items()}):
        _run(model, loader)
    values = {}
    for name, estimator in estimators.items():
        if estimator.n_vectors == 0:
            raise StateError(f"no input that is not zero reached the tile {name}; give data that reaches every layer")
        values[name] = estimator.value()
    for name, module in ranged.items():
        _set_range(module, values[name])
    return range_statistics(model, loader)


def calibrate_input_ranges(
    model: nn.Module,
    calibration_type: InputRangeCalibrationType,
    dataloader: Iterable[Any],
    quantile: float = 0.99995,
    max_samples: int = 1000,
    std_alpha: float | None = None,
    force_all_layers: bool = True,
    verbose: bool = False,
) -> None:
    """`calibrate` with the arguments of the established toolkit; `verbose` prints what it returns.

    As there, the loader may be an iterator, which gives its batches only once; they are kept in memory.
    """
    if calibration_type is InputRangeCalibrationType.NONE:
        return
    found = calibrate(
        model,
        list(dataloader) if isinstance(dataloader, Iterator) else dataloader,
        calibration_type,
        quantile=quantile,
        max_samples=max_samples,
        std_alpha=std_alpha,
        force_all_layers=force_all_layers,
    )
    if verbose:
        print(format_ranges(found))


def range_statistics(model: nn.Module, loader: Iterable[Any]) -> dict[str, LayerRanges]:
    """Return how the signals of every inference tile use its converters; name of the tile -> its ranges.

    The data runs through the exact model in evaluation mode; nothing is changed.

    Raises:
        StateError: no inference tile, or a tile that saw no input.
    """
    ranged = _ranged(model)
    counters = {
        name: _Converters(tile, module.input_range)
        for prefix, module in ranged.items()
        for name, tile in _tiles_of(prefix, module)
    }
    tiles = dict(inference_tiles(model))
    with _hooked(tiles, {name: counter.update for name, counter in counters.items()}):
        _run(model, loader)
    for name, counter in counters.items():
        if counter.dac.n == 0:
            raise StateError(f"no input reached the tile {name}; give data that reaches every layer")
    return {name: counter.ranges() for name, counter in counters.items()}


def format_ranges(ranges: Mapping[str, LayerRanges]) -> str:
    """Return a table of ranges, one line for each tile."""
    lines = [f"{'tile':<36}{'range':>9}{'DAC clips':>11}{'used':>7}{'ADC clips':>11}{'used':>7}{'bits lost':>11}"]
    for name, own in ranges.items():
        value = "-" if own.input_range is None else f"{own.input_range:.4g}"
        lines.append(
            f"{name:<36}{value:>9}{own.dac.clipped:>11.2e}{own.dac.used:>7.2f}{own.adc.clipped:>11.2e}"
            f"{own.adc.used:>7.2f}{own.adc.bits_lost:>11.1f}"
        )
    return "\n".join(lines)


def _ranged(model: nn.Module) -> dict[str, InferenceTile | SharedPeripheryArray]:
    """Return what has an input range of its own, by name: grids with one periphery, and the other tiles."""
    grids = dict(shared_grids(model))
    inside = {id(tile) for grid in grids.values() for _, tile in inference_tiles(grid)}
    alone = {name: tile for name, tile in inference_tiles(model) if id(tile) not in inside}
    if not (grids or alone):
        raise StateError("the model has no inference tile; convert it with an InferenceRPUConfig first")
    return {**alone, **grids}


def _tiles_of(name: str, module: nn.Module) -> Iterator[tuple[str, InferenceTile]]:
    """Yield (name in the model, tile) of a module of the model that is called `name`."""
    return ((f"{name}.{own}" if name and own else name or own, tile) for own, tile in inference_tiles(module))


class _Converters:
    """Counts what the converters of a tile see, whose inputs have a range."""

    def __init__(self, tile: InferenceTile, input_range: Tensor | None) -> None:
        self._tile, self._io = tile, tile.rpu_config.forward
        self._range = None if input_range is None else input_range.detach().float().abs()
        self._weight = tile.array_weight()
        self.dac, self.adc = MagnitudeHistogram(), MagnitudeHistogram()

    def update(self, x: Tensor) -> None:
        """Look at inputs of the tile."""
        x = x.detach().float()
        if self._tile.analog_bias:
            x = nn.functional.pad(x, (0, 1), value=1.0)
        x = x if self._range is None else x / self._range
        scaled = x / _noise_management_scale(x if self._range is None else x.clamp(-1.0, 1.0), self._io)
        self.dac.update(scaled)
        bound = self._dac_bound()
        self.adc.update(nn.functional.linear(scaled.clamp(-bound, bound), self._weight))

    def _dac_bound(self) -> float:
        bound = self._io.inp_bound if self._io.inp_bound > 0.0 and not self._io.is_perfect else torch.inf
        return bound if self._range is None else min(bound, 1.0)

    def ranges(self) -> LayerRanges:
        """What was found; a converter without a bound is taken to end at the largest signal."""
        adc_bound = self._io.out_bound if self._io.out_bound > 0.0 and not self._io.is_perfect else torch.inf
        found = []
        for counter, bound in ((self.dac, self._dac_bound()), (self.adc, adc_bound)):
            end = max(counter.quantile(1.0), 1e-30) if bound == torch.inf else bound
            found.append(counter.statistics(end))
        return LayerRanges(None if self._range is None else self._range.item(), *found)


@contextmanager
def _hooked(modules: Mapping[str, nn.Module], updates: Mapping[str, Callable[[Tensor], None]]) -> Iterator[None]:
    """Let a function of each module see its inputs."""

    def hook(update: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, args: update(args[0])

    hooks = [module.register_forward_pre_hook(hook(updates[name])) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _noise_management_scale(x: Tensor, io: Any) -> Tensor | float:
    """What the noise management divides each input vector by."""
    kind = io.noise_management
    if io.is_perfect or kind is NoiseManagementType.NONE:
        return 1.0
    if kind is NoiseManagementType.CONSTANT:
        return io.nm_thres if io.nm_thres > 0.0 else 1.0
    largest = (x if kind is NoiseManagementType.MAX else x.abs()).amax(-1, keepdim=True)
    if io.nm_thres > 0.0:
        largest = largest.clamp(max=io.nm_thres)
    return torch.where(largest > 0.0, largest, torch.ones_like(largest))


def _manages_noise(io: Any) -> bool:
    """Whether inputs are scaled before the DAC; a constant of 1, as in the standard preset, does nothing."""
    if io.noise_management is NoiseManagementType.CONSTANT:
        return io.nm_thres > 0.0 and io.nm_thres != 1.0
    return io.noise_management is not NoiseManagementType.NONE


def _require_ranges(ranged: Mapping[str, InferenceTile | SharedPeripheryArray]) -> None:
    for name, tile in ranged.items():
        if tile.input_range is None:
            raise ConfigError(f"the tile {name} has no input range; enable it or pass force_all_layers=True")
        if _manages_noise(tile.rpu_config.forward):
            raise ConfigError(f"the tile {name} has noise management; switch it off or pass force_all_layers=True")


def _set_range(tile: InferenceTile | SharedPeripheryArray, value: float) -> None:
    config = tile.rpu_config.mutable_copy()
    ranges = config.pre_post.input_range
    if not ranges.enable:
        ranges.enable, ranges.learn_input_range = True, False
        tile._make_input_range(ranges)
    ranges.init_from_data, ranges.init_value = 0, value
    config.forward.noise_management = NoiseManagementType.NONE
    tile.reconfigure(pre_post=config.pre_post, forward=config.forward)
    tile.set_input_range(value)


def _run(model: nn.Module, loader: Iterable[Any]) -> None:
    """Run the data through the exact model in evaluation mode, without gradients."""
    with evaluation_mode(model), _exactly(model), torch.no_grad():
        for batch in loader:
            args, kwargs = arguments(batch)
            model(*args, **kwargs)


@contextmanager
def _exactly(model: nn.Module) -> Iterator[None]:
    """Let inference tiles read exactly, and without the clipping of input ranges."""
    modules = [module for _, module in (*inference_tiles(model), *shared_grids(model))]
    for module in modules:
        module.exact = True
    try:
        yield
    finally:
        for module in modules:
            module.exact = False
