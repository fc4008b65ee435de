"""The configuration of hardware-aware training and of inference on programmed devices."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import aihw_inference
from aihw_inference import BaseDriftCompensation, BaseNoiseModel, GlobalDriftCompensation, PCMLikeNoiseModel
from aihw_torch.errors import ConfigError
from rpu_sim.config import (
    IOParameters,
    IOParametersIRDropT,
    RPUConfigBase,
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from rpu_sim.config.base import param, require
from rpu_sim.config.plain import register_class

_PARTS = (BaseNoiseModel, BaseDriftCompensation, aihw_inference.BaseConductanceConverter)


@dataclass
class InferenceRPUConfig(RPUConfigBase):
    """A tile whose weights are trained in software and then programmed into devices.

    In training each forward pass clips, remaps and modifies the weights as the fields of those names say, and reads
    them through the `forward` chain; gradients pass straight through all of it and the backward product is exact. In
    evaluation the weights are those last programmed and drifted, or the trained ones before that.
    """

    forward: IOParameters = param(IOParameters, "Signal chain of the forward product.")
    noise_model: BaseNoiseModel = param(PCMLikeNoiseModel, "Devices that the weights are programmed into.")
    drift_compensation: Any = param(GlobalDriftCompensation, "Digital factor on the outputs against drift, or None.")
    clip: WeightClipParameter = param(WeightClipParameter, "Bound of the weights, kept at every training forward.")
    remap: WeightRemapParameter = param(WeightRemapParameter, "How the mapping scales follow the weights.")
    modifier: WeightModifierParameter = param(WeightModifierParameter, "Noisy copy of the weights, one per forward.")
    read_noise_per_mvm: bool = param(
        False, "Draw the read noise of drifted weights in every product, at its outputs; otherwise once per drift."
    )
    remap_every: int = param(1, "Training forwards from one remap to the next; 0 leaves it to remap_to_range().")

    def check(self) -> None:
        super().check()
        compensation = self.drift_compensation
        require(
            compensation is None or isinstance(compensation, BaseDriftCompensation),
            self,
            "drift_compensation must be a drift compensation of aihw_inference, or None",
        )
        require(self.remap_every >= 0, self, "remap_every must not be negative")
        self.noise_model.check()


@dataclass
class TorchInferenceRPUConfig(InferenceRPUConfig):
    """The same as `InferenceRPUConfig`, under the name for the tile that used to be written in torch."""


@dataclass
class TorchInferenceRPUConfigIRDropT(TorchInferenceRPUConfig):
    """`InferenceRPUConfig` whose evaluation has the IR drop of pulses of different length; training reads without."""

    forward: IOParameters = param(IOParametersIRDropT, "Signal chain of the forward product.")


def arguments_of(part: Any) -> dict[str, Any]:
    """Return the plain form of a noise model, converter or compensation: its class and its constructor's arguments."""
    fields = {"class": type(part).__name__}
    for name in inspect.signature(type(part)).parameters:
        if hasattr(part, name):
            fields[name] = _plain(getattr(part, name))
    if "g_converter" in fields:
        fields.pop("g_max", None)  # that of the converter
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, _PARTS):
        return arguments_of(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def register_part(cls: type) -> None:
    """Let saved configurations name a noise model, a converter or a compensation of your own.

    Its constructor's arguments must be attributes of the same names. A tile registers what its configuration holds, so
    this is needed only to read a configuration before any tile with it was made.
    """

    def made(plain: dict[str, Any]) -> Any:
        arguments = {name: _made(value) for name, value in plain.items() if name != "class"}
        unknown = arguments.keys() - inspect.signature(cls).parameters.keys()
        if unknown:
            raise ConfigError(
                f"{cls.__name__} has no parameter {', '.join(sorted(unknown))}; correct the configuration"
            )
        return cls(**arguments)

    register_class(cls, arguments_of, made)


def _made(value: Any) -> Any:
    from rpu_sim.config import from_dict

    return from_dict(value) if isinstance(value, dict) and "class" in value else value


for _config in (InferenceRPUConfig, TorchInferenceRPUConfig, TorchInferenceRPUConfigIRDropT):
    register_class(_config)
for _part in (getattr(aihw_inference, name) for name in aihw_inference.__all__):
    if isinstance(_part, type) and issubclass(_part, _PARTS) and not inspect.isabstract(_part):
        register_part(_part)
