"""How an array is read: the forward signal chain with its constants, and the modified copy that training reads."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

import rpu_sim
from aihw_inference import Philox, product_read_noise
from aihw_torch.config import (
    BoundManagementType,
    IOParameters,
    IOParametersIRDropT,
    MappingParameter,
    NoiseManagementType,
    WeightModifierParameter,
    WeightModifierType,
    from_dict,
    to_dict,
)
from rpu_sim import periphery
from rpu_sim.gpu import HOST, Space, space_of
from rpu_sim.weight_ops import WeightModifier

_MASK = (1 << 32) - 1
Address = tuple[int, int, int]  # of the noise: seed of the tile, number of the call, number of the first sample


class LayerResult(NamedTuple):
    """The product of a layer: y [*leading, out], z before scales and bias or None, the weights that were read, and the
    largest |x| and |z|."""

    y: Tensor
    z: Tensor | None
    copy: Tensor
    largest_x: float
    largest_z: float


class Reading:
    """A forward chain and a modifier, prepared once for all calls of a tile.

    Args:
        io: forward chain.
        mapping: says how large the array around the tile is, on which a time-sliced IR drop depends.
        constants: arrays of the chain that were drawn once per tile, by name; borrowed.
        modifier: what makes the copy that is read; None reads the weights as they are.
        evaluate: leave the running mean of the noise management as it is.

    Attributes:
        description: all of it but the values of the constants, as JSON.
        bound: magnitude at which outputs are held by the ADC, or None where it depends on the sample or there is none.
    """

    def __init__(
        self,
        io: IOParameters,
        mapping: MappingParameter,
        constants: dict[str, Tensor] | None = None,
        modifier: WeightModifierParameter | None = None,
        evaluate: bool = False,
    ) -> None:
        self.io, self.mapping, self.constants = io, mapping, {} if constants is None else constants
        self.modifier, self.evaluate = modifier, evaluate
        self.bound = saturation(io)
        self.description = self._describe()
        self._modified = None if modifier is None else WeightModifier(modifier)
        self._chain: Any = None
        self._chain_is_for: tuple[str, tuple[int, ...]] | None = None

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.io, self.mapping, self.constants, self.modifier, self.evaluate)

    def _describe(self) -> str:
        plain = {
            "io": to_dict(self.io),
            "mapping": to_dict(self.mapping),
            "constants": list(self.constants),
            "modifier": None if self.modifier is None else to_dict(self.modifier),
            "evaluate": self.evaluate,
        }
        return json.dumps(plain)

    @property
    def samples_weights(self) -> bool:
        """Whether every sample of a batch has a copy of its own."""
        return self.modifier is not None and self.modifier.per_batch_sample

    def copy(self, weight: Tensor, samples: int, address: Address) -> Tensor:
        """Return the weights that a call reads: [out, in], or [samples, out, in] with a copy for each sample."""
        if self._modified is None:
            return weight
        seed, step, offset = address
        count = samples if self.samples_weights else None
        copies: Tensor = self._modified(weight, seed=seed, step=step, samples=count, sample_offset=offset)
        return copies

    def product(self, x: Tensor, copy: Tensor, address: Address) -> Tensor:
        """Return y [..., out] of inputs x [..., in] and what `copy` returned, through the chain, without gradients."""
        if copy.ndim == 2:
            return self._matrix_product(x, copy, address)
        rows, (seed, step, offset) = x.reshape(-1, x.shape[-1]), address
        parts = [self._matrix_product(rows[n : n + 1], copy[n], (seed, step, offset + n)) for n in range(len(rows))]
        return torch.cat(parts).reshape(*x.shape[:-1], copy.shape[1])

    @property
    def is_one_call(self) -> bool:
        """Whether the core computes the product of a layer with this reading in one call (on the CPU)."""
        return not self.samples_weights

    def layer(
        self,
        x: Tensor,
        images: tuple[Any, Sequence[int], bool],
        leading: Sequence[int],
        weight: Tensor,
        scale: Tensor | None,
        r: float,
        bias: Tensor | None,
        address: Address,
        keeps: bool,
    ) -> LayerResult:
        """Return the product of a layer with what its gradients need, without gradients.

        Args:
            x: the memory of the inputs.
            images: `rpu_sim.layers.Kernel`, the shape of x for it, and whether the channels come last in memory.
            leading: shape of the samples.
            weight: [out, in], contiguous.
            scale: s, [1] or [out], or None.
            r: the input range, 0 for none.
            bias: [out] or None.
            address: of the noise.
            keeps: whether z is wanted.
        """
        shape, modified = weight.shape, self._modified
        kernel, x_shape, channels_last = images
        y = x.new_empty(*leading, shape[0])
        z = torch.empty_like(y) if keeps else y
        copy = weight if modified is None and scale is None else torch.empty_like(weight)
        seed, step, offset = address
        largest_x, largest_z = self._chain_for(HOST, shape).layer(
            x.data_ptr(),
            x_shape,
            channels_last,
            kernel,
            weight.data_ptr(),
            None if scale is None else scale.data_ptr(),
            0 if scale is None else scale.shape[0],
            r,
            None if bias is None else bias.data_ptr(),
            None if modified is None else modified.spec,
            _key(seed),
            step & _MASK,
            offset & _MASK,
            self.evaluate,
            None if copy is weight else copy.data_ptr(),
            z.data_ptr(),
            y.data_ptr(),
        )
        return LayerResult(y, z if keeps else None, copy, largest_x, largest_z)

    def _matrix_product(self, x: Tensor, weight: Tensor, address: Address) -> Tensor:
        space = space_of(weight)
        view, leading = space.samples(x, weight.shape[1], "x")
        result = space.result(view, (view.shape[0], weight.shape[0]))
        seed, step, offset = address
        at = (_key(seed), step & _MASK, offset & _MASK)
        self._chain_for(space, weight.shape)(view, result, *at, self.evaluate, space.borrow(weight.contiguous()))
        y: Tensor = space.returned(result, x)
        return y if x.ndim == 2 else y.view(*leading, weight.shape[0])

    def _chain_for(self, space: Space, shape: tuple[int, ...]) -> Any:
        if self._chain_is_for != (space.name, shape):
            named = {f"buffer.{name}": space.borrow(values) for name, values in self.constants.items()}
            unused = space.empty(tuple(shape))  # every call brings its weights
            self._chain = periphery.product(self.io, "forward", unused, named, self.mapping)
            self._chain_is_for = space.name, shape
        return self._chain


class NoisyReading(Reading):
    """A reading of programmed devices whose read noise is drawn in every product.

    Args:
        reading: the rest of it.
        variance: of each weight in one read, [out, in].

    Attributes:
        plain: the reading without this noise.
    """

    def __init__(self, reading: Reading, variance: Tensor) -> None:
        super().__init__(reading.io, reading.mapping, reading.constants, reading.modifier, reading.evaluate)
        self.plain, self.variance = reading, variance

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.plain, self.variance)

    @property
    def is_one_call(self) -> bool:
        """Whether the core computes the product of a layer with this reading in one call (on the CPU)."""
        return False

    def product(self, x: Tensor, copy: Tensor, address: Address) -> Tensor:
        """As `Reading.product`, with noise behind the ADC."""
        return super().product(x, copy, address).add_(read_noise(x, self.variance, address, self.io))


def read_noise(x: Tensor, variance: Tensor, address: Address, io: IOParameters) -> Tensor:
    """Return the read noise [..., out] of a product of inputs x [..., in] in units of the DAC, which may clip them."""
    seed, step, offset = address
    scale = 1.0 if io.is_perfect else io.out_scale
    clips = not io.is_perfect and io.inp_bound > 0.0 and io.noise_management is NoiseManagementType.NONE
    inputs = x.detach().clamp(-io.inp_bound, io.inp_bound) if clips else x.detach()
    rng = Philox(rpu_sim.derive_seed(seed, "read noise"))
    noise: Tensor = product_read_noise(inputs, variance, rng=rng, step=step & _MASK, sample_offset=offset & _MASK)
    return noise if scale == 1.0 else noise * scale


_key = functools.lru_cache(maxsize=1024)(rpu_sim.derive_seed)


@functools.lru_cache(maxsize=256)
def described(text: str) -> Reading:
    """Return the reading of a description, without the values of its constants."""
    plain = json.loads(text)
    modifier = None if plain["modifier"] is None else from_dict(plain["modifier"])
    constants = dict.fromkeys(plain["constants"], torch.empty(0, device="cpu"))
    return Reading(from_dict(plain["io"]), from_dict(plain["mapping"]), constants, modifier, plain["evaluate"])


def modifies(modifier: WeightModifierParameter) -> bool:
    """Whether a modifier does anything."""
    plain = modifier.type in (WeightModifierType.NONE, WeightModifierType.COPY)
    return not plain or modifier.pdrop > 0.0


def in_training(io: IOParameters) -> IOParameters:
    """Return the chain that training reads through: without the IR drop of time slices, which only evaluation has."""
    if not isinstance(io, IOParametersIRDropT) or io.is_perfect:
        return io
    fields = {field.name: getattr(io, field.name) for field in dataclasses.fields(IOParameters)}
    return IOParameters(**{**fields, "ir_drop": 0.0})


def constants_of(io: IOParameters, mapping: MappingParameter, shape: tuple[int, int], seed: int) -> dict[str, Tensor]:
    """Return the arrays that a forward chain keeps for a tile of `seed`, by the name that `periphery` gives them."""
    drawn = {
        f"buffer.forward_{name}": np.zeros(size, np.float32)
        for name, size in periphery.buffer_shapes(io, "forward", shape).items()
    }
    if drawn:
        weights = np.zeros(shape, np.float32)
        periphery.product(io, "forward", weights, drawn, mapping).draw_constants(rpu_sim.derive_seed(seed))
    return {name.removeprefix("buffer."): torch.from_numpy(values) for name, values in drawn.items()}


def saturation(io: IOParameters) -> float | None:
    """Return the magnitude at which outputs are held by the ADC; None where it depends on the sample or is infinite."""
    if io.is_perfect or io.out_bound <= 0.0 or io.bound_management is not BoundManagementType.NONE:
        return None
    if io.noise_management is NoiseManagementType.NONE:
        scale = 1.0
    elif io.noise_management is NoiseManagementType.CONSTANT:
        scale = io.nm_thres if io.nm_thres > 0.0 else 1.0
    else:
        return None
    return io.out_bound * scale * abs(io.out_scale)
