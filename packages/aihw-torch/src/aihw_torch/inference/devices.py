"""Devices with a clock that hold the weights of a model, however it was trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real

import torch
from torch import Tensor, nn

import rpu_sim
from aihw_inference import (
    BaseDriftCompensation,
    BaseNoiseModel,
    PCMLikeNoiseModel,
    Philox,
    ProgrammedArray,
    program,
    read_compensated,
)
from aihw_torch.errors import ConfigError, StateError
from aihw_torch.inference.model import compensate_together
from aihw_torch.inference.tile import InferenceTile
from aihw_torch.nn.base import named_analog_tiles
from aihw_torch.tiles import TileModule


class ModelDevices:
    """The devices of all tiles of a model: `program()`, `advance(dt)`, `read()`.

    Inference tiles use the noise model and the compensation of their configurations unless others are given. Tiles
    that were trained in memory hold what the pulses left: `program` draws the errors of the noise model around that,
    and time acts on it as on any programmed weight.

    Args:
        model: any module with analog tiles.
        noise_model: the devices; by default those of the configuration, `PCMLikeNoiseModel()` for pulsed tiles.
        compensation: of pulsed tiles, through an ideal probe; None for none. Inference tiles have their own.
        w_max: weight of a pulsed tile at the largest conductance; by default the largest magnitude in each tile.
        seed: of the chip; programming again makes the next chip of it.

    Attributes:
        time: seconds since programming.

    Raises:
        StateError: the model has no analog tile.
    """

    def __init__(
        self,
        model: nn.Module,
        noise_model: BaseNoiseModel | None = None,
        compensation: BaseDriftCompensation | None = None,
        *,
        w_max: float | None = None,
        seed: int = 0,
    ) -> None:
        self._model, self._tiles = model, dict(named_analog_tiles(model))
        if not self._tiles:
            raise StateError("the model has no analog tile; convert it first")
        self._noise_model, self._compensation, self._w_max, self._seed = noise_model, compensation, w_max, seed
        self._arrays: dict[str, ProgrammedArray] = {}
        self._programmings = self._reads = 0
        self.time = 0.0

    @property
    def programmed(self) -> bool:
        """Whether there is something to read."""
        return self._programmings > 0

    def program(self) -> None:
        """Program the present weights into new devices and set the clock to 0."""
        for name, tile in self._tiles.items():
            seed = rpu_sim.derive_seed(self._seed, self._programmings, name)
            if isinstance(tile, InferenceTile):
                tile.program_weights(noise_model=self._noise_model, seed=seed)
            else:
                model = PCMLikeNoiseModel() if self._noise_model is None else self._noise_model
                self._arrays[name] = program(_array(tile).detach(), model, rng=Philox(seed), w_max=self._w_max)
        self._programmings += 1
        self.time, self._reads = 0.0, 0

    def advance(self, dt: float) -> None:
        """Let `dt` seconds pass, at least 0."""
        self._require_programmed()
        if isinstance(dt, bool) or not isinstance(dt, Real) or not 0.0 <= dt < math.inf:
            raise ConfigError(f"time only advances: dt must be finite and at least 0 s, not {dt!r}")
        self.time += float(dt)

    def read(self) -> dict[str, Tensor]:
        """Read the devices now, with new read noise, and return the weights by the name of the tile.

        Inference tiles use in evaluation what was read; see `loaded` for pulsed ones. Weights are logical, with the
        compensation of drift in them.
        """
        logical, physical = {}, self._read_arrays()
        for name, tile in self._tiles.items():
            if isinstance(tile, InferenceTile):
                logical[name] = tile.read_programmed()
            else:
                scales = tile.get_scales()
                logical[name] = physical[name] if scales is None else physical[name] * scales.view(-1, 1)
        return logical

    def _read_arrays(self) -> dict[str, Tensor]:
        """Read everything; return the arrays of pulsed tiles."""
        self._require_programmed()
        found = {}
        for name, tile in self._tiles.items():
            if isinstance(tile, InferenceTile):
                tile.drift_weights(self.time)
            elif self._compensation is None:
                found[name] = self._arrays[name].weights_at(self.time, repeat=self._reads)
            else:
                read = read_compensated(self._arrays[name], self.time, self._compensation, repeat=self._reads)
                found[name] = read.compensated
        compensate_together(self._model)
        self._reads += 1
        return found

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Read the devices, and let pulsed tiles compute with what was read until the end of the block.

        Their arrays, which devices of the noise model stand for meanwhile, come back unchanged.
        """
        read = self._read_arrays()
        kept = {name: _array(self._tiles[name]).detach().clone() for name in read}
        self._write(read)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, arrays: dict[str, Tensor]) -> None:
        for name, values in arrays.items():
            _array(self._tiles[name]).copy_(values)

    def _require_programmed(self) -> None:
        if not self.programmed:
            raise StateError("the devices are not programmed; call program() first")


def _array(tile: TileModule) -> Tensor:
    """The array of a pulsed tile, in units of its devices."""
    array = tile.weight
    assert isinstance(array, Tensor)
    return array
