"""Conversion of models between layers of torch and analog layers."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

import rpu_sim
from aihw_torch import seeds
from aihw_torch.config import RPUConfigBase
from aihw_torch.errors import ConfigError, RpuError, StateError
from aihw_torch.nn.attention import AnalogMultiheadAttention
from aihw_torch.nn.base import AnalogLayerBase, analog_tiles
from aihw_torch.nn.container import AnalogContainerBase, AnalogSequential, AnalogWrapper
from aihw_torch.nn.conv import (
    AnalogConv1d,
    AnalogConv2d,
    AnalogConv3d,
    AnalogConvTranspose1d,
    AnalogConvTranspose2d,
    AnalogConvTranspose3d,
)
from aihw_torch.nn.embedding import AnalogEmbedding
from aihw_torch.nn.linear import AnalogLinear
from aihw_torch.nn.mapped import AnalogConv1dMapped, AnalogConv2dMapped, AnalogConv3dMapped, AnalogLinearMapped
from aihw_torch.nn.rnn import AnalogGRU, AnalogLSTM, AnalogVanillaRNN

CONVERSION_MAP: dict[type[nn.Module], Any] = {
    nn.Linear: AnalogLinear,
    nn.Conv1d: AnalogConv1d,
    nn.Conv2d: AnalogConv2d,
    nn.Conv3d: AnalogConv3d,
    nn.ConvTranspose1d: AnalogConvTranspose1d,
    nn.ConvTranspose2d: AnalogConvTranspose2d,
    nn.ConvTranspose3d: AnalogConvTranspose3d,
    nn.MultiheadAttention: AnalogMultiheadAttention,
    nn.RNN: AnalogVanillaRNN,
    nn.LSTM: AnalogLSTM,
    nn.GRU: AnalogGRU,
    nn.Sequential: AnalogSequential,
}

CONVERSION_MAP_MAPPED: dict[type[nn.Module], Any] = {
    **CONVERSION_MAP,
    nn.Linear: AnalogLinearMapped,
    nn.Conv1d: AnalogConv1dMapped,
    nn.Conv2d: AnalogConv2dMapped,
    nn.Conv3d: AnalogConv3dMapped,
}

ANALOG_CLASSES: frozenset[type[nn.Module]] = frozenset(
    {*CONVERSION_MAP.values(), *CONVERSION_MAP_MAPPED.values(), AnalogEmbedding}
)

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOK_OPTIONS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


@dataclass(frozen=True)
class ConversionRow:
    """What became of one module.

    Attributes:
        name: in the model.
        module: class before the conversion.
        converted: whether it is analog now.
        detail: the number of tiles and the configuration, or why it was left as it is.
        note: what is worth knowing beside, or empty.
    """

    name: str
    module: str
    converted: bool
    detail: str
    note: str = ""

    def __str__(self) -> str:
        what = "converted" if self.converted else "left digital"
        return f"{self.name or '(root)'} ({self.module}): {what}, {self.detail}" + (
            f"; {self.note}" if self.note else ""
        )


@dataclass
class ConversionReport:
    """What a conversion did, one row for each module with a matrix."""

    rows: list[ConversionRow] = field(default_factory=list)

    @property
    def converted(self) -> list[str]:
        """The names of the modules that are analog now."""
        return [row.name for row in self.rows if row.converted]

    @property
    def left(self) -> dict[str, str]:
        """Why other modules were left digital, by name."""
        return {row.name: row.detail for row in self.rows if not row.converted}

    def __str__(self) -> str:
        return "\n".join(str(row) for row in self.rows)


def specific_rpu_config_id(module_name: str, module: nn.Module, rpu_config: Any) -> Any:
    """Return the configuration as it is: the template of a function for `specific_rpu_config_fun`."""
    return rpu_config


def convert_to_analog(
    module: nn.Module,
    rpu_config: Any,
    tile_module_class: Any = None,
    conversion_map: Mapping[type[nn.Module], Any] | None = None,
    specific_rpu_config_fun: Callable[[str, nn.Module, Any], Any] | None = None,
    module_name: str = "",
    ensure_analog_root: bool = True,
    exclude_modules: Iterable[str] | None = None,
    inplace: bool = False,
    verbose: bool = False,
    *,
    rpu_configs: Mapping[str, Any] | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
    seed: int | None = None,
    report: ConversionReport | None = None,
) -> nn.Module:
    """Return the model with analog layers in the place of those of torch.

    Values, data types, training mode, frozen parameters, hooks and modules that occur several times stay what they are.

    Args:
        module: the model.
        rpu_config: what is simulated, for every layer a copy.
        tile_module_class: the module that holds each matrix, by default as its size needs.
        conversion_map: class of torch to analog class, by default `CONVERSION_MAP`; a class matches exactly.
        specific_rpu_config_fun: called with (name, module, copy of the configuration), returns that of the layer.
        module_name: name of `module` in a larger model; with a name the root is not wrapped.
        ensure_analog_root: whether the root gets the methods of analog containers (as an `AnalogWrapper`) if it has
            none.
        exclude_modules: names, or patterns such as `encoder.*.linear1`, of modules that stay, with all below them.
        inplace: change the model itself; the root may be another object all the same.
        verbose: print the report.
        rpu_configs: configurations by name or pattern; the first that matches replaces `rpu_config`, None leaves the
            layer digital.
        state_dict: the values of a model on the meta device; layers are made one by one, so that the model and its
            analog twin never exist at the same time. Such a model is converted in place.
        seed: with the name of each layer the origin of the seeds of its tiles; by default it follows torch's random
            state.
        report: is filled with what was and was not converted and why.

    Raises:
        ConfigError: for a conversion map that is not one, and for a lazy layer of torch that has no weights yet.
        StateError: for a model on the meta device without its values.
    """
    conversion_map = CONVERSION_MAP if conversion_map is None else conversion_map
    if not isinstance(conversion_map, Mapping):
        raise ConfigError("conversion_map must map classes of torch to analog classes, as a dict does")
    if not isinstance(module, nn.Module):
        raise ConfigError(f"only a torch.nn.Module can be converted, not {type(module).__name__}")
    for name, part in module.named_modules():
        if any(isinstance(parameter, UninitializedParameter) for parameter in part.parameters(recurse=False)):
            raise ConfigError(f"{type(part).__name__} '{name}' has no weights yet; run a batch through the model first")
    report = ConversionReport() if report is None else report
    # Frozen once, for all tiles that take one as it is.
    rpu_config, configs = _frozen(rpu_config), {name: _frozen(own) for name, own in (rpu_configs or {}).items()}
    model = module if inplace or state_dict is not None else copy.deepcopy(module)
    with torch.no_grad():
        converter = _Converter(
            conversion_map,
            rpu_config,
            tile_module_class,
            specific_rpu_config_fun or specific_rpu_config_id,
            tuple(exclude_modules or ()),
            configs,
            state_dict,
            seeds.torch_seed() if seed is None else seed,
            report,
            _shared_parameters(model),
            _repeated_modules(model),
        )
        model = converter.convert(model, module_name)
    if ensure_analog_root and not module_name and not isinstance(model, AnalogLayerBase):
        model = AnalogWrapper(model)
    if verbose:
        print(report)
    return model


def _frozen(rpu_config: Any) -> Any:
    return rpu_config.frozen_copy() if isinstance(rpu_config, RPUConfigBase) else rpu_config


def _repeated_modules(model: nn.Module) -> frozenset[int]:
    """Return the ids of the modules that are in several places of a model."""
    counts = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    return frozenset(number for number, count in counts.items() if count > 1)


def _shared_parameters(model: nn.Module) -> dict[int, list[str]]:
    """Return the names of each parameter that has several, by its id."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {key: found for key, found in names.items() if len(found) > 1}


@dataclass
class _Converter:
    """One conversion, module by module."""

    conversion_map: Mapping[type[nn.Module], Any]
    rpu_config: Any
    tile_module_class: Any
    specific_rpu_config_fun: Callable[[str, nn.Module, Any], Any]
    excluded: tuple[str, ...]
    rpu_configs: dict[str, Any]
    state_dict: Mapping[str, Tensor] | None
    seed: int
    report: ConversionReport
    shared: dict[int, list[str]]
    repeated: frozenset[int]
    done: dict[int, nn.Module] = field(default_factory=dict)

    def convert(self, module: nn.Module, name: str) -> nn.Module:
        """Return what takes the place of a module, with everything below it."""
        known = self.done.get(id(module))
        if known is not None:
            return known
        number, result = id(module), self._convert(module, name)
        if number in self.repeated:  # others may be gone by now, and their number that of another one
            self.done[number] = result
        return result

    def _convert(self, module: nn.Module, name: str) -> nn.Module:
        if isinstance(module, AnalogLayerBase) and not isinstance(module, AnalogContainerBase):
            return module
        if any(fnmatchcase(name, pattern) for pattern in self.excluded):
            self._materialise(module, name)
            return self._leave(module, name, "it is excluded")
        target = self.conversion_map.get(type(module))
        if target is not None and not issubclass(target, AnalogContainerBase):
            return self._convert_layer(module, name, target)
        # The parts of the one are used inside of a function of torch, those of the other make its weight.
        if isinstance(module, nn.MultiheadAttention) or hasattr(module, "parametrizations"):
            self._materialise(module, name)
            return self._leave(module, name, _why_left(module, self.conversion_map))
        self._materialise_own(module, name)
        children = module._modules  # one by one: a list of them would keep all of them in memory
        for own in list(children):
            child = children[own]
            if child is not None:
                children[own] = self.convert(child, f"{name}.{own}" if name else own)
            del child
        if any(p.ndim > 1 for p in module.parameters(recurse=False)):
            self._leave(module, name, _why_left(module, self.conversion_map))
        if isinstance(module, nn.TransformerEncoderLayer):
            # Otherwise torch computes the layer with a fused kernel in eval mode, past the tiles.
            module.activation_relu_or_gelu = 0
        return module if target is None else _with_hooks(target.from_digital(module), module)

    def _convert_layer(self, module: nn.Module, name: str, target: Any) -> nn.Module:
        config = self._config_of(name)
        if config is None:
            self._materialise(module, name)
            return self._leave(module, name, "rpu_configs has None for it")
        self._materialise(module, name)
        if self.specific_rpu_config_fun is not specific_rpu_config_id:
            own = config.mutable_copy() if isinstance(config, RPUConfigBase) else config
            config = self.specific_rpu_config_fun(name, module, own)
        notes = self._notes(module)
        try:
            with seeds.from_seed(rpu_sim.derive_seed(self.seed, name)):
                layer: nn.Module = target.from_digital(module, config, self.tile_module_class)
        except RpuError as error:
            raise type(error)(f"{name or 'the model'} cannot be converted: {error}") from error
        tiles = sum(1 for _ in analog_tiles(layer))
        detail = f"{tiles} tile{'s' if tiles > 1 else ''}, {type(config).__name__}"
        self.report.rows.append(ConversionRow(name, type(module).__name__, True, detail, notes))
        return _with_hooks(layer, module)

    def _config_of(self, name: str) -> Any:
        for pattern, config in self.rpu_configs.items():
            if fnmatchcase(name, pattern):
                return config
        return self.rpu_config

    def _notes(self, module: nn.Module) -> str:
        shared = {other for p in module.parameters() for other in self.shared.get(id(p), ())}
        if self.state_dict is not None or not shared:
            return ""
        return f"its weight was shared ({', '.join(sorted(shared))}) and is its own now"

    def _leave(self, module: nn.Module, name: str, reason: str) -> nn.Module:
        if any(p.ndim > 1 for p in module.parameters()):
            self.report.rows.append(ConversionRow(name, type(module).__name__, False, reason))
        return module

    # ---- models without values

    def _materialise(self, module: nn.Module, name: str) -> None:
        for child_name, child in module.named_modules(prefix=name):
            self._materialise_own(child, child_name)

    def _materialise_own(self, module: nn.Module, name: str) -> None:
        """Give the parameters and buffers that are on the meta device their values."""
        for own in (module._parameters, module._buffers):
            for key, empty in own.items():
                if empty is None or not empty.is_meta:
                    continue
                full = f"{name}.{key}" if name else key
                if self.state_dict is None or full not in self.state_dict:
                    raise StateError(f"{full} is on the meta device; give its value in state_dict")
                values = self.state_dict[full].detach().to(empty.dtype)
                if values.shape != empty.shape:
                    raise StateError(f"{full} is {tuple(values.shape)} in state_dict and {tuple(empty.shape)} here")
                own[key] = nn.Parameter(values, empty.requires_grad) if isinstance(empty, nn.Parameter) else values  # type: ignore[assignment]


def _why_left(module: nn.Module, conversion_map: Mapping[type[nn.Module], Any]) -> str:
    if hasattr(module, "parametrizations"):
        return "it has a parametrization; remove it first with torch.nn.utils.parametrize.remove_parametrizations"
    bases = [base.__name__ for base in conversion_map if isinstance(module, base) and base is not type(module)]
    if bases:
        name = type(module).__name__
        return f"it is of a class derived from {bases[0]}; add {name} to conversion_map if it computes as one"
    return f"{type(module).__name__} is not in the conversion map"


def _with_hooks(new: nn.Module, old: nn.Module) -> nn.Module:
    """Move the hooks of a module to the one in its place."""
    for attribute in (*_HOOKS, *_HOOK_OPTIONS):
        getattr(new, attribute).update(getattr(old, attribute))
    return new


def convert_to_digital(
    module: nn.Module,
    conversion_set: Iterable[type[nn.Module]] | None = None,
    module_name: str = "",
    inplace: bool = False,
) -> nn.Module:
    """Return the model with layers of torch, with the logical weights, in the place of analog ones.

    Args:
        module: the model.
        conversion_set: the classes to convert, all analog layers of this package by default.
        module_name: name of `module` in a larger model.
        inplace: change the model itself; the root may be another object all the same.
    """
    classes = ANALOG_CLASSES if conversion_set is None else conversion_set
    if isinstance(classes, (str, Mapping)) or not isinstance(classes, Iterable):
        raise ConfigError("conversion_set must be a set of analog classes")
    classes = frozenset(classes)
    if missing := [cls.__name__ for cls in classes if not hasattr(cls, "to_digital")]:
        raise ConfigError(f"{', '.join(missing)} cannot be converted; a class in conversion_set needs to_digital()")
    return _to_digital(module if inplace else copy.deepcopy(module), classes, {})


def _to_digital(module: nn.Module, classes: frozenset[type[nn.Module]], done: dict[int, nn.Module]) -> nn.Module:
    known = done.get(id(module))
    if known is not None:
        return known
    result: nn.Module = module
    if type(module) in classes and not isinstance(module, AnalogContainerBase):
        result = _with_hooks(module.to_digital(), module)  # type: ignore[operator]
    else:
        for name, child in list(module._modules.items()):
            if child is not None:
                module._modules[name] = _to_digital(child, classes, done)
        if isinstance(module, AnalogWrapper):
            result = module.to_digital()
        elif type(module) in classes:
            result = _with_hooks(module.to_digital(), module)  # type: ignore[operator]
    done[id(module)] = done[id(result)] = result
    return result
