"""States of models as safetensors files: arrays, devices, counters and configurations, without any pickle."""

from __future__ import annotations

from os import PathLike
from typing import Any

from torch import Tensor, nn

from aihw_torch.errors import StateError
from aihw_torch.tiles.state import all_or_nothing, replacing_configs

_FORMAT = {"format": "aihw_torch.state", "version": "1"}


def save_safetensors(model: nn.Module, path: str | PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Write the state of a model, `model.state_dict()`, to a safetensors file.

    Args:
        model: any model, with analog layers or without.
        path: of the file.
        metadata: more strings for the header of the file.
    """
    _package().save_file(_plain(model.state_dict()), path, {**(metadata or {}), **_FORMAT})


def load_safetensors(
    model: nn.Module, path: str | PathLike[str], strict: bool = True, load_rpu_config: bool | None = None
) -> Any:
    """Load a file of `save_safetensors` into a model, in place; arguments and result are those of `load_state_dict`.

    A file that does not fit changes nothing.

    Raises:
        StateError: if the file is not one of `save_safetensors`, or of a newer version.
    """
    from safetensors import safe_open

    _package()
    with _opened(safe_open, path) as file:
        found = file.metadata() or {}
        if any(found.get(key) != value for key, value in _FORMAT.items()):
            raise StateError(f"{path} is not a file of save_safetensors that this version reads")
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with replacing_configs(load_rpu_config), all_or_nothing(model):
        return model.load_state_dict(state, strict=strict)


def _opened(safe_open: Any, path: Any) -> Any:
    from safetensors import SafetensorError

    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise StateError(f"{path} is damaged or no safetensors file: {error}") from None


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors contiguous and each in memory of its own, as the format wants them."""
    seen = set[int]()
    plain = {}
    for name, values in state.items():
        values = values.contiguous()
        pointer = values.untyped_storage().data_ptr()
        plain[name] = values.clone() if pointer in seen or values.untyped_storage().nbytes() > values.nbytes else values
        seen.add(pointer)
    return plain


def _package() -> Any:
    try:
        import safetensors.torch
    except ImportError:
        raise ImportError(
            "safetensors files need the package safetensors; pip install aihw-torch[safetensors]"
        ) from None
    return safetensors.torch
