"""The tile of hardware-aware training and of inference on programmed devices."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import rpu_sim
from aihw_inference import BaseNoiseModel
from aihw_torch import ops, threads
from aihw_torch.config import InferenceRPUConfig, WeightClipType, WeightRemapType, register_part, to_dict
from aihw_torch.errors import ConfigError, RpuError, ShapeError, StateError
from aihw_torch.inference import compiled
from aihw_torch.inference.layer import LayerCall, apply_layer
from aihw_torch.inference.product import Call, InferenceProduct
from aihw_torch.inference.programmed import ProgrammedTile
from aihw_torch.inference.reading import Reading, constants_of, in_training, modifies
from aihw_torch.patches import Kernel, format_of, is_plain
from aihw_torch.tiles import input_range as ranges
from aihw_torch.tiles import state
from aihw_torch.tiles.mapping import register_tile_class
from aihw_torch.tiles.weight import WeightTile
from rpu_sim.weight_ops import WeightClip, clip_weights, remap_weights


class InferenceTile(WeightTile):
    """A matrix that is trained in software, with the flaws of the array in view, and then programmed into devices.

    `weight` is an ordinary parameter for any optimizer of torch, and nothing but training changes it. A forward pass in
    training clips it (the parameter itself, at the bound of `clip`), lets the mapping scales follow (`remap`), and
    reads a modified copy (`modifier`) through the `forward` chain. In evaluation the array holds what was last
    programmed and drifted, see `program_weights`; before that, and after the weight was changed, the trained weight.

    Args:
        out_size: number of outputs (rows).
        in_size: number of inputs (columns).
        rpu_config: `InferenceRPUConfig()` by default; the tile takes a frozen copy.
        bias: whether to add a bias, digital or as one more column of the array as `mapping.digital_bias` says.
        seed: of all randomness of the tile; by default it follows torch's (see `seeds`).

    Attributes:
        programmed: the devices with the weights programmed into them, or None.
        exact: read without converters and input range, for calibration.
    """

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        config = InferenceRPUConfig() if rpu_config is None else rpu_config
        if not isinstance(config, InferenceRPUConfig):
            raise ConfigError(f"an inference tile needs an InferenceRPUConfig, not {type(config).__name__}")
        super().__init__(out_size, in_size, config, bias, seed=seed)
        if config.remap.type is not WeightRemapType.NONE:
            self.set_mapping_scales(torch.ones(out_size, device="cpu"))
        self.programmed: ProgrammedTile | None = None
        self._clipped_at = -1
        self._adopt_config()

    def _adopt_config(self) -> None:
        config = self.rpu_config
        for part in (config.noise_model, config.drift_compensation):
            if part is not None:
                register_part(type(part))
        self._clip_text, self._remap_text = json.dumps(to_dict(config.clip)), json.dumps(to_dict(config.remap))
        self._bound = None if config.clip.type is WeightClipType.NONE else WeightClip(config.clip)
        self._may_remap = config.remap_every > 0 and config.remap.type is not WeightRemapType.NONE
        # Looked up here once, not in every call.
        parameters = config.pre_post.input_range
        self._batches_for_range = parameters.init_from_data if parameters.enable else 0
        self._decay_of_range = parameters.decay, parameters.input_min_percentage
        # Whether the gradient of the input range is one that only the parts of a forward pass have.
        self._goes_by_parts = parameters.enable and (
            parameters.gradient == "legacy" or parameters.manage_output_clipping
        )
        out_size, in_size = self.weight.shape
        constants = constants_of(config.forward, config.mapping, (out_size, in_size), self.seed)
        self._prepare_readings({name: values.to(self.device) for name, values in constants.items()})

    def _prepare_readings(self, constants: dict[str, Tensor]) -> None:
        config, self._constants = self.rpu_config, constants
        modifier = config.modifier if modifies(config.modifier) else None
        tested = modifier if modifier is not None and modifier.enable_during_test else None
        self._read_in_training = Reading(in_training(config.forward), config.mapping, constants, modifier)
        self._read_in_test = Reading(config.forward, config.mapping, constants, tested, evaluate=True)
        if self.programmed is not None:
            self.programmed.read_through(self._read_in_test)

    def _convert(self, fn: Callable[[Tensor], Tensor], recurse: bool) -> None:
        before, programmed, clipped = self.device, self.current_program(), self._is_clipped()
        super()._convert(fn, recurse)
        if self.device == before:
            return
        self._clipped_at = self.weight._version if clipped else -1
        self.programmed = None
        self._prepare_readings({name: values.to(self.device) for name, values in self._constants.items()})
        if programmed is not None:
            moved = {name: values.to(self.device) for name, values in programmed.state().items()}
            self.programmed = ProgrammedTile.from_state(
                moved, self.rpu_config, self._read_in_test, version=self.weight._version
            )

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration; constants of the converters are drawn again from the seed."""
        super().reconfigure(**changes)
        self._adopt_config()

    # ---- forward

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias as the tile computes it: [..., in] -> [..., out]."""
        if torch.compiler.is_compiling() or self.exact or self._goes_by_parts:
            return super().forward(x)
        # The short way: range, product, scales and bias are one node of the graph.
        x, dtype = self._enter(x)
        if self.training and 0 < self._batches_for_range > self.input_range_update_idx.item():
            input_range, parameters = self.input_range, self._config.pre_post.input_range
            assert input_range is not None
            ranges.follow_data(input_range, self.input_range_update_idx, x, parameters)
        if self.analog_bias:
            x = torch.nn.functional.pad(x, (0, 1), value=1.0)
        return self._in_one_node(x, dtype, None)

    def _in_one_node(self, x: Tensor, dtype: torch.dtype, kernel: Kernel | None) -> Tensor:
        programmed = None if self.training else self.current_program()
        # What was programmed is in units of the array, so that its scale comes later, and then the bias too.
        mapping = None if programmed is None else self.mapping_scales
        compensation = None if programmed is None else programmed.alpha
        factors = [scale for scale in (mapping, self.out_scaling_alpha, compensation) if scale is not None]
        bias = None if factors else self.bias
        y = self._read(x, programmed, self.input_range, bias, self._count(x), kernel)
        for scale in factors:
            y = y * scale
        return self._leave(y, dtype) if factors else y if y.dtype is dtype else y.to(dtype)

    def of_patches(self, images: Tensor, kernel: Kernel) -> Tensor:
        """Return the outputs [samples, *positions, out]; the patches are not copied where nothing has to see them."""
        if not self._reads_images(images):
            return super().of_patches(images, kernel)
        kernel.must_fit(images)
        return self._in_one_node(images, torch.float32, kernel)

    def _reads_images(self, images: Tensor) -> bool:
        """Whether the short way serves, and takes images: hooks and the data of a range need patches."""
        if self.exact or self._goes_by_parts or not self.takes_images(images, InferenceTile.forward):
            return False
        if self.training and 0 < self._batches_for_range > self.input_range_update_idx.item():
            return False
        return self._is_one_call(None if self.training else self.current_program())

    def _is_one_call(self, programmed: ProgrammedTile | None) -> bool:
        """Whether the core computes the product of a layer, with what is programmed, in one call."""
        if not self._reading(programmed).is_one_call or self.device.type != "cpu":
            return False
        return (r := self.input_range) is None or r.item() > 0.0

    def _reading(self, programmed: ProgrammedTile | None) -> Reading:
        if programmed is not None:
            return programmed.reading
        return self._read_in_training if self.training else self._read_in_test

    def product(self, x: Tensor, step: Tensor) -> Tensor:
        """Return what the array computes times the mapping scale, [..., out] of x [..., in] in units of the DAC."""
        if torch.compiler.is_compiling():
            return self._compiled_product(x, step)
        programmed = None if self.training else self.current_program()
        if self.exact:
            if x.shape[-1] != self.weight.shape[1]:
                raise ShapeError(f"the {self.describe()} takes inputs [..., {self.in_size}], not {tuple(x.shape)}")
            self._follow_training(int(step))
            y = torch.nn.functional.linear(x, self.physical_weight() if programmed is None else programmed.weights)
        else:
            y = self._read(x, programmed, None, None, int(step), None)
            if programmed is None:
                return y
        return y if self.mapping_scales is None else y * self.mapping_scales

    def _read(
        self,
        x: Tensor,
        programmed: ProgrammedTile | None,
        input_range: Tensor | None,
        bias: Tensor | None,
        step: int,
        kernel: Kernel | None,
    ) -> Tensor:
        """Return product number `step`: of the trained weight with its mapping scale, or of what is programmed.

        The samples are the rows of x, or what the positions of a kernel see in the images x.
        """
        threads.follow_torch()
        self._follow_training(step)
        weight = self.weight.float() if programmed is None else programmed.weights
        scale, r, b = (
            t if t is None or t.dtype is torch.float32 else t.float()
            for t in (self.mapping_scales if programmed is None else None, input_range, bias)
        )
        samples = x.numel() // x.shape[-1] if kernel is None else kernel.samples(x.shape)
        reading, address = self._reading(programmed), (self.seed, step, self.forward_offset(samples))
        y: Tensor
        try:
            plain = is_plain(x) and x.layout is torch.strided
            if kernel is not None or (plain and self._is_one_call(programmed)):
                if kernel is None or format_of(x) is torch.contiguous_format:
                    x = x.contiguous()
                x = x.resolve_neg()
                call = LayerCall(reading, address, 0.0 if r is None else r.item(), *self._decay_of_range, kernel)
                y = apply_layer(x, weight.contiguous(), scale, r, b, call)
            else:
                y = InferenceProduct.apply(x, weight, scale, r, b, Call(reading, address, *self._decay_of_range))  # type: ignore[no-untyped-call]
        except RpuError:
            self.forward_step.fill_(step)  # the call did not happen
            raise
        return y

    def _follow_training(self, step: int) -> None:
        """Clip and remap what the optimizer left, as far as the mode asks for it."""
        if self._bound is not None or self._may_remap:
            self.follow_weight(remap=self._remaps() and step % self.rpu_config.remap_every == 0)

    def _compiled_product(self, x: Tensor, step: Tensor) -> Tensor:
        """The same for a compiler; the clip acts on what is read, the parameter follows at the next eager forward."""
        config, reading = self.rpu_config, self._read_in_training if self.training else self._read_in_test
        if self.training and "forward_running_mean" in self._constants:
            ops.refuse_running_mean(self.describe())
        if self.training:
            self.programmed = None  # the version of the weight, which else tells, is not seen by a compiler
        programmed = self.programmed
        if programmed is None:
            weight = self.physical_weight()
        else:
            weight, reading = programmed.weights, programmed.reading
        old = scale = self.mapping_scales
        if programmed is None and config.clip.type is not WeightClipType.NONE:
            weight = weight + (compiled.clipped(weight.detach(), self._clip_text) - weight).detach()
        if old is not None and self._remaps():
            scale = compiled.remapped_scales(weight.detach(), old, self._remap_text)
            scale = torch.where(step % config.remap_every == 0, scale, old)
            weight = weight * (old / scale).view(-1, 1)
            self.mapping_scales = scale
        y = compiled.compiled_product(x, weight, reading, self.seed_tensor, step, self.sample_offset(x))
        return y if scale is None else y * scale

    def output_factor(self) -> Tensor | None:
        """Return the drift compensation of the programmed weights in evaluation, a number or [out]; or None."""
        compiling = torch.compiler.is_compiling()
        programmed = None if self.training else self.programmed if compiling else self.current_program()
        return None if programmed is None else programmed.alpha

    def _to_range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.exact:
            return super()._to_range(x)
        x = torch.nn.functional.pad(x, (0, 1), value=1.0) if self.analog_bias else x
        return x, torch.ones((), dtype=x.dtype, device=x.device)

    def array_weight(self) -> Tensor:
        """Return what the array holds in evaluation, [out, in] in its units, without gradient."""
        programmed = self.current_program()
        return self.physical_weight().detach() if programmed is None else programmed.weights

    def follow_weight(self, *, remap: bool = False) -> None:
        """Clip the weight if it has changed; with `remap`, let the mapping scales follow it."""
        if not self._is_clipped():
            self._clip()
        if remap:
            self.remap_to_range()

    def _is_clipped(self) -> bool:
        return self._bound is None or self.weight._version == self._clipped_at

    @torch.no_grad()
    def _clip(self) -> None:
        assert self._bound is not None
        scales = None if self.mapping_scales is None else self.mapping_scales.float()
        if self.weight.is_cpu and self.weight.dtype is torch.float32 and self.weight.is_contiguous():
            given = (None, 0) if scales is None else (scales.data_ptr(), scales.shape[0])
            if self._bound.hold_at(self.weight.data_ptr(), tuple(self.weight.shape), *given):
                torch.autograd.graph.increment_version(self.weight)
        elif not self._bound.leaves(physical := self.physical_weight()):
            clipped = clip_weights(physical, self.rpu_config.clip)
            logical = clipped if scales is None else clipped * scales.view(-1, 1)
            # The others keep their bits, which a multiplication by the scale would not leave.
            self.weight.copy_(torch.where(clipped != physical, logical, self.weight))
        self._clipped_at = self.weight._version

    def _remaps(self) -> bool:
        """Whether forward passes in the present mode remap."""
        return self._may_remap and self.training and torch.is_grad_enabled()

    @torch.no_grad()
    def remap_to_range(self) -> None:
        """Set the mapping scales so that the weights use the range of the devices, as `remap` says; once.

        The weight is the product of both and stays as it is.
        """
        physical = self.physical_weight()
        scales = torch.ones(1, device=self.device) if self.mapping_scales is None else self.mapping_scales.float()
        self.set_mapping_scales(remap_weights(physical, scales, self.rpu_config.remap)[1])

    # ---- devices

    def current_program(self) -> ProgrammedTile | None:
        """Return the programmed devices, or None: not programmed, or the weight has changed since."""
        programmed = self.programmed
        return programmed if programmed is not None and programmed.version == self.weight._version else None

    def program_weights(
        self, from_reference: bool = True, noise_model: BaseNoiseModel | None = None, *, seed: int | None = None
    ) -> None:
        """Program the weights into the devices of the noise model; evaluation uses them until the weight changes.

        The trained weight stays as it is. The compensation takes its baseline from the new state.

        Args:
            from_reference: program the trained weight; False programs what the array holds now, drifted and all.
            noise_model: the devices from now on; by default those of the configuration.
            seed: of the devices; by default every programming makes new ones.
        """
        if noise_model is not None:
            self.reconfigure(noise_model=noise_model)
        self.follow_weight()
        target = self.physical_weight().detach() if from_reference else self.array_weight()
        number = 0 if self.programmed is None else self.programmed.number + 1
        seed = rpu_sim.derive_seed(self.seed, "programming", number) if seed is None else seed
        self.programmed = ProgrammedTile.program(
            target, self.rpu_config, self._read_in_test, seed=seed, version=self.weight._version, number=number
        )

    def drift_weights(self, t_inference: float = 0.0) -> None:
        """Read the devices `t_inference` seconds after they were programmed; evaluation uses these weights.

        Tiles that are not programmed, or whose weight has changed, are programmed first. Every call draws new read
        noise; programming errors and drift exponents stay, so times may come in any order.
        """
        if self.current_program() is None:
            self.program_weights()
        assert self.programmed is not None
        self.programmed.drift(t_inference)

    def read_programmed(self) -> Tensor:
        """Return the logical weight that evaluation computes with, [out, in], drift compensation included."""
        programmed = self.current_program()
        if programmed is None:
            raise StateError("this tile is not programmed; call program_weights() or drift_weights(t)")
        weight = programmed.weights
        for factor in (self.mapping_scales, programmed.alpha):
            weight = weight if factor is None else weight * factor.float().view(-1, 1)
        return weight

    @property
    def alpha(self) -> Tensor:
        """The factor of the drift compensation, 1 where nothing is compensated."""
        programmed = self.current_program()
        return (
            torch.ones((), device=self.device) if programmed is None or programmed.alpha is None else programmed.alpha
        )

    @property
    def programming_state(self) -> str:
        """`target` (not programmed), `programmed`, or `drifted`."""
        programmed = self.current_program()
        return "target" if programmed is None else "programmed" if programmed.t_inference is None else "drifted"

    def _weights_changed(self) -> None:
        super()._weights_changed()
        self.programmed = None

    # ---- state

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, values in self._constants.items():
            destination[prefix + "constants." + name] = values.clone()
        destination[prefix + "clipped"] = torch.tensor(self._is_clipped(), device="cpu")
        if (programmed := self.current_program()) is not None:
            for name, values in programmed.state().items():
                destination[prefix + "programmed." + name] = values

    def _prepare_load(self, given: dict[str, Tensor], found: state.Findings) -> Callable[[], None]:
        clipped = given.pop("clipped", torch.tensor(False, device="cpu"))
        constants, programmed = (_taken(given, part) for part in ("constants.", "programmed."))
        meta = given.get("meta")
        write_weight = super()._prepare_load(given, found)
        try:
            if clipped.numel() != 1:
                raise StateError("clipped is damaged; save it again")
            if programmed:
                noise_model = self._loaded_config(meta, state.Findings(found.where)).noise_model
                ProgrammedTile.check_state(programmed, tuple(self.weight.shape), noise_model)
        except StateError as error:
            found.errors.append(f"{found.where}: {error}")

        def write() -> None:
            write_weight()
            self._adopt_config()
            self._clipped_at = self.weight._version if clipped else -1
            if {name: v.shape for name, v in constants.items()} == {k: v.shape for k, v in self._constants.items()}:
                for name, values in constants.items():
                    self._constants[name].copy_(values)
            if programmed:
                self.programmed = ProgrammedTile.from_state(
                    programmed, self.rpu_config, self._read_in_test, version=self.weight._version
                )

        return write

    def _loaded_config(self, meta: Tensor | None, found: state.Findings) -> Any:
        config = super()._loaded_config(meta, found)
        if isinstance(config, InferenceRPUConfig):
            return config
        found.errors.append(
            f"the configuration in the state of {found.where} is of the class {type(config).__name__}, which is not "
            "one of inference; load it with load_rpu_config=False"
        )
        return self._config

    def __getstate__(self) -> dict[str, Any]:
        clipped = 0 if self._is_clipped() else -1
        return {**super().__getstate__(), "programmed": self.current_program(), "_clipped_at": clipped}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        super().__setstate__(attributes)
        if self._clipped_at == 0:  # versions count anew in a copy
            self._clipped_at = self.weight._version
        if self.programmed is not None:
            self.programmed.version = self.weight._version


def _taken(given: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take what starts with a prefix out of `given`; return it without the prefix."""
    return {name.removeprefix(prefix): given.pop(name) for name in list(given) if name.startswith(prefix)}


register_tile_class(InferenceRPUConfig, InferenceTile)
