"""Export of trained weights to a chip with one device per weight, as a table of conductances, and import.

The table (CSV) has five header rows with a column for each layer: its number among the modules that hold no others,
class, number of weights, height and width; then a row with the names of the layers, then one row of conductances per
layer, in microsiemens, tile after tile, row by row.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aihw_inference import FusionConductanceConverter
from aihw_torch.errors import FusionExportError
from aihw_torch.inference.tile import InferenceTile
from aihw_torch.nn.base import AnalogLayerBase, analog_tiles

Conductances = OrderedDict[str, list[float]]
Parameters = dict[str, list[Any]]

_HEADER_ROWS = 5


@dataclass(frozen=True)
class _Layer:
    """A layer of the table."""

    number: int
    module: AnalogLayerBase
    tiles: list[InferenceTile]

    @property
    def header(self) -> list[str]:
        """The header of its column."""
        first = self.tiles[0].weight
        weights = sum(tile.weight.numel() for tile in self.tiles)
        sizes = (weights, *first.shape) if len(self.tiles) == 1 else (weights, weights, 1)
        return [str(self.number), type(self.module).__name__, *map(str, sizes)]


def fusion_export(
    analog_model: nn.Module, g_converter: Any = None, file_name: str | Path | None = None
) -> tuple[Conductances, Parameters, dict[str, Any]]:
    """Return the conductances of all layers, what the chip does not hold, and the state of the model.

    Args:
        analog_model: any module whose analog tiles are all inference tiles.
        g_converter: weights to conductances; by default `FusionConductanceConverter()`, one device up to 40 uS.
        file_name: where to write the table; None writes none.

    Raises:
        FusionExportError: a tile is of another kind, or there is none.
    """
    converter = FusionConductanceConverter() if g_converter is None else g_converter
    conductances: Conductances = OrderedDict()
    parameters: Parameters = {}
    layers = _layers(analog_model)
    for name, layer in layers.items():
        converted = [converter.convert_to_conductances(tile.array_weight()) for tile in layer.tiles]
        conductances[name] = [g for arrays, _ in converted for array in arrays for g in array.flatten().tolist()]
        parameters[name] = [own for _, own in converted]
    if file_name is not None:
        with Path(file_name).open("w", newline="") as file:
            csv.writer(file).writerows([*_header(layers), *conductances.values()])
    return conductances, parameters, analog_model.state_dict()


def fusion_import(
    conductance_data: Mapping[str, list[float]] | str | Path,
    analog_model: nn.Module,
    params: Parameters,
    state_dict: Mapping[str, Any] | None = None,
    g_converter: Any = None,
) -> nn.Module:
    """Set the weights of a model to what conductances mean, in place, and return it in evaluation mode.

    Args:
        conductance_data: what `fusion_export` returned, with the values read from the chip, or a table's file name.
        analog_model: a model of the same layers.
        params: second result of `fusion_export`.
        state_dict: loaded first, for everything that is not on the chip; None leaves it.
        g_converter: that of the export.

    Raises:
        FusionExportError: the table or the data do not fit the model; nothing was changed.
    """
    converter = FusionConductanceConverter() if g_converter is None else g_converter
    layers = _layers(analog_model)
    data = conductance_data if isinstance(conductance_data, Mapping) else _read_table(Path(conductance_data), layers)
    if set(data) != set(layers) or set(params) != set(layers):
        raise FusionExportError(f"the data are of other layers; those of the model are {', '.join(layers)}")
    weights = {name: _weights(converter, layer, data[name], params[name], name) for name, layer in layers.items()}
    if state_dict is not None:
        analog_model.load_state_dict(state_dict)
    with torch.no_grad():
        for name, layer in layers.items():
            for tile, weight in zip(layer.tiles, weights[name], strict=True):
                tile._write_physical(weight)
                tile._weights_changed()
    return analog_model.eval()


def _weights(converter: Any, layer: _Layer, values: list[float], params: list[Any], name: str) -> list[Tensor]:
    """The arrays behind the values of a layer."""
    devices = len(values) // sum(tile.weight.numel() for tile in layer.tiles)
    sizes = [devices * tile.weight.numel() for tile in layer.tiles]
    if devices < 1 or sum(sizes) != len(values) or len(params) != len(layer.tiles):
        raise FusionExportError(f"the layer {name} needs a conductance for each device, not {len(values)} of them")
    found = []
    for tile, own, part in zip(layer.tiles, params, torch.tensor(values).split(sizes), strict=True):
        found.append(converter.convert_back_to_weights(list(part.view(devices, *tile.weight.shape)), own))
    return found


def _layers(model: nn.Module) -> OrderedDict[str, _Layer]:
    found: OrderedDict[str, _Layer] = OrderedDict()
    number = 0
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        is_layer = isinstance(module, AnalogLayerBase) and not module.IS_CONTAINER
        if not is_layer and any(module.children()):
            continue
        number += 1
        if is_layer:
            tiles = list(analog_tiles(module))
            if not tiles or not all(isinstance(tile, InferenceTile) for tile in tiles):
                raise FusionExportError(
                    f"the layer {name} has no inference tile; convert it with an InferenceRPUConfig"
                )
            found[name or "model"] = _Layer(number, module, tiles)  # type: ignore[arg-type]
            inside = (*inside, f"{name}." if name else "")
    if not found:
        raise FusionExportError("the model has no analog layer; convert it with an InferenceRPUConfig first")
    return found


def _header(layers: Mapping[str, _Layer]) -> list[list[str]]:
    columns = [layer.header for layer in layers.values()]
    return [*(list(row) for row in zip(*columns, strict=True)), list(layers)]


def _read_table(path: Path, layers: Mapping[str, _Layer]) -> Conductances:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    expected = _header(layers)
    if rows[: _HEADER_ROWS + 1] != expected or len(rows) != len(expected) + len(layers):
        raise FusionExportError(f"the table {path.name} is not of this model: its header or its number of rows differ")
    try:
        values = [np.array(row, dtype=np.float64).tolist() for row in rows[len(expected) :]]
    except ValueError as error:
        raise FusionExportError(f"the table {path.name} has a conductance that is no number: {error}") from None
    return OrderedDict(zip(layers, values, strict=True))
