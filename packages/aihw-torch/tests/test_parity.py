"""What the table of names says is present can be imported, has the arguments and the defaults of aihwkit."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

from aihw_torch import nn
from aihw_torch.migrate import names
from aihw_torch.migrate.page import page

HERE = [(group.section, fate) for group in names.groups() for fate in group.fates.values() if fate.target]


@pytest.mark.parametrize("module", sorted({fate.module for _, fate in HERE}))
def test_names_can_be_imported(module):
    """All names that are present, changed, renamed or new; a name may also be a module."""
    for fate in (fate for _, fate in HERE if fate.module == module):
        found = importlib.import_module(module)
        if not hasattr(found, fate.own_name):
            importlib.import_module(fate.target)


def test_the_table_has_every_part_of_the_frontend():
    """The packages of aihwkit that scripts import from, each with its best-known names."""
    for module, name in {
        "": "__version__",
        "nn": "AnalogLinear",
        "nn.modules.conv": "AnalogConv2d",
        "nn.conversion": "convert_to_analog",
        "nn.modules.rnn.layers": "AnalogBidirRNNLayer",
        "nn.low_precision_modules.quantized_base_modules": "QuantLinear",
        "optim": "AnalogSGD",
        "optim.context": "AnalogContext",
        "simulator.configs": "InferenceRPUConfig",
        "simulator.configs.devices": "TransferCompound",
        "simulator.configs.helpers": "build_config",
        "simulator.configs.utils": "IOParameters",
        "simulator.parameters.enums": "PulseType",
        "simulator.tiles.inference": "InferenceTile",
        "simulator.presets.utils": "PresetIOParameters",
        "simulator.rpu_base": "cuda",
        "simulator.noise_models": "PCMLikeNoiseModel",
        "inference.noise.hermes": "HermesNoiseModel",
        "inference.calibration": "calibrate_input_ranges",
        "linalg.matrix": "AnalogMatrix",
        "utils.analog_info": "analog_summary",
        "utils.export": "fusion_export",
        "utils.legacy": "convert_legacy_checkpoint",
        "cloud.client": "anything at all",
        "extension": "FloatPrecisionCast",
        "exceptions": "TileError",
    }.items():
        assert names.lookup(module, name) is not None, (module, name)
    assert names.lookup("nn", "AnalogNonsense") is None
    assert names.lookup("nonsense", "AnalogLinear") is None


def test_what_is_left_out_or_changed_says_why():
    entries = [fate for group in names.groups() for fate in group.fates.values()]
    entries += [fate for entry in names.members() for fate in entry.fates.values()]
    assert len(entries) > 700
    for fate in entries:
        assert (fate.state in ("changed", "left out")) <= (len(fate.note) > 8), fate


def test_no_name_stands_twice():
    """Of one module, and one attribute of a class, the table says one thing."""
    keys = [(source, name) for group in names.groups() for source in group.source for name in group.fates]
    keys += [(entry.owner, name) for entry in names.members() for name in entry.fates]
    twice = {key for key in keys if keys.count(key) > 1}
    assert twice == set()


def test_the_page_lists_everything():
    text = page()
    for group in names.groups():
        for fate in group.fates.values():
            assert f"`{fate.name}`" in text or fate.name == "*"
    assert text.count("\n## ") + text.startswith("## ") == len({entry.section for entry in names.groups()})


EXAMPLES = {
    "AnalogConv2d": lambda cls: cls(1, 1, 2),
    "AnalogRNN": lambda cls: cls(nn.AnalogLSTMCell, 2, 2),
    "AnalogSGD": lambda cls: cls([torch.nn.Parameter(torch.ones(1))], lr=0.1),
    "BasicTraining": lambda cls: cls,
}


def example_of(entry):
    """An object of the class, or the class itself where it needs arguments."""
    cls = getattr(importlib.import_module(entry.module), entry.owner)
    if entry.owner in EXAMPLES:
        return EXAMPLES[entry.owner](cls)
    if isinstance(cls, type) and issubclass(cls, torch.nn.Module):
        return cls(2, 3)
    try:
        return cls()
    except TypeError:
        return cls


@pytest.mark.parametrize("entry", names.members(), ids=lambda entry: entry.owner)
def test_attributes_and_defaults(entry):
    thing = example_of(entry)
    arguments = inspect.signature(getattr(importlib.import_module(entry.module), entry.owner)).parameters
    for name, fate in entry.fates.items():
        assert (hasattr(thing, name) or name in arguments) == (fate.target is not None), name
        if name in entry.defaults:
            default = arguments[name].default if name in arguments else inspect.Parameter.empty
            if default is inspect.Parameter.empty or "factory" in repr(default):
                default = getattr(thing, name)
            assert (default.name if isinstance(default, enum.Enum) else str(default)) == entry.defaults[name], name


GEOMETRY = (
    "kernel_size stride=1 padding=0 dilation=1 groups=1 bias=True padding_mode=zeros rpu_config tile_module_class"
)
CELL = "input_size hidden_size bias rpu_config tile_module_class"
SIGNATURES = {
    nn.AnalogLinear: "in_features out_features bias=True rpu_config tile_module_class",
    nn.AnalogConv1d: f"in_channels out_channels {GEOMETRY}",
    nn.AnalogConv2d: f"in_channels out_channels {GEOMETRY} use_indexed",
    nn.AnalogConv3d: f"in_channels out_channels {GEOMETRY}",
    nn.AnalogConv2dMapped: f"in_channels out_channels {GEOMETRY} use_indexed",
    nn.AnalogRNN: f"cell {CELL} xavier=False num_layers=1 bidir=False dropout=0.0",
    nn.AnalogLSTMCell: CELL,
    nn.AnalogGRUCell: CELL,
    nn.convert_to_analog: "module rpu_config tile_module_class conversion_map specific_rpu_config_fun module_name "
    "ensure_analog_root=True exclude_modules inplace=False verbose=False",
    nn.convert_to_digital: "module conversion_set module_name inplace=False",
}


@pytest.mark.parametrize("thing", list(SIGNATURES))
def test_signatures(thing):
    """Positional arguments, in their order, with the defaults that are not None or empty."""
    given = inspect.signature(thing).parameters.values()
    positional = [p for p in given if p.kind is p.POSITIONAL_OR_KEYWORD]
    expected = [entry.partition("=") for entry in SIGNATURES[thing].split()]
    assert [p.name for p in positional] == [name for name, _, _ in expected]
    for parameter, (_, _, default) in zip(positional, expected, strict=True):
        if default:
            assert str(parameter.default) == default


PAGE = Path(__file__).parents[3] / "docs" / "migration.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a source distribution has no documentation")
def test_modules_of_the_guide_are_those_of_the_table():
    """Every module of the table of imports leads where the guide says."""
    rows = re.findall(r"^\| `aihwkit\.([\w.]+)`.*?\| `([\w.]+)`", PAGE.read_text(), flags=re.MULTILINE)
    assert len(rows) > 8
    for source, target in rows:
        assert names.target_module(source) == target
