"""The devices of one tile: weights programmed into them, read at some time, and what compensates their drift."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

import rpu_sim
from aihw_inference import Philox, ProgrammedArray, program
from aihw_inference.converters import ConversionParameters
from aihw_torch.errors import StateError
from aihw_torch.inference.reading import NoisyReading, Reading

_ARRAYS = ("targets", "g_prog", "drift_coefficients", "scale_ratio", "w_low")


class ProgrammedTile:
    """Programmed devices and the weights read from them last.

    The compensation compares reads of its probe through the converters: the baseline once, right after programming, and
    again at every drift. Their noise follows from the seed of the devices, so a state is repeatable.

    Args:
        devices: the programmed devices, targets in units of the array.
        rpu_config: the configuration of the tile.
        reading: how the tile is read in evaluation.
        version: of the tile's weight when it was programmed.
        number: of this programming among those of the tile.

    Attributes:
        weights: what the array holds, [out, in].
        alpha: drift compensation, a number or [out]; None without one.
        baseline: readout right after programming; None without compensation.
        t_inference: seconds after programming of the last read; None if there was none.
        reads: number of reads so far.
    """

    def __init__(
        self, devices: ProgrammedArray, rpu_config: Any, reading: Reading, *, version: int, number: int = 0
    ) -> None:
        self.devices, self.version, self.number = devices, version, number
        self._compensation = rpu_config.drift_compensation
        self.reading: Reading = reading
        self._per_mvm = rpu_config.read_noise_per_mvm
        self.weights: Tensor = devices.programmed_weights()
        self.alpha: Tensor | None = None
        self.baseline: Tensor | None = None
        self.t_inference: float | None = None
        self.reads = 0

    @classmethod
    def program(
        cls, target: Tensor, rpu_config: Any, reading: Reading, *, seed: int, version: int, number: int
    ) -> Self:
        """Program `target` [out, in] into new devices of `seed`."""
        devices = program(target, rpu_config.noise_model, rng=Philox(seed))
        return cls.of_devices(devices, rpu_config, reading, version=version, number=number)

    @classmethod
    def of_devices(
        cls, devices: ProgrammedArray, rpu_config: Any, reading: Reading, *, version: int, number: int
    ) -> Self:
        """Take devices that were just programmed; the compensation reads its baseline."""
        made = cls(devices, rpu_config, reading, version=version, number=number)
        if made._compensation is not None:
            made.baseline = made._compensation.init_baseline(partial(made.probe, drifted=False), devices.weights)
        return made

    def drift(self, t_inference: float) -> None:
        """Read the devices `t_inference` seconds after programming, and compensate; a bad time changes nothing."""
        if self._per_mvm:
            weights, variance = self.devices.read_parts_at(t_inference)
            self._take_variance(variance)
        else:
            weights = self.devices.weights_at(t_inference, repeat=self.reads)
        self.weights, self.t_inference = weights, float(t_inference)
        self.reads += 1
        if self._compensation is not None and self.baseline is not None:
            probe = partial(self.probe, drifted=True)
            self.alpha = self._compensation.alpha(probe, self.baseline, self.devices.weights)

    def read_through(self, reading: Reading) -> None:
        """Read through another chain from now on."""
        now = self.reading
        self.reading = NoisyReading(reading, now.variance) if isinstance(now, NoisyReading) else reading

    def _take_variance(self, variance: Tensor) -> None:
        plain = self.reading.plain if isinstance(self.reading, NoisyReading) else self.reading
        self.reading = NoisyReading(plain, variance)

    def probe(self, x: Tensor, *, drifted: bool) -> Tensor:
        """Return the product that the compensation compares, [..., out] of x [..., in], with noise of its own.

        Args:
            x: probe inputs.
            drifted: of the weights that were read last; otherwise of those right after programming.
        """
        seed = rpu_sim.derive_seed(self.devices.rng.seed, "drift" if drifted else "baseline")
        if drifted:
            return self.reading.product(x, self.weights, (seed, self.reads, 0))
        plain = self.reading.plain if isinstance(self.reading, NoisyReading) else self.reading
        return plain.product(x, self.devices.programmed_weights(), (seed, 0, 0))

    # ---- state

    def state(self) -> dict[str, Tensor]:
        """Return everything as tensors, by name; `from_state` continues from it."""
        parameters = self.devices.parameters
        arrays = dict(
            zip(
                _ARRAYS,
                (
                    self.devices.weights,
                    self.devices.g_prog,
                    self.devices.drift_coefficients,
                    parameters.scale_ratio,
                    parameters.w_low,
                ),
                strict=True,
            )
        )
        arrays["read"] = self.weights
        if isinstance(self.reading, NoisyReading):
            arrays["read_variance"] = self.reading.variance
        for name in ("alpha", "baseline"):
            if (values := getattr(self, name)) is not None:
                arrays[name] = values
        time = torch.nan if self.t_inference is None else self.t_inference
        arrays["time"] = torch.tensor(time, dtype=torch.float64, device="cpu")
        seed = self.devices.rng.seed
        arrays["counters"] = torch.tensor([seed & 0xFFFFFFFF, seed >> 32, self.number, self.reads], device="cpu")
        return {name: values.clone() for name, values in arrays.items()}

    @staticmethod
    def check_state(state: dict[str, Any], shape: tuple[int, ...], noise_model: Any) -> None:
        """Raise `StateError` unless the arrays of a state are sound for weights [out, in] of that shape."""
        missing = {*_ARRAYS, "read", "time", "counters"} - state.keys()
        if missing:
            raise StateError(f"the state of programmed weights lacks {', '.join(sorted(missing))}; save it again")
        sizes = {"time": (), "counters": (4,), "read": shape, "targets": shape, "g_prog": (None, *shape)}
        for name, values in state.items():
            wanted = sizes.get(name, tuple(values.shape))
            fits = len(wanted) == values.dim() and all(
                a in (None, b) for a, b in zip(wanted, values.shape, strict=True)
            )
            if not fits or (name != "time" and not torch.isfinite(values).all()):
                raise StateError(f"programmed.{name} is damaged: {tuple(values.shape)} or not finite; save it again")
        _stored_devices(state, noise_model)

    @classmethod
    def from_state(cls, state: dict[str, Tensor], rpu_config: Any, reading: Reading, *, version: int) -> Self:
        """Return what `state` described; the noise model is that of the configuration.

        Raises:
            StateError: something is missing or does not fit.
        """
        _, _, number, reads = state["counters"].tolist()
        devices = _stored_devices(state, rpu_config.noise_model)
        made = cls(devices, rpu_config, reading, version=version, number=number)
        made.weights, made.reads = state["read"].clone(), reads
        if "read_variance" in state:
            made._take_variance(state["read_variance"].clone())
        made.alpha, made.baseline = state.get("alpha"), state.get("baseline")
        time = float(state["time"])
        made.t_inference = None if time != time else time
        return made


def _stored_devices(state: dict[str, Tensor], noise_model: Any) -> ProgrammedArray:
    """Return the devices that a state describes; `StateError` if the noise model has others."""
    low, high, *_ = state["counters"].tolist()
    parameters = ConversionParameters(state["scale_ratio"], state["w_low"])
    arrays = state["targets"], state["g_prog"], state["drift_coefficients"]
    try:
        return ProgrammedArray(*arrays, parameters, noise_model, Philox(low | high << 32))
    except ValueError as error:
        raise StateError(f"the state of programmed weights does not fit the noise model: {error}") from None
