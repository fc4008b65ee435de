"""Programming and drift of all tiles of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import rpu_sim
from aihw_inference import BaseNoiseModel
from aihw_inference.errors import TimeError
from aihw_torch.errors import StateError
from aihw_torch.inference.programmed import ProgrammedTile
from aihw_torch.inference.tile import InferenceTile
from aihw_torch.nn.base import named_analog_tiles
from aihw_torch.tiles import SharedPeripheryArray


def inference_tiles(model: nn.Module) -> Iterator[tuple[str, InferenceTile]]:
    """Yield (name, tile) of the inference tiles of any module, each once."""
    for name, tile in named_analog_tiles(model):
        if isinstance(tile, InferenceTile):
            yield name, tile


def shared_grids(model: nn.Module) -> Iterator[tuple[str, SharedPeripheryArray]]:
    """Yield (name, grid) of the grids of inference tiles with one periphery."""
    for name, module in model.named_modules():
        if isinstance(module, SharedPeripheryArray) and any(inference_tiles(module)):
            yield name, module


def compensate_together(model: nn.Module) -> None:
    """Give the tiles of every shared grid the drift compensation of its matrix as a whole."""
    for _, grid in shared_grids(model):
        _compensate(grid)


def _compensate(grid: SharedPeripheryArray) -> None:
    compensation = getattr(grid.rpu_config, "drift_compensation", None)
    rows = list[list[ProgrammedTile]]()
    for tiles in grid.rows():
        programs = [tile.current_program() for tile in tiles if isinstance(tile, InferenceTile)]
        rows.append([own for own in programs if own is not None and own.t_inference is not None])
    if compensation is None or any(len(row) < len(grid.out_sizes) for row in rows):
        return

    def product(x: Tensor, drifted: bool) -> Tensor:
        parts = zip(x.split(grid.in_sizes, dim=-1), rows, strict=True)
        sums = [torch.cat([tile.probe(part, drifted=drifted) for tile in row], dim=-1) for part, row in parts]
        return torch.stack(sums).sum(0)

    targets = torch.cat([torch.cat([tile.devices.weights for tile in row]) for row in rows], dim=1)
    baseline = compensation.init_baseline(partial(product, drifted=False), targets)
    alpha = compensation.alpha(partial(product, drifted=True), baseline, targets)
    for row in rows:
        parts = alpha.split(grid.out_sizes) if alpha.ndim else [alpha] * len(row)
        for tile, part in zip(row, parts, strict=True):
            tile.alpha = part.clone()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every module of it back into the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def program_analog_weights(
    model: nn.Module, noise_model: BaseNoiseModel | None = None, *, seed: int | None = None
) -> None:
    """Program the weights of all inference tiles into devices; the trained weights stay as they are.

    Args:
        model: any module, in evaluation mode. Its pulsed tiles, whose devices hold their weights already, are left out.
        noise_model: the devices from now on; by default those of each tile's configuration.
        seed: of this set of chips; by default every call makes new ones.

    Raises:
        StateError: the model is in training mode or has no inference tile; nothing was programmed.
    """
    for name, tile in _evaluated(model):
        own = None if seed is None else rpu_sim.derive_seed(seed, name)
        tile.program_weights(noise_model=noise_model, seed=own)


def drift_analog_weights(model: nn.Module, t_inference: float = 0.0) -> None:
    """Read the devices of all inference tiles `t_inference` seconds after they were programmed.

    Tiles that are not programmed yet, or were trained since, are programmed first. Every call draws new read noise on
    the same devices. Each tile compensates its own drift; the tiles of a `SharedPeripheryArray` do so together.

    Raises:
        StateError: the model is in training mode or has no inference tile.
        TimeError: the time is negative, or not one that the noise model covers; nothing was read.
    """
    tiles = list(_evaluated(model))
    for _, tile in tiles:
        _check_time(tile, t_inference)
    for _, tile in tiles:
        tile.drift_weights(t_inference)
    compensate_together(model)


def _check_time(tile: InferenceTile, t_inference: Any) -> None:
    try:
        tile.rpu_config.noise_model.check_time(t_inference)
    except TimeError as error:
        if not hasattr(t_inference, "__len__") or isinstance(t_inference, str):
            raise
        raise TimeError(
            f"{error} Drift to one time after another, or use evaluate_over_time(model, loader, times)."
        ) from None


def _evaluated(model: nn.Module) -> list[tuple[str, InferenceTile]]:
    if model.training:
        raise StateError(
            "the model is in training mode, where programmed weights are not used; call model.eval() first"
        )
    tiles = list(inference_tiles(model))
    if not tiles:
        raise StateError(
            "the model has no inference tile; convert it with an InferenceRPUConfig, or use ModelDevices for tiles "
            "that are trained in memory"
        )
    return tiles
