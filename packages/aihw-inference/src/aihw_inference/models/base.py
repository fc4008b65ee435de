"""What every noise model offers: pure functions of conductances and normals, and sampling on top of them."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from ..arrays import at_least, checked_reals, finite_array, require_same_shape
from ..converters import BaseConductanceConverter, SinglePairConductanceConverter
from ..errors import ConductanceError, ConfigError, TimeError
from ..programming import ProgrammedArray, program
from ..rng import DRIFT, PROGRAMMING, READ, Draw, Generator, as_generator

Array = Any


class BaseNoiseModel(ABC):
    """Programming noise, drift and read noise of one kind of device. All conductances in microsiemens.

    A model of your own derives from this class (or from `PowerLawNoiseModel`), names its parameters as annotations in
    the class body, and defines `programming_std`, `drift_coefficients` and `conductance_at`. Those take and return
    arrays of any library of the array-API standard, draw nothing themselves, and must not change their arguments.

    Parameters are attributes of the same names as the constructor's arguments; they may be set later, a name that the
    class does not have raises ConfigError.

    Attributes:
        g_converter: maps weights to conductances; holds g_max and g_min.
    """

    g_converter: BaseConductanceConverter

    @property
    def g_max(self) -> float:
        """Largest conductance of the converter, in microsiemens."""
        return self.g_converter.g_max

    # ---- physics: pure functions -----------------------------------------------------------------------------------

    @abstractmethod
    def programming_std(self, g_target: Array) -> Array:
        """Standard deviation of the programming error, scale included."""

    @abstractmethod
    def drift_coefficients(self, g_target: Array, xi: Array) -> Array:
        """What the drift of a device depends on, drawn once at programming: for most models the exponent nu.

        Args:
            g_target: target conductances.
            xi: standard normals that broadcast with them.
        """

    @abstractmethod
    def conductance_at(self, g_prog: Array, coefficients: Array, t: float, xi: Array) -> Array:
        """Conductances read `t` seconds after programming.

        Args:
            g_prog: programmed conductances.
            coefficients: result of `drift_coefficients` at programming.
            t: checked inference time.
            xi: standard normals of this read.
        """

    def read_parts(self, g_prog: Array, coefficients: Array, t: float) -> tuple[Array, Array]:
        """(conductances at `t` without read noise, standard deviation of the noise of one read).

        For noise that every matrix-vector product draws anew; arguments as `conductance_at`.

        Raises:
            ConfigError: the model does not tell the noise of a read from the spread of the devices.
        """
        raise ConfigError(
            f"{type(self).__name__} does not tell the noise of a read from the spread of its devices; read it once for "
            "all products, with conductance_at or weights_at."
        )

    def program_conductance(self, g_target: Array, xi: Array) -> Array:
        """Programmed conductances: a Gaussian error, clipped at zero."""
        return rectify(g_target + self.programming_std(g_target) * xi)

    def check_time(self, t: float) -> float:
        """`t` as a float; raises TimeError unless it is a finite time of at least 0 s that the model covers."""
        try:
            if isinstance(t, str | bytes | bool) or getattr(t, "ndim", 0) != 0:
                raise TypeError
            t = float(t)
        except (TypeError, ValueError, OverflowError):
            raise TimeError(f"An inference time is one number of seconds after programming, got {t!r}.") from None
        if not 0.0 <= t < math.inf:
            raise TimeError(f"An inference time is in seconds after programming and at least 0, got {t}.")
        return t

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        require_converter(self.g_converter)
        require_non_negative(self, "prog_noise_scale", "drift_scale", "read_noise_scale", "noise_scale")

    # ---- sampling ---------------------------------------------------------------------------------------------------

    def apply_programming_noise_to_conductance(self, g_target: Array, *, rng: Generator | int) -> Array:
        """Programmed conductances of target conductances within [g_min, g_max] (ConductanceError otherwise)."""
        g_target = self._checked_targets(g_target)
        return self.program_conductance(g_target, as_generator(rng).normal_like(g_target, Draw(PROGRAMMING)))

    def generate_drift_coefficients(self, g_target: Array, *, rng: Generator | int) -> Array:
        """Drift coefficients of target conductances within [g_min, g_max] (ConductanceError otherwise)."""
        g_target = self._checked_targets(g_target)
        return self.drift_coefficients(g_target, as_generator(rng).normal_like(g_target, Draw(DRIFT)))

    def apply_drift_noise_to_conductance(
        self, g_prog: Array, drift_noise_param: Array, t_inference: float, *, rng: Generator | int, repeat: int = 0
    ) -> Array:
        """Conductances read `t_inference` seconds after programming; another `repeat` is another read.

        Raises:
            ShapeError, NonFiniteError, TimeError: bad arguments.
        """
        _, g_prog = finite_array(g_prog, "g_prog")
        _, coefficients = finite_array(drift_noise_param, "drift_noise_param")
        require_same_shape(g_prog, coefficients, "g_prog and drift_noise_param")
        t = self.check_time(t_inference)
        xi = as_generator(rng).normal_like(g_prog, Draw(READ, t, repeat))
        return self.conductance_at(g_prog, coefficients, t, xi)

    def apply_noise(self, weights: Array, t_inference: float = 0.0, *, rng: Generator | int) -> Array:
        """A new matrix: the weights as read `t_inference` seconds after programming them."""
        return self.apply_programming_noise(weights, rng=rng)[1].weights_at(t_inference)

    def apply_programming_noise(self, weights: Array, *, rng: Generator | int) -> tuple[Array, ProgrammedArray]:
        """(programmed weights, state for `apply_drift_noise`)."""
        state = program(weights, self, rng=rng)
        return state.programmed_weights(), state

    def apply_drift_noise(
        self, weights: Array, drift_noise_parameters: ProgrammedArray, t_inference: float = 0.0, *, repeat: int = 0
    ) -> Array:
        """The programmed weights as read `t_inference` seconds later.

        The conductances come from the state, not from `weights`: re-encoding the sum of a pair would lose the pair.

        Args:
            weights, drift_noise_parameters: the two results of `apply_programming_noise`.
            t_inference: seconds after programming.
            repeat: another number is another read at that time.
        """
        drifted = drift_noise_parameters.weights_at(t_inference, repeat=repeat)
        require_same_shape(weights, drifted, "weights and the programmed array")
        return drifted

    def _checked_targets(self, g_target: Array) -> Array:
        xp, g_target = finite_array(g_target, "g_target")
        low, high = self.g_converter.g_min, self.g_converter.g_max
        slack = 1e-5 * high
        if not bool(xp.all((g_target >= low - slack) & (g_target <= high + slack))):
            raise ConductanceError(f"g_target must lie within [{low}, {high}] microsiemens, the converter's range.")
        return g_target

    # ---- parameters -------------------------------------------------------------------------------------------------

    def sealed(self) -> Self:
        """A copy whose parameters cannot be set, for what has been programmed; copies of it can be changed again."""
        twin = copy.deepcopy(self)
        object.__setattr__(twin, _SEALED, True)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return _parameters(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if _SEALED in vars(self):
            raise ConfigError(
                f"the {type(self).__name__} of programmed devices cannot be changed; change a copy.copy of it and "
                "pass that to dataclasses.replace(state, noise_model=...)."
            )
        if name not in _declared(type(self)):
            known = ", ".join(sorted(_declared(type(self))))
            raise ConfigError(f"{type(self).__name__} has no parameter {name!r} that can be set; it has {known}.")
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _parameters(other) == _parameters(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in _parameters(self).items())})"


_SEALED = "_sealed"


def _parameters(model: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(model).items() if name != _SEALED}


@functools.cache
def _declared(cls: type) -> frozenset[str]:
    return frozenset(name for base in cls.__mro__ for name in inspect.get_annotations(base))


def rectify(g: Array) -> Array:
    """max(g, 0): a conductance is not negative."""
    return at_least(g, 0.0)


def pair_converter(
    g_converter: BaseConductanceConverter | None, g_max: float | None, default: float
) -> BaseConductanceConverter:
    """The given converter, or a single pair up to `g_max` (or `default`).

    Raises:
        ConfigError: both are given and disagree.
    """
    if g_converter is None:
        return SinglePairConductanceConverter(g_max=default if g_max is None else g_max)
    require_converter(g_converter)
    if g_max is not None and g_max != g_converter.g_max:
        raise ConfigError(
            f"g_max={g_max} contradicts the converter's g_max={g_converter.g_max}; give only the converter."
        )
    return g_converter


def require_converter(g_converter: Any) -> None:
    """Raises ConfigError unless it is a conductance converter."""
    if not isinstance(g_converter, BaseConductanceConverter):
        raise ConfigError(
            f"g_converter must be a converter such as SinglePairConductanceConverter(), got {g_converter!r}."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def require_non_negative(model: BaseNoiseModel, *names: str) -> None:
    """Raises ConfigError when one of the attributes (if the model has it) is negative or not finite."""
    for name in names:
        value = getattr(model, name, 0.0)
        if not _is_number(value) or not 0.0 <= value < math.inf:
            raise ConfigError(f"{name} of {type(model).__name__} must be finite and at least 0, got {value}.")


def require_positive(model: BaseNoiseModel, *names: str) -> None:
    """Raises ConfigError when one of the attributes is not positive and finite."""
    for name in names:
        value = getattr(model, name)
        if not _is_number(value) or not 0.0 < value < math.inf:
            raise ConfigError(f"{name} of {type(model).__name__} must be positive and finite, got {value}.")


def require_finite(model: BaseNoiseModel, *names: str) -> None:
    """Raises ConfigError when one of the attributes is no finite number."""
    for name in names:
        value = getattr(model, name)
        if not _is_number(value) or not math.isfinite(value):
            raise ConfigError(f"{name} of {type(model).__name__} must be a finite number, got {value}.")


def coefficients_of(values: Any, name: str) -> tuple[float, ...]:
    """A tuple of finite floats; raises ConfigError when there is none or one is not finite."""
    result = checked_reals(values, name)
    if not result or not all(map(math.isfinite, result)):
        raise ConfigError(f"{name} needs at least one finite number, got {list(result)}.")
    return result


def table_of(values: Any, name: str) -> dict[Any, tuple[float, ...]]:
    """A mapping whose values are tuples of finite floats; raises ConfigError for anything else."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} must be a mapping to lists of numbers, got {values!r}.")
    return {key: coefficients_of(own, name) for key, own in values.items()}


def table_by_number(values: Any, name: str) -> dict[float, tuple[float, ...]]:
    """As `table_of`, with numbers as keys; those of JSON and TOML, which are text, count as the numbers they show."""
    table = table_of(values, name)
    try:
        return {float(key): numbers_there for key, numbers_there in table.items()}
    except (TypeError, ValueError):
        raise ConfigError(f"the keys of {name} must be numbers, got {', '.join(map(repr, table))}.") from None
