"""Which non-idealities were active in a forward and backward pass, and whether the gradients can move the devices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import IOParameters, NoiseManagementType, PulseType
from aihw_torch.nn.base import named_analog_tiles
from aihw_torch.tiles import AnalogTile, TileModule
from aihw_torch.utils.nonidealities import at_bounds, of_chain, of_update, of_weights
from rpu_sim.periphery import io_of
from rpu_sim.state import check_finite

# Fewer expected pulses per step on every device of a tile: it takes tens of steps for anything to move.
_FEW_PULSES = 0.1


@dataclass
class ChainReport:
    """The signal chain of one direction, over all calls.

    Attributes:
        calls, samples: how often it was used.
        perfect: whether it is exact.
        scale: mean of the noise-management scale: what a full-scale input is worth.
        input_lsb: step of the DAC in units of the input, 0 without; the mean where it follows the input.
        inputs_clipped: fraction of inputs at the bound of the DAC or outside of the input range.
        output_full_scale: bound of the ADC in units of the output, infinite without.
        output_lsb: step of the ADC in units of the output, 0 without.
        noise_in_lsb: standard deviation of the output noise over the step of the ADC, infinite without steps.
        outputs_saturated: fraction of outputs whose exact value is beyond the bound of the ADC (before bound
            management repeats the sample).
        active: the non-idealities that made a difference, those of the weights included (a modifier, a clip,
            programming errors, drift).
        idle: those that are configured and did not.
    """

    calls: int = 0
    samples: int = 0
    perfect: bool = False
    scale: float = 0.0
    input_lsb: float = 0.0
    inputs_clipped: float = 0.0
    output_full_scale: float = float("inf")
    output_lsb: float = 0.0
    noise_in_lsb: float = 0.0
    outputs_saturated: float = 0.0
    active: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)


@dataclass
class UpdateReport:
    """The update that the recorded gradient asks for.

    Attributes:
        granularity: weight change of one pulse, in units of the array.
        mean_pulses, max_pulses: expected pulses of one step on a device, mean and largest over the devices.
        beyond_trains: fraction of devices that would need more pulses than trains of `desired_bl` slots for all samples
            have.
        saturated: fraction of devices at a bound.
        active: what makes the update other than the learning rate times the gradient.
    """

    granularity: float
    mean_pulses: float
    max_pulses: float
    beyond_trains: float
    saturated: float = 0.0
    active: list[str] = field(default_factory=list)


@dataclass
class TileReport:
    """One tile."""

    forward: ChainReport
    backward: ChainReport
    update: UpdateReport | None = None


@dataclass
class Explanation:
    """What happened inside of an `explain` block, by name of the tile."""

    tiles: dict[str, TileReport] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = []
        for name, report in self.tiles.items():
            lines.append(name or "(root)")
            lines += [f"  forward   {_text(report.forward)}", f"  backward  {_text(report.backward)}"]
            if report.update is not None:
                u = report.update
                lines.append(
                    f"  update    {u.mean_pulses:.3g} pulses per device and step (at most {u.max_pulses:.3g}), "
                    f"one pulse is {u.granularity:.3g}; {100 * u.beyond_trains:.1f} % beyond the trains, "
                    f"{100 * u.saturated:.1f} % at a bound; active: {', '.join(u.active) or 'nothing'}"
                )
        return "\n".join(lines)


def _text(chain: ChainReport) -> str:
    if not chain.calls:
        return "not used"
    if chain.perfect:
        return f"exact, {chain.samples} samples" + (f"; active: {', '.join(chain.active)}" if chain.active else "")
    parts = [f"{chain.samples} samples, full scale {chain.scale:.3g}, DAC step {chain.input_lsb:.3g}"]
    parts.append(f"ADC +-{chain.output_full_scale:.3g} in steps of {chain.output_lsb:.3g}")
    parts.append(f"noise {chain.noise_in_lsb:.3g} LSB, {100 * chain.outputs_saturated:.2f} % saturated")
    parts.append("active: " + (", ".join(chain.active) or "nothing"))
    return "; ".join(parts + (["never: " + ", ".join(chain.idle)] if chain.idle else []))


@contextmanager
def explain(model: nn.Module, lr: float | None = None) -> Iterator[Explanation]:
    """Watch the tiles of a model while the block runs; the explanation is complete at its end.

    ::

        with explain(model, lr=0.1) as explanation:
            loss(model(x), y).backward()
        print(explanation)

    Args:
        model: any model with tiles.
        lr: learning rate, for the expected pulses of a step with what the block recorded; they need a backward pass
            before the step of the optimizer. A tile whose devices will hardly move gets a warning.

    Raises:
        DtypeError, NonFiniteError: the learning rate is no finite number.
    """
    if lr is not None:
        check_finite(lr, "the learning rate")
    explanation, hooks = Explanation(), []
    watches = {name: _Watch(tile) for name, tile in named_analog_tiles(model)}
    for watch in watches.values():
        hooks += watch.hooks()
    try:
        yield explanation
    finally:
        for hook in hooks:
            hook.remove()
    for name, watch in watches.items():
        report = TileReport(watch.forward, watch.backward)
        explanation.tiles[name] = report
        if lr is not None and isinstance(watch.tile, AnalogTile):
            report.update = _expected_pulses(watch.tile, lr)
            _warn_of_few(name, report.update)
            _warn_of_no_record(name, watch.tile, report)
    return


class _Watch:
    """The reports of one tile, written by hooks."""

    def __init__(self, tile: TileModule) -> None:
        self.tile = tile
        config = tile.rpu_config
        self.forward, self.backward = (ChainReport(perfect=_io(config, d).is_perfect) for d in ("forward", "backward"))

    def hooks(self) -> list[Any]:
        return [self.tile.register_forward_hook(self._after_forward)]

    def _after_forward(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        with torch.no_grad():
            x, clipped = _scaled_inputs(self.tile, inputs[0].detach().float())
            weight = self.tile._read_physical()
            _add(self.forward, _io(self.tile.rpu_config, "forward"), x, weight, clipped)
            self.forward.active += [what for what in of_weights(self.tile) if what not in self.forward.active]
        if output.requires_grad:
            output.register_hook(self._after_backward)

    def _after_backward(self, gradient: Tensor) -> None:
        with torch.no_grad():
            d = gradient.detach().float().reshape(-1, gradient.shape[-1])
            for scale in (self.tile.input_range, self.tile.mapping_scales, self.tile.out_scaling_alpha):
                d = d if scale is None else d * scale.detach().float()
            _add(self.backward, _io(self.tile.rpu_config, "backward"), d, self.tile._read_physical().T, 0.0)


def _io(config: Any, direction: str) -> IOParameters:
    return io_of(config, direction)


def _scaled_inputs(tile: TileModule, x: Tensor) -> tuple[Tensor, float]:
    """Return what the converters get, [samples, columns], and the fraction that the input range clips."""
    x, clipped = x.reshape(-1, x.shape[-1]), 0.0
    if tile.analog_bias:
        x = nn.functional.pad(x, (0, 1), value=1.0)
    if tile.input_range is not None and x.numel():
        r = tile.input_range.detach().float()
        clipped = (x.abs() > r).float().mean().item()
        x = torch.clamp(x, -r, r) / r
    return x, clipped


def _add(report: ChainReport, io: IOParameters, x: Tensor, weight: Tensor, clipped: float) -> None:
    """Add one call with inputs x [samples, in] and a weight [out, in] to the means of a report."""
    if not x.numel():
        return
    scale = _management_scale(io, x)
    seen = report.samples / (report.samples + len(x))
    report.calls, report.samples = report.calls + 1, report.samples + len(x)
    if io.is_perfect:
        return

    def mean(old: float, new: Tensor | float) -> float:
        return seen * old + (1.0 - seen) * (new.item() if isinstance(new, Tensor) else new)

    dac = x / scale
    bound = io.inp_bound if io.inp_bound > 0.0 else float("inf")
    inp_step = 2.0 * io.inp_bound * _step(io.inp_res)
    out_step = 2.0 * io.out_bound * _step(io.out_res)
    adc = dac.clamp(-bound, bound) @ weight.T
    out_bound = io.out_bound if io.out_bound > 0.0 else float("inf")
    report.scale = mean(report.scale, scale.mean())
    report.input_lsb = report.scale * max(inp_step, 0.0)
    report.inputs_clipped = mean(report.inputs_clipped, (dac.abs() > bound * (1 + 1e-6)).float().mean() + clipped)
    report.output_full_scale, report.output_lsb = report.scale * out_bound, report.scale * max(out_step, 0.0)
    report.noise_in_lsb = io.out_noise / out_step if out_step > 0.0 else float("inf") if io.out_noise else 0.0
    report.outputs_saturated = mean(report.outputs_saturated, (adc.abs() > out_bound).float().mean())
    present = {
        "input clipping": (bound < float("inf") or clipped > 0.0, report.inputs_clipped > 0.0),
        "input quantisation": (inp_step > 0.0, True),
        "output quantisation": (out_step > 0.0, True),
        "output saturation": (out_bound < float("inf"), report.outputs_saturated > 0.0),
        **dict.fromkeys(of_chain(io), (True, True)),
    }
    report.active = [name for name, (configured, fired) in present.items() if configured and fired]
    report.idle = [name for name, (configured, fired) in present.items() if configured and not fired]


def _step(resolution: float) -> float:
    """Return a resolution as the fraction of the range that it is."""
    return 1.0 / resolution if resolution > 1.0 else max(resolution, 0.0)


def _management_scale(io: IOParameters, x: Tensor) -> Tensor:
    """Return the scale of each sample, [samples, 1]."""
    ones = torch.ones(len(x), 1)
    if io.is_perfect or io.noise_management is NoiseManagementType.NONE:
        return ones
    if io.noise_management is NoiseManagementType.CONSTANT:
        return ones * io.nm_thres if io.nm_thres > 0.0 else ones
    scale = x.amax(1, keepdim=True) if io.noise_management is NoiseManagementType.MAX else x.abs().amax(1, keepdim=True)
    scale = scale.clamp(max=io.nm_thres) if io.nm_thres > 0.0 else scale
    return torch.where(scale > 0.0, scale, ones)


def _expected_pulses(tile: AnalogTile, lr: float) -> UpdateReport | None:
    """Return the pulses that the recorded gradient asks for, None where there is no record or there are no pulses."""
    recorded = tile.record.peek()
    update = getattr(tile.rpu_config, "update", None)
    step = tile.tile.granularity
    if recorded is None or update is None or update.pulse_type is PulseType.NONE or step <= 0.0:
        return None
    x, d = recorded
    change = abs(lr) * (d.T @ x).abs()
    if tile.mapping_scales is not None:
        change = change / tile.mapping_scales.view(-1, 1)
    pulses = change / step
    available = update.desired_bl * len(x)
    beyond = (pulses > available).float().mean().item()
    return UpdateReport(step, pulses.mean().item(), pulses.max().item(), beyond, at_bounds(tile), of_update(tile))


def _warn_of_few(name: str, report: UpdateReport | None) -> None:
    if report is not None and report.max_pulses < _FEW_PULSES:
        warnings.warn(
            f"no device of {name or 'the tile'} gets more than {report.max_pulses:.2g} pulses per step, so it will "
            f"hardly move; raise the learning rate, or take a device with steps smaller than {report.granularity:.2g}",
            stacklevel=4,
        )


def _warn_of_no_record(name: str, tile: AnalogTile, report: TileReport) -> None:
    if report.backward.calls and tile.weight_token.requires_grad and not len(tile.record):
        warnings.warn(
            f"the gradient of {name or 'the tile'} is gone, so there are no expected pulses; step the optimizer after "
            "the block of explain()",
            stacklevel=4,
        )
