"""Parameters of the digital periphery around a tile; the simulator core ignores them, frontends use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .base import ConfigBase, param, require
from .enums import AnalogMVType, BoundManagementType, NoiseManagementType, RPUDataType
from .io import IOParameters


@dataclass
class MappingParameter(ConfigBase):
    """How the weight matrix of a layer is put onto tiles."""

    digital_bias: bool = param(True, "Keep the bias in digital instead of an extra column of the crossbar.")
    weight_scaling_omega: float = param(0.0, "Largest absolute weight after mapping; 0 maps without scaling.")
    weight_scaling_columnwise: bool = param(False, "One mapping scale per output instead of one per tile.")
    weight_scaling_lr_compensation: bool = param(False, "Put the mean mapping scale into the learning rate.")
    learn_out_scaling: bool = param(False, "Learn a digital output scale.")
    out_scaling_columnwise: bool = param(False, "One learned output scale per output.")
    max_input_size: int = param(512, "Most columns of one tile; 0 is unlimited.")
    max_output_size: int = param(512, "Most rows of one tile; 0 is unlimited.")

    def check(self) -> None:
        super().check()
        require(self.max_input_size >= 0 and self.max_output_size >= 0, self, "tile sizes must not be negative")


@dataclass
class InputRangeParameter(ConfigBase):
    """The learned input range of a tile."""

    enable: bool = param(False, "Clip inputs to a range and scale them to the DAC.")
    learn_input_range: bool = param(True, "Learn the range by gradient.")
    init_value: float = param(3.0, "Initial range.", unit="input")
    init_from_data: int = param(100, "Batches from which the range is initialised.")
    init_std_alpha: float = param(3.0, "Range in standard deviations of the inputs during initialisation.")
    decay: float = param(0.001, "Shrinks a range that clips too little.")
    input_min_percentage: float = param(0.95, "Fraction of inputs that should lie inside the range.")
    manage_output_clipping: bool = param(False, "Let the range grow where outputs are clipped; both managements off.")
    output_min_percentage: float = param(0.95, "Fraction of outputs that should not be clipped.")
    gradient_scale: float = param(1.0, "Factor on the gradient of the range (``legacy`` only).")
    gradient_relative: bool = param(True, "Make the gradient relative to the range (``legacy`` only).")
    gradient: str = param("exact", "``exact``: the chain rule; ``legacy``: a signed sum over the clipped inputs.")

    def check(self) -> None:
        super().check()
        require(self.init_value > 0.0, self, "init_value must be positive")
        require(self.gradient in ("exact", "legacy"), self, "gradient must be 'exact' or 'legacy'")
        require(
            self.gradient == "legacy" or self.gradient_scale == 1.0,
            self,
            "gradient_scale belongs to gradient='legacy'; leave it at 1 for the exact gradient",
        )
        require(
            self.gradient == "legacy" or self.gradient_relative,
            self,
            "gradient_relative belongs to gradient='legacy'; leave it at True for the exact gradient",
        )
        require(0.0 <= self.input_min_percentage <= 1.0, self, "input_min_percentage is a fraction from 0 to 1")
        require(0.0 <= self.output_min_percentage <= 1.0, self, "output_min_percentage is a fraction from 0 to 1")

    def supports_manage_output_clipping(self, rpu_config: Any) -> bool:
        """Whether clipped outputs can be seen: with a converter, and nothing that scales inputs for each sample."""
        forward = getattr(rpu_config, "forward", None)
        return (
            isinstance(forward, IOParameters)
            and not forward.is_perfect
            and forward.mv_type is not AnalogMVType.IDEAL
            and forward.out_bound > 0.0
            and forward.noise_management is NoiseManagementType.NONE
            and forward.bound_management is BoundManagementType.NONE
        )

    def must_manage_output_clipping(self, rpu_config: Any) -> bool:
        """Whether a tile of this configuration has to look at its clipped outputs.

        Raises:
            ConfigError: if it should but cannot.
        """
        if not (self.enable and self.manage_output_clipping):
            return False
        require(
            self.supports_manage_output_clipping(rpu_config),
            self,
            "manage_output_clipping needs a forward chain with an out_bound, noise_management=NONE and "
            "bound_management=NONE",
        )
        return True


@dataclass
class PrePostProcessingParameter(ConfigBase):
    """Digital processing before and after a tile."""

    input_range: InputRangeParameter = param(InputRangeParameter, "The learned input range.")


@dataclass
class RuntimeParameter(ConfigBase):
    """Settings of the run that do not change the physics."""

    data_type: RPUDataType = param(RPUDataType.FLOAT, "Data type at the edge of the tile.")
    offload_input: bool = param(False, "Keep saved inputs in host memory.")
    offload_gradient: bool = param(False, "Keep recorded gradients in host memory.")
