"""Programming and drift of all tiles of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

import rpu_sim
from aihw_inference import BaseNoiseModel
from aihw_inference.errors import TimeError
from aihw_torch.errors import StateError
from aihw_torch.inference.tile import InferenceTile
from aihw_torch.nn.base import named_analog_tiles


def inference_tiles(model: nn.Module) -> Iterator[tuple[str, InferenceTile]]:
    """Yield (name, tile) of the inference tiles of any module, each once."""
    for name, tile in named_analog_tiles(model):
        if isinstance(tile, InferenceTile):
            yield name, tile


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
    the same devices.

    Raises:
        StateError: the model is in training mode or has no inference tile.
        TimeError: the time is negative, or not one that the noise model covers; nothing was read.
    """
    tiles = list(_evaluated(model))
    for _, tile in tiles:
        _check_time(tile, t_inference)
    for _, tile in tiles:
        tile.drift_weights(t_inference)


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
