"""Exchange of whole models with hardware: target conductances out, measured conductances in.

Two files describe a model, in the format of `docs/formats.md`: JSON with a record for each tile (size, place in its
layer, configuration, converter) and an npz file with the arrays. Measured conductances come back in an npz file with
the same names.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

import rpu_sim
from aihw_inference import (
    BaseConductanceConverter,
    ConversionParameters,
    Philox,
    SinglePairConductanceConverter,
    program,
)
from aihw_torch.config import from_dict, to_dict
from aihw_torch.config.inference import arguments_of
from aihw_torch.errors import RpuError, StateError
from aihw_torch.inference.programmed import ProgrammedTile
from aihw_torch.inference.tile import InferenceTile
from aihw_torch.nn.base import named_analog_tiles
from aihw_torch.tiles import TileModule

FORMAT = "aihw_torch.conductances"
VERSION = 1

Arrays = dict[str, NDArray[Any]]


def export_conductances(
    model: nn.Module, path: str | Path, converter: BaseConductanceConverter | None = None
) -> tuple[Path, Path]:
    """Write the conductances that the weights of all tiles of a model mean, and what else hardware needs to know.

    Args:
        model: any module with analog tiles; of inference tiles the trained weights count, whatever was programmed.
        path: of the two files, without suffix; `.json` and `.npz` are added.
        converter: weights to conductances; by default that of the noise model of each tile, and one pair of devices
            (`SinglePairConductanceConverter()`) for tiles that are trained in memory.

    Returns:
        The paths of the JSON and of the npz file.

    Raises:
        StateError: the model has no analog tile.
    """
    records, arrays = [], Arrays()
    modules = dict(model.named_modules())
    for name, tile in named_analog_tiles(model):
        own = _converter_of(tile) if converter is None else converter
        if not isinstance(own, BaseConductanceConverter):
            raise StateError(f"{type(own).__name__} is no converter of this format; see fusion_export for the chip's")
        records.append(_record(name, tile, own, modules))
        arrays |= {_key(name, part): values for part, values in _arrays(tile, own).items()}
    if not records:
        raise StateError("the model has no analog tile; convert it first")
    for name, module in modules.items():  # the biases of grids, which are added to sums over tiles
        if not isinstance(module, TileModule) and hasattr(module, "array") and module.bias is not None:
            arrays[_key(name, "bias")] = _numpy(module.bias)
    meta, data = Path(f"{path}.json"), Path(f"{path}.npz")
    content = {"format": FORMAT, "version": VERSION, "unit": "uS", "tiles": records}
    meta.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with data.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return meta, data


def import_conductances(
    model: nn.Module,
    path: str | Path,
    measured: str | Path | Mapping[str, ArrayLike] | None = None,
    *,
    as_trained: bool = False,
) -> None:
    """Let measured conductances be the devices of a model.

    Inference tiles are then as after `program_analog_weights`: the trained weights stay, evaluation reads the measured
    conductances, and drift starts from them. Tiles that are trained in memory get the weights that the conductances
    mean, as far as their bounds allow.

    Args:
        model: with the tiles of the export.
        path: that of the export, without suffix.
        measured: an npz file or arrays with the names of the export, `<tile>.conductance`; tiles that are not there
            stay as they are. By default the exported values themselves.
        as_trained: write the trained weights of inference tiles instead.

    Raises:
        StateError: the files are damaged or of a newer version, or do not fit the model; nothing was changed.
    """
    records, arrays = _read_meta(Path(f"{path}.json")), _read_arrays(Path(f"{path}.npz"))
    given = arrays if measured is None else _measured(measured)
    tiles = dict(named_analog_tiles(model))
    wanted = {_key(name, "conductance"): name for name in records}
    if unknown := sorted(name for name in given if name not in wanted and measured is not None):
        raise StateError(f"{', '.join(unknown)} is no conductance of the export; its arrays are {', '.join(wanted)}")
    made, names = [], {id(tile): name for name, tile in tiles.items()}
    for key, name in wanted.items():
        if key not in given:
            continue
        tile = tiles.get(name)
        if tile is None:
            raise StateError(
                f"the model has no tile {name or '(root)'}; import into a model with the tiles of the export"
            )
        values = _checked(given[key], records[name], tile, key)
        made.append((tile, *_decoded(values, records[name], arrays, name)))
    if not made:
        raise StateError("there is no conductance of any tile; nothing was imported")
    for tile, _, converter, _, _ in made:
        _require_same_scale(tile, arrays, names[id(tile)])
        if not as_trained:
            _require_same_devices(tile, converter)
    for tile, weights, _, conductances, parameters in made:
        if isinstance(tile, InferenceTile) and not as_trained:
            _program_measured(tile, conductances, parameters)
        else:
            with torch.no_grad():
                tile._write_physical(weights)
            tile._weights_changed()


# ---- writing


def _record(name: str, tile: TileModule, converter: Any, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    """What the JSON file says of a tile."""
    place = re.fullmatch(r"(?:(.*)\.)?array\.(\d+)\.(\d+)", name)
    return {
        "name": name,
        "module": place[1] or "" if place else name,
        "grid": [int(place[2]), int(place[3])] if place else None,
        "rows": tile.out_size,
        "columns": tile.in_size + tile.analog_bias,
        "analog_bias": tile.analog_bias,
        "devices": converter.n_devices,
        "converter": arguments_of(converter),
        "config": to_dict(tile.rpu_config),
    }


def _arrays(tile: TileModule, converter: BaseConductanceConverter) -> Arrays:
    """What the npz file holds of a tile."""
    conductances, parameters = converter.convert_to_conductances(tile._read_physical())
    found = {
        "conductance": np.stack([_numpy(g) for g in conductances]),
        "scale_ratio": _numpy(parameters.scale_ratio),
        "w_low": _numpy(parameters.w_low),
        "scale": _arrays_of_scale(tile),
    }
    for part in ("bias", "input_range"):
        if (values := getattr(tile, part)) is not None:
            found[part] = _numpy(values)
    return found


def _converter_of(tile: TileModule) -> BaseConductanceConverter:
    own = (
        tile.rpu_config.noise_model.g_converter if isinstance(tile, InferenceTile) else SinglePairConductanceConverter()
    )
    assert isinstance(own, BaseConductanceConverter)
    return own


def _numpy(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.detach().float().numpy()
    return array


def _key(tile: str, part: str) -> str:
    return f"{tile}.{part}" if tile else part


# ---- reading


def _read_meta(path: Path) -> dict[str, dict[str, Any]]:
    """Return the records of the tiles by name."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        version = content["version"]
        records = {record["name"]: record for record in content["tiles"]}
        complete = {"rows", "columns", "devices", "converter"}
        if any(complete - record.keys() for record in records.values()):
            raise KeyError(complete)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StateError(f"{path} is no description of conductances, or it is damaged; export it again") from None
    if version != VERSION:
        raise StateError(f"{path} has version {version} but this aihw_torch reads version {VERSION}; update aihw_torch")
    return records


def _read_arrays(path: Path) -> Arrays:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise StateError(f"{path} is no npz file of arrays, or it is damaged") from None


def _measured(measured: str | Path | Mapping[str, ArrayLike]) -> Arrays:
    if isinstance(measured, Mapping):
        if masked := [name for name, values in measured.items() if isinstance(values, np.ma.MaskedArray)]:
            raise StateError(f"{', '.join(masked)} is a masked array; give every conductance a value")
        return {name: np.asarray(values) for name, values in measured.items()}
    return _read_arrays(Path(measured))


def _checked(values: NDArray[Any], record: Mapping[str, Any], tile: TileModule, key: str) -> NDArray[np.float32]:
    """Return measured conductances if they are some of the tile."""
    shape = (record["devices"], tile.out_size, tile.in_size + tile.analog_bias)
    if values.shape != shape or values.dtype.kind not in "fiu":
        raise StateError(f"{key} must be numbers of the shape {shape}, not {values.dtype} of {values.shape}")
    conductances: NDArray[np.float32] = values.astype(np.float32)
    if not np.isfinite(conductances).all() or (conductances < 0.0).any():
        raise StateError(f"{key} has values that are no conductances; they must be finite and not negative, in uS")
    return conductances


def _decoded(
    values: NDArray[np.float32], record: Mapping[str, Any], arrays: Arrays, name: str
) -> tuple[Tensor, Any, Tensor, ConversionParameters]:
    """Return the weights in units of the array, the converter, the conductances and how the two correspond."""
    try:
        converter = from_dict(record["converter"])
        parts = (torch.from_numpy(arrays[_key(name, part)]) for part in ("scale_ratio", "w_low"))
        parameters = ConversionParameters(*parts)
        conductances = torch.from_numpy(values)
        weights = converter.convert_back_to_weights(list(conductances), parameters)
    except (RpuError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"the export of {name or 'the model'} is damaged: {error}") from None
    return weights, converter, conductances, parameters


def _require_same_devices(tile: TileModule, converter: Any) -> None:
    if isinstance(tile, InferenceTile):
        own = tile.rpu_config.noise_model.g_converter
        if arguments_of(own) != arguments_of(converter):
            raise StateError(
                f"the {tile.describe()} has the devices {arguments_of(own)} and the conductances are those of "
                f"{arguments_of(converter)}; export with that converter, or import with as_trained=True"
            )


def _require_same_scale(tile: TileModule, arrays: Arrays, name: str) -> None:
    """The digital scale turns what is read into weights; that of another model would give other weights silently."""
    own, exported = _arrays_of_scale(tile), arrays.get(_key(name, "scale"))
    if exported is None or exported.shape != own.shape or not np.allclose(exported, own, rtol=1e-5, atol=0.0):
        raise StateError(
            f"the {tile.describe()} has another digital scale than the export; import into the model that was exported"
        )


def _arrays_of_scale(tile: TileModule) -> NDArray[np.float32]:
    scales = tile.get_scales()
    return np.ones(1, np.float32) if scales is None else _numpy(scales)


def _program_measured(tile: InferenceTile, conductances: Tensor, parameters: ConversionParameters) -> None:
    """Make measured conductances the programmed devices of a tile; their drift is drawn from its noise model."""
    tile.follow_weight()
    target = tile.physical_weight().detach()
    number = 0 if tile.programmed is None else tile.programmed.number + 1
    drawn = program(target, tile.rpu_config.noise_model, rng=Philox(rpu_sim.derive_seed(tile.seed, "measured", number)))
    devices = dataclasses.replace(drawn, g_prog=conductances, parameters=parameters)
    tile.programmed = ProgrammedTile.of_devices(
        devices, tile.rpu_config, tile._read_in_test, version=tile.weight._version, number=number
    )
