"""Programming weights into devices, and reading them back at later times.

`program` draws what is random at programming (errors and drift coefficients) and returns an immutable
`ProgrammedArray`; its methods compute conductances and weights at any time. Nothing changes the weights passed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace, device, size

from .arrays import Block, assembled, checked_count, finite_array, real_array, sealed
from .converters import BaseConductanceConverter, ConversionParameters
from .errors import ConfigError, DtypeError, ShapeError, TimeError
from .rng import DRIFT, PROGRAMMING, READ, Draw, Generator, as_generator

if TYPE_CHECKING:
    from .models import BaseNoiseModel

Array = Any


@dataclass(frozen=True, eq=False)
class ProgrammedArray:
    """One or many chips with a weight matrix programmed into them. Immutable: its NumPy arrays cannot be written to.

    With K devices per weight, the arrays are [K, *weights.shape], or [K, n_chips, *weights.shape] for many chips.

    Attributes:
        weights: the target weights, a copy.
        g_prog: programmed conductances in microsiemens.
        drift_coefficients: what the noise model drew per device for its drift (nu for power laws).
        parameters: correspondence of weights and conductances.
        noise_model: a copy of the model.
        rng: generator of the reads.
        n_chips: number of chips, or None for one chip without an axis of its own.

    Raises:
        ShapeError: the conductances do not fit the weights.
    """

    weights: Array
    g_prog: Array
    drift_coefficients: Array
    parameters: ConversionParameters
    noise_model: BaseNoiseModel
    rng: Generator
    n_chips: int | None = None

    def __post_init__(self) -> None:
        expected = (self._converter.n_devices, *_chip_axis(self.n_chips), *self.weights.shape)
        for name in ("g_prog", "drift_coefficients"):
            shape = tuple(getattr(self, name).shape)
            if shape != expected:
                raise ShapeError(f"{name} must have the shape {expected} for these weights, got {shape}.")
        for name in ("weights", "g_prog", "drift_coefficients"):
            object.__setattr__(self, name, sealed(getattr(self, name)))

    @property
    def _converter(self) -> BaseConductanceConverter:
        return self.noise_model.g_converter

    @property
    def g_target(self) -> Array:
        """Target conductances [K, *weights.shape] in microsiemens, recomputed from the weights."""
        return self._converter.encode(array_namespace(self.weights), self.weights, self.parameters)

    def programmed_weights(self) -> Array:
        """Weights [(n_chips,) *weights.shape] with programming errors only: no drift, no read noise."""
        return self._decoded(lambda block, g_prog, coefficients: g_prog)

    def weights_at(self, t: float | Sequence[float], *, repeat: int = 0) -> Array:
        """Weights read `t` seconds after programming.

        A read is a function of the state, `t` and `repeat`: the same call gives the same numbers, another time or
        another `repeat` independent read noise on the same devices.

        Args:
            t: seconds, at least 0 (the first read); or a sequence of T times.
            repeat: number of the read at that time, 0 <= repeat < 2**32.

        Returns:
            Array [(T,) (n_chips,) *weights.shape].

        Raises:
            TimeError: a time is negative, not finite, or not covered by the noise model.
        """
        return self._at_times(t, lambda time: self._decoded(self._reader(time, repeat)))

    def conductances_at(self, t: float | Sequence[float], *, repeat: int = 0) -> Array:
        """Conductances behind `weights_at(t, repeat=repeat)`: [(T,) K, (n_chips,) *weights.shape], in microsiemens."""
        return self._at_times(t, lambda time: self._assembled(self._reader(time, repeat)))

    def read_parts_at(self, t: float) -> tuple[Array, Array]:
        """(weights at `t` without read noise, variance of each weight in one read), both [(n_chips,) *weights.shape].

        For products that draw the read noise anew each time, see `product_read_noise`.

        Raises:
            TimeError: as `weights_at`.
            ConfigError: the noise model does not tell the noise of a read from the spread of its devices.
        """
        model, xp = self.noise_model, array_namespace(self.g_prog)
        time, parameters = model.check_time(t), _BlockParameters(xp, self.parameters, self.weights.shape)

        def variance(block: Block, g_prog: Array, coefficients: Array) -> Array:
            std = model.read_parts(g_prog, coefficients, time)[1]
            return self._converter.decode_variance(xp, std * std, parameters.of(block))

        weights = self._decoded(lambda _, g_prog, coefficients: model.read_parts(g_prog, coefficients, time)[0])
        return weights, xp.reshape(self._blockwise(variance), weights.shape)

    def _at_times(self, t: Any, read: Callable[[float], Array]) -> Array:
        if getattr(t, "ndim", 0) == 1:
            times = [t[number] for number in range(t.shape[0])]
        elif isinstance(t, Sequence) and not isinstance(t, str | bytes):
            times = list(t)
        else:
            return read(t)
        if not times:
            raise TimeError("At least one inference time is needed, got none.")
        return array_namespace(self.weights).stack([read(time) for time in times])

    def _reader(self, t: float, repeat: int) -> Callable[[Block, Array, Array], Array]:
        repeat = checked_count(repeat, "repeat", 0, 2**32 - 1)
        model, xp = self.noise_model, array_namespace(self.g_prog)
        time = model.check_time(t)
        dtype, place = self.g_prog.dtype, device(self.g_prog)

        def read(block: Block, g_prog: Array, coefficients: Array) -> Array:
            xi = self.rng.normal(xp, Draw(READ, time, repeat), block, self._converter.n_devices, dtype, place)
            return model.conductance_at(g_prog, coefficients, time, xi)

        return read

    def _decoded(self, conductances: Callable[[Block, Array, Array], Array]) -> Array:
        """Weights of the conductances computed block by block."""
        xp, shape = array_namespace(self.g_prog), self.weights.shape
        parameters = _BlockParameters(xp, self.parameters, shape)

        def weights(block: Block, g_prog: Array, coefficients: Array) -> Array:
            return self._converter.decode(xp, conductances(block, g_prog, coefficients), parameters.of(block))

        return xp.reshape(self._blockwise(weights), (*_chip_axis(self.n_chips), *shape))

    def _assembled(self, conductances: Callable[[Block, Array, Array], Array]) -> Array:
        return array_namespace(self.g_prog).reshape(self._blockwise(conductances), self.g_prog.shape)

    def _blockwise(self, function: Callable[[Block, Array, Array], Array]) -> Array:
        """function(block, g_prog, drift_coefficients) of every block, joined to [..., n_chips, n_elements]."""
        xp, k = array_namespace(self.g_prog), self._converter.n_devices
        flat = (k, self.n_chips or 1, size(self.weights) or 0)
        g_prog, coefficients = xp.reshape(self.g_prog, flat), xp.reshape(self.drift_coefficients, flat)
        return assembled(
            g_prog, flat[1], flat[2], k, lambda block: function(block, block.of(g_prog), block.of(coefficients))
        )


def program(
    weights: Array,
    noise_model: BaseNoiseModel,
    *,
    rng: Generator | int,
    n_chips: int | None = None,
    w_max: float | Array | None = None,
    reference_compat: bool = False,
) -> ProgrammedArray:
    """Programs `weights` into one chip, or into `n_chips` independent ones.

    Args:
        weights: float32 or float64 array of any shape (integers become the default float); not changed.
        noise_model: the devices.
        rng: seed, or `Philox(seed)`, or `Native(seed)`.
        n_chips: number of chips; None for one chip without a chip axis.
        w_max: weight that maps to the largest conductance, a number or an array that broadcasts to the weights, such
            as [out, 1] for one scale per output; larger weights saturate. Default: the largest magnitude in `weights`.
        reference_compat: keep what the established toolkit keeps, for comparison with its numbers: not the conductances
            but the programmed weights, encoded anew with their own largest magnitude. That rescales the conductances
            and empties the smaller device of every pair. For one chip without a chip axis.

    Raises:
        DtypeError, NonFiniteError, ShapeError: bad weights or w_max.
        ConfigError: n_chips < 1 or with reference_compat, w_max <= 0, a seed or a model parameter out of range.
    """
    if isinstance(noise_model, type) or not hasattr(noise_model, "sealed"):
        raise ConfigError(f"noise_model must be a noise model such as PCMLikeNoiseModel(), got {noise_model!r}.")
    noise_model.check()
    model, generator = noise_model.sealed(), as_generator(rng)
    if n_chips is not None:
        n_chips = checked_count(n_chips, "n_chips", 1)
        if reference_compat:
            raise ConfigError("reference_compat scales each chip anew and takes one at a time; leave out n_chips.")
    xp, weights = finite_array(weights, "weights")
    weights = xp.asarray(weights, copy=True)
    parameters = _conversion_parameters(xp, model.g_converter, weights, w_max)
    shape = (model.g_converter.n_devices, *_chip_axis(n_chips), *weights.shape)

    def drawn(stream: str, function: Callable[[Array, Array], Array]) -> Array:
        flat = _drawn(xp, weights, parameters, model.g_converter, generator, n_chips or 1, Draw(stream), function)
        return xp.reshape(flat, shape)

    g_prog, coefficients = drawn(PROGRAMMING, model.program_conductance), drawn(DRIFT, model.drift_coefficients)
    state = ProgrammedArray(weights, g_prog, coefficients, parameters, model, generator, n_chips)
    return _reencoded(state) if reference_compat else state


def _reencoded(state: ProgrammedArray) -> ProgrammedArray:
    """The state with the programmed weights encoded anew; drift coefficients stay those of the targets."""
    converter, weights = state.noise_model.g_converter, state.programmed_weights()
    xp = array_namespace(weights)
    parameters = converter.parameters(xp, *converter.weight_range(xp, weights))
    return dataclasses.replace(state, g_prog=converter.encode(xp, weights, parameters), parameters=parameters)


def _drawn(
    xp: Any,
    weights: Array,
    parameters: ConversionParameters,
    converter: BaseConductanceConverter,
    rng: Generator,
    n_chips: int,
    draw: Draw,
    function: Callable[[Array, Array], Array],
) -> Array:
    """function(target conductances, normals) of every block, joined to [K, n_chips, n_elements]."""
    flat, flat_parameters = xp.reshape(weights, (-1,)), _BlockParameters(xp, parameters, weights.shape)
    place, k = device(weights), converter.n_devices

    def made(block: Block) -> Array:
        g_target = converter.encode(xp, flat[block.start : block.stop], flat_parameters.of(block))
        return function(g_target[:, None, :], rng.normal(xp, draw, block, k, weights.dtype, place))

    return assembled(flat, n_chips, flat.shape[0], k, made)


class _BlockParameters:
    """Conversion parameters of a block of flattened weights."""

    def __init__(self, xp: Any, parameters: ConversionParameters, shape: tuple[int, ...]) -> None:
        def flattened(value: Array) -> Array:
            return value if value.ndim == 0 else xp.reshape(xp.broadcast_to(value, shape), (-1,))

        self._scale, self._low = flattened(parameters.scale_ratio), flattened(parameters.w_low)

    def of(self, block: Block) -> ConversionParameters:
        scale, low = (v if v.ndim == 0 else v[block.start : block.stop] for v in (self._scale, self._low))
        return ConversionParameters(scale, low)


def _conversion_parameters(
    xp: Any, converter: BaseConductanceConverter, weights: Array, w_max: float | Array | None
) -> ConversionParameters:
    if w_max is None:
        return converter.parameters(xp, *converter.weight_range(xp, weights))
    try:
        _, high = real_array(xp.asarray(w_max, device=device(weights)), "w_max")
    except (TypeError, ValueError, RuntimeError):
        raise DtypeError(f"w_max must be a number or an array of real numbers, got {w_max!r}.") from None
    high = xp.astype(high, weights.dtype)
    try:
        fits = xp.broadcast_to(high, weights.shape).shape == weights.shape
    except (ValueError, RuntimeError):
        fits = False
    if not fits:
        raise ShapeError(f"w_max of shape {tuple(high.shape)} does not broadcast to weights {tuple(weights.shape)}.")
    if not bool(xp.all((high > 0.0) & xp.isfinite(high))):
        raise ConfigError("w_max must be positive and finite.")
    return converter.parameters(xp, -high, high)


def _chip_axis(n_chips: int | None) -> tuple[int, ...]:
    return () if n_chips is None else (n_chips,)
