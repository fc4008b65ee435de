"""What a model is made of: tiles, how full they are, parameters, products per forward pass, pulses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.errors import ShapeError
from aihw_torch.nn.base import AnalogLayerBase, analog_tiles, named_analog_tiles
from aihw_torch.tiles import AnalogTile, TileModule


@dataclass
class TileInfo:
    """One tile.

    Attributes:
        name: in the model.
        log_in_size, log_out_size: columns and rows in use, with the column of an analog bias.
        phy_in_size, phy_out_size: columns and rows of the array, as `mapping` limits them.
        is_mapped: whether the tile is part of a grid.
        utilization: used part of the array in percent.
        products: matrix-vector products in one forward pass; None if none was done.
        pulses: pulses fired so far, up and down; None for tiles without.
    """

    name: str
    log_in_size: int
    log_out_size: int
    phy_in_size: int
    phy_out_size: int
    is_mapped: bool
    utilization: float
    products: int | None = None
    pulses: tuple[int, int] | None = None


@dataclass
class LayerInfo:
    """One layer, analog or digital.

    Attributes:
        name: in the model.
        module: class name.
        isanalog: whether it has tiles.
        num_tiles: number of tiles.
        analog_parameters, digital_parameters: numbers of elements; the token of a pulsed tile is no parameter here.
        input_size, output_size: shapes in the forward pass; None if it was not reached.
        kernel_size: of convolutions.
        reuse_factor: products of each tile in one forward pass, 0 for digital layers.
        tiles_info: the tiles.
    """

    name: str
    module: str
    isanalog: bool
    num_tiles: int
    analog_parameters: int
    digital_parameters: int
    input_size: tuple[int, ...] | None = None
    output_size: tuple[int, ...] | None = None
    kernel_size: tuple[int, ...] | None = None
    reuse_factor: int = 0
    tiles_info: list[TileInfo] = field(default_factory=list)


@dataclass
class AnalogInfo:
    """The layers of a model.

    Attributes:
        layer_summary: one entry for each layer.
        total_tile_number: number of tiles.
        total_nb_analog: number of analog layers.
        analog_parameters, digital_parameters: numbers of elements.
    """

    layer_summary: list[LayerInfo]
    total_tile_number: int
    total_nb_analog: int
    analog_parameters: int
    digital_parameters: int

    def layer_summary_dict(self) -> dict[str, dict[str, Any]]:
        """Return the layers as plain dictionaries, by name."""
        return {layer.name: asdict(layer) for layer in self.layer_summary}

    def tiles_summary_dict(self) -> dict[str, dict[str, Any]]:
        """Return the tiles as plain dictionaries, by name."""
        return {tile.name: asdict(tile) for layer in self.layer_summary for tile in layer.tiles_info}

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("layer", "class", "in", "out", "tiles", "products", "used %", "analog", "digital", "pulses")
        ]
        rows += [_row(layer) for layer in self.layer_summary]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "-" * max(len(line) for line in lines))
        total = f"{self.total_nb_analog} analog layers on {self.total_tile_number} tiles"
        parameters = f"{self.analog_parameters} analog and {self.digital_parameters} digital parameters"
        return "\n".join([*lines, f"{total}; {parameters}"])

    __repr__ = __str__


def analog_summary(model: nn.Module, input_size: Any = None, rpu_config: Any = None) -> AnalogInfo:
    """Describe a model, layer by layer.

    Args:
        model: any model; it is in the same state afterwards.
        input_size: shape of an input, with the batch, or a list of shapes for several inputs, or the inputs themselves;
            they go once through the model in evaluation mode. Without it shapes and products are unknown.
        rpu_config: accepted for ported scripts; every tile knows its own.

    Raises:
        ShapeError: `input_size` is none of these.
    """
    layers = {name: _describe(name, module) for name, module in _layers(model)}
    if input_size is not None:
        _measure(model, layers, _inputs(input_size))
    found = list(layers.values())
    return AnalogInfo(
        found,
        sum(layer.num_tiles for layer in found),
        sum(layer.isanalog for layer in found),
        sum(layer.analog_parameters for layer in found),
        sum(layer.digital_parameters for layer in found),
    )


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield analog layers as wholes, and digital modules with parameters of their own."""
    inside = set[int]()
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        if isinstance(module, TileModule) or (isinstance(module, AnalogLayerBase) and not module.IS_CONTAINER):
            inside.update(id(part) for part in module.modules())
            yield name, module
        elif any(True for _ in module.parameters(recurse=False)):
            yield name, module


def _describe(name: str, module: nn.Module) -> LayerInfo:
    tiles = [
        _describe_tile(f"{name}.{own}" if name and own else name or own, t) for own, t in named_analog_tiles(module)
    ]
    analog = {id(tile.weight) for tile in analog_tiles(module)}
    tokens = {id(tile.weight_token) for tile in analog_tiles(module) if isinstance(tile, AnalogTile)}
    recurse = bool(tiles)
    digital = sum(p.numel() for p in module.parameters(recurse) if id(p) not in analog | tokens)
    kernel = getattr(module, "kernel_size", None)
    return LayerInfo(
        name,
        type(module).__name__,
        bool(tiles),
        len(tiles),
        sum(tile.out_size * (tile.in_size + tile.analog_bias) for tile in analog_tiles(module)),
        digital,
        kernel_size=kernel if isinstance(kernel, tuple) else None,
        tiles_info=tiles,
    )


def _describe_tile(name: str, tile: TileModule) -> TileInfo:
    rows, columns = tile.out_size, tile.in_size + tile.analog_bias
    mapping = tile.rpu_config.mapping
    # An analog bias is a column more than the limit counts.
    height = mapping.max_output_size or rows
    width = (mapping.max_input_size or tile.in_size) + tile.analog_bias
    is_mapped = ".array." in f".{name}"
    pulses = tile.pulse_counts if isinstance(tile, AnalogTile) else None
    return TileInfo(
        name, columns, rows, width, height, is_mapped, 100.0 * rows * columns / (height * width), pulses=pulses
    )


def _inputs(given: Any) -> tuple[Any, ...]:
    if isinstance(given, Tensor):
        return (given,)
    parts = (given,) if _is_shape(given) else given
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(p, Tensor) or _is_shape(p) for p in parts):
        raise ShapeError(
            f"input_size is the shape of an input, such as (1, 784), a list of shapes, or tensors, not {given!r}"
        )
    return tuple(part if isinstance(part, Tensor) else torch.zeros(*part) for part in parts)


def _is_shape(value: Any) -> bool:
    is_sequence = isinstance(value, Sequence) and len(value) > 0 and not isinstance(value, str)
    return is_sequence and all(isinstance(size, int) and size >= 0 for size in value)


def _measure(model: nn.Module, layers: dict[str, LayerInfo], inputs: tuple[Any, ...]) -> None:
    """Send the inputs through the model and note shapes and products."""
    named = dict(model.named_modules())
    infos = {tile.name: tile for layer in layers.values() for tile in layer.tiles_info}
    hooks = []
    for name, info in layers.items():
        hooks.append(named[name].register_forward_hook(_shape_noter(info)))
    for name, tile in named_analog_tiles(model):
        hooks.append(tile.register_forward_pre_hook(_product_noter(infos[name])))
    try:
        with _unchanged(model), torch.no_grad():
            model.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in layers.values():
        layer.reuse_factor = max((tile.products or 0 for tile in layer.tiles_info), default=0)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Give a model its modes and its counters of calls back in the end."""
    modes = {module: module.training for module in model.modules()}
    counters = {tile: tile.forward_step.clone() for tile in analog_tiles(model)}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for tile, counter in counters.items():
            tile.forward_step.copy_(counter)


def _shape_noter(info: LayerInfo) -> Any:
    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        info.input_size = _shape(inputs)
        info.output_size = _shape(output)

    return note


def _product_noter(info: TileInfo) -> Any:
    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        info.products = (info.products or 0) + inputs[0].numel() // inputs[0].shape[-1]

    return note


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of the first tensor in it."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return next((found for part in value if (found := _shape(part))), None) if isinstance(value, tuple | list) else None


def _row(layer: LayerInfo) -> tuple[str, ...]:
    used = sum(t.log_in_size * t.log_out_size for t in layer.tiles_info)
    there = sum(t.phy_in_size * t.phy_out_size for t in layer.tiles_info)
    pulses = [sum(t.pulses) for t in layer.tiles_info if t.pulses is not None]
    return (
        layer.name or "(root)",
        layer.module,
        "x".join(map(str, layer.input_size or ())) or "-",
        "x".join(map(str, layer.output_size or ())) or "-",
        str(layer.num_tiles) if layer.isanalog else "-",
        str(layer.reuse_factor) if layer.reuse_factor else "-",
        f"{100.0 * used / there:.1f}" if there else "-",
        str(layer.analog_parameters) if layer.isanalog else "-",
        str(layer.digital_parameters),
        str(sum(pulses)) if pulses else "-",
    )
