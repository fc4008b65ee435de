"""One tile of a checkpoint of aihwkit, and the state of a tile of this package that it becomes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from aihw_torch.config import SoftBoundsDevice
from aihw_torch.errors import StateError
from aihw_torch.tiles import AnalogTile, TileModule


@dataclass
class ImportedTile:
    """A tile.

    Attributes:
        tile_class: name of its class in aihwkit.
        weight: in units of the array, [out, in], with a column more for an analog bias.
        hidden: parameters of the devices by name, [out, in] each.
        config: the configuration.
        periphery: what there is of `bias`, `mapping_scales`, `out_scaling_alpha`, `input_range` and
            `input_range_update_idx`.
    """

    tile_class: str
    weight: Tensor
    hidden: dict[str, Tensor]
    config: Any
    periphery: dict[str, Tensor] = field(default_factory=dict)

    def logical(self) -> tuple[Tensor, Tensor | None]:
        """Return weights [out, in] and bias [out] with all scales in them."""
        weight, bias = self.weight, self.periphery.get("bias")
        for name in ("mapping_scales", "out_scaling_alpha"):
            if name in self.periphery:
                weight = weight * self.periphery[name].detach().float().view(-1, 1)
        mapping = getattr(self.config, "mapping", None)
        if bias is None and mapping is not None and not mapping.digital_bias:
            return weight[:, :-1], weight[:, -1]
        return weight, bias


def tile_state(
    state: dict[str, Any], name: str, tile: TileModule, imported: ImportedTile, remarks: list[str]
) -> dict[str, Any]:
    """Return the state of a model in which one tile has what was imported.

    Raises:
        StateError: it does not fit the tile.
    """
    prefix, shape = f"{name}." if name else "", (tile.out_size, tile.in_size + tile.analog_bias)
    if imported.weight.shape != shape:
        raise StateError(
            f"the tile {name or '(root)'} has {tuple(imported.weight.shape)} cells in the checkpoint and {shape} in "
            "the model; make the layer of that size, with the bias on the same side (mapping.digital_bias)"
        )
    changed = dict(state)
    _set_periphery(changed, prefix, imported)
    if isinstance(tile, AnalogTile):
        _set_devices(changed, prefix, tile, imported, remarks)
    else:
        scales = imported.periphery.get("mapping_scales")
        logical = imported.weight if scales is None else imported.weight * scales.float().view(-1, 1)
        changed[prefix + "weight"] = logical.to(tile.edge_dtype)
        for key in [key for key in changed if key.startswith(f"{prefix}programmed.")]:
            del changed[key]
    return changed


def _set_periphery(state: dict[str, Any], prefix: str, imported: ImportedTile) -> None:
    own = imported.periphery
    state.pop(prefix + "mapping_scales", None)
    if "mapping_scales" in own:
        state[prefix + "mapping_scales"] = own["mapping_scales"].float().reshape(-1)
    for name in ("bias", "out_scaling_alpha", "input_range", "input_range_update_idx"):
        there = state.get(prefix + name)
        if (there is None) != (name not in own):
            has, lacks = ("checkpoint", "model") if there is None else ("model", "checkpoint")
            raise StateError(
                f"{prefix}{name} is in the {has} and not in the {lacks}; make the layer with the configuration that "
                "the checkpoint has (rpu_configs)"
            )
        if there is not None:
            values = own[name].detach().reshape(-1) if there.ndim else own[name].detach().reshape(-1)[0].round()
            if values.shape != there.shape:
                shapes = f"{tuple(there.shape)} in the model and {tuple(values.shape)} in the checkpoint"
                raise StateError(f"{prefix}{name} has the shape {shapes}")
            state[prefix + name] = values.to(there.dtype)


def _set_devices(
    state: dict[str, Any], prefix: str, tile: AnalogTile, imported: ImportedTile, remarks: list[str]
) -> None:
    """Put weights and parameters of devices in their places, verbatim."""
    twin = copy.deepcopy(tile.tile)
    known = twin.hidden_parameters().keys()
    twin.set_hidden_parameters({name: values for name, values in imported.hidden.items() if name in known})
    step = state[prefix + "step.forward"]
    state |= {prefix + name: values for name, values in twin.state_dict().items()}
    state |= {prefix + "weight": imported.weight, prefix + "step.forward": step}
    if "hidden_weights_0" not in imported.hidden and prefix + "sub.0.weight" in state:  # the device of mixed precision
        state[prefix + "sub.0.weight"] = imported.weight
    remarks += [
        f"{prefix}{name}, which the device of the model does not have"
        for name, values in imported.hidden.items()
        if name not in known and not _follows(name, values, tile)
    ]


def _follows(name: str, values: Tensor, tile: AnalogTile) -> bool:
    """Whether a parameter says nothing more: no drift, or slopes of soft bounds, which follow from the bounds."""
    if name.startswith("drift_nu"):
        return not bool(values.any())
    devices = _devices(tile.rpu_config.device)
    return name.startswith("slope_") and any(isinstance(device, SoftBoundsDevice) for device in devices)


def _devices(device: Any) -> list[Any]:
    """Return a device, or all devices of a cell."""
    inner = [*getattr(device, "unit_cell_devices", []), *([device.device] if hasattr(device, "device") else [])]
    return [found for part in inner for found in _devices(part)] if inner else [device]
