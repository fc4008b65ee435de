"""The flaws that a tile is configured to have, by the names under which `explain` lists them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from aihw_torch.config import IOParameters, PulsedDevice, PulseType, WeightClipType
from aihw_torch.inference.reading import modifies
from aihw_torch.inference.tile import InferenceTile
from aihw_torch.tiles import AnalogTile, TileModule
from rpu_sim.config.base import walk

# Parameters of the signal chain that act whenever they are not 0; clipping and saturation depend on the numbers.
_CHAIN = {
    "inp_noise": "input noise",
    "inp_asymmetry": "input asymmetry",
    "out_noise": "output noise",
    "out_noise_std": "spread of the output noise",
    "out_asymmetry": "output asymmetry",
    "w_noise": "weight read noise",
    "w_read_asymmetry_dtod": "read asymmetry",
    "ir_drop": "IR drop",
    "out_nonlinearity": "output nonlinearity",
    "v_offset_std": "voltage offsets",
    "r_series": "series resistance",
}
_SPREADS = (
    "dw_min_dtod",
    "up_down_dtod",
    "w_max_dtod",
    "w_min_dtod",
    "gamma_up_dtod",
    "gamma_down_dtod",
    "pow_gamma_dtod",
)
_SHAPED = {"up_down": 0.0, "gamma_up": 0.0, "gamma_down": 0.0}


def of_chain(io: IOParameters) -> list[str]:
    """Return what acts in every product of a signal chain."""
    return [] if io.is_perfect else [text for name, text in _CHAIN.items() if getattr(io, name) > 0.0]


def of_weights(tile: TileModule) -> list[str]:
    """Return what makes the weights of a forward pass in the present mode other than the stored ones."""
    if not isinstance(tile, InferenceTile):
        return []
    config, found = tile.rpu_config, list[str]()
    if config.clip.type is not WeightClipType.NONE:
        found.append("weight clip")
    if modifies(config.modifier) and (tile.training or config.modifier.enable_during_test):
        found.append("weight modifier")
    programmed = None if tile.training else tile.current_program()
    if programmed is not None:
        found.append("programming errors")
        found += ["drift"] if programmed.t_inference is not None else []
    return found


def of_update(tile: AnalogTile) -> list[str]:
    """Return what makes an update of a pulsed tile other than the product of learning rate and gradient."""
    return list(dict.fromkeys(_of_update(tile)))


def _of_update(tile: AnalogTile) -> Iterator[str]:
    config = tile.rpu_config
    update = getattr(config, "update", None)
    if update is not None and update.pulse_type is not PulseType.NONE and tile.tile.granularity > 0.0:
        yield "finite steps"
        if update.pulse_type not in (PulseType.DETERMINISTIC_IMPLICIT, PulseType.MEAN_FIELD):
            yield "stochastic pulses"
    for device in walk(config.device):
        if not isinstance(device, PulsedDevice):
            if getattr(device, "lifetime", 0.0) > 0.0:
                yield "decay"
            if getattr(device, "diffusion", 0.0) > 0.0:
                yield "diffusion"
            continue
        if device.dw_min_std > 0.0:
            yield "cycle-to-cycle noise"
        if any(getattr(device, name, 0.0) > 0.0 for name in _SPREADS):
            yield "device-to-device variation"
        if any(getattr(device, name, flat) not in (flat, None) for name, flat in _SHAPED.items()) or _has_soft_steps(
            device
        ):
            yield "asymmetric steps"
        for name, text in {
            "write_noise_std": "write noise",
            "corrupt_devices_prob": "stuck devices",
            "lifetime": "decay",
            "diffusion": "diffusion",
        }.items():
            if getattr(device, name, 0.0) > 0.0:
                yield text
    if at_bounds(tile) > 0.0:
        yield "saturated devices"


def _has_soft_steps(device: PulsedDevice) -> bool:
    """Whether the step depends on the weight by the nature of the device."""
    return not type(device).__name__.startswith(("ConstantStep", "LinearStep"))


def at_bounds(tile: AnalogTile) -> float:
    """Return the fraction of devices whose weight is at a bound; 0 for devices without bounds.

    Of a cell every device of it counts.
    """
    hidden = tile.get_hidden_parameters()
    hits = devices = 0
    for name, high in hidden.items():
        if not name.startswith("max_bound"):
            continue
        suffix = name.removeprefix("max_bound")
        weight = hidden.get(f"hidden_weights{suffix}", hidden.get(f"persistent_weights{suffix}"))
        weight = tile._read_physical() if weight is None else weight
        low = hidden[f"min_bound{suffix}"]
        close = 1e-6 * (high - low)
        hits += int(torch.count_nonzero((weight >= high - close) | (weight <= low + close)))
        devices += weight.numel()
    return hits / devices if devices else 0.0
