"""How a layer is mapped to tiles: whether it needs several, and where it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aihw_torch.config import RPUDataType
from aihw_torch.errors import ConfigError

if TYPE_CHECKING:
    from aihw_torch.tiles import AnalogTile, TileModuleArray

# What a pulsed tile of this version does not have: group of the configuration, fields that must keep their defaults.
_UNSUPPORTED = {
    "mapping": (
        "weight_scaling_omega",
        "weight_scaling_columnwise",
        "weight_scaling_lr_compensation",
        "learn_out_scaling",
        "out_scaling_columnwise",
    ),
}


def check_supported(rpu_config: Any) -> None:
    """Raise `ConfigError` if a configuration asks for something that this version would ignore."""
    for group, names in _UNSUPPORTED.items():
        values = getattr(rpu_config, group)
        defaults = type(values)()
        for name in names:
            if getattr(values, name) != getattr(defaults, name):
                raise ConfigError(
                    f"{group}.{name} is not available in this version; leave it at {getattr(defaults, name)}"
                )
    if rpu_config.pre_post.input_range.enable:
        raise ConfigError("input ranges are not available in this version; leave pre_post.input_range.enable at False")
    if rpu_config.runtime.data_type is not RPUDataType.FLOAT:
        raise ConfigError("tiles compute in float32; leave runtime.data_type at RPUDataType.FLOAT")


def split_sizes(size: int, limit: int) -> list[int]:
    """Cut a size into the fewest parts of at most `limit`, as equal as possible, the larger ones first.

    A limit of 0 or less means no limit: 600 with the limit 512 is [300, 300], 5 with the limit 2 is [2, 2, 1].
    """
    parts = -(-size // limit) if limit > 0 else 1
    base, larger = divmod(size, parts)
    return [base + 1] * larger + [base] * (parts - larger)


def default_tile_module_class(rpu_config: Any, out_size: int, in_size: int) -> type[AnalogTile] | type[TileModuleArray]:
    """Return the class of module that maps a matrix: one tile, or a grid of them where the limits ask for it.

    The configuration's own `tile_class` and `tile_array_class` are taken where they are set.
    """
    from aihw_torch.tiles import AnalogTile, TileModuleArray

    mapping = rpu_config.mapping
    if len(split_sizes(in_size, mapping.max_input_size)) * len(split_sizes(out_size, mapping.max_output_size)) > 1:
        return rpu_config.tile_array_class or TileModuleArray
    return rpu_config.tile_class or AnalogTile
