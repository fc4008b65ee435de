"""What docs/parity.md says is present can be imported, and has the arguments of the established frontend."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from aihw_torch import nn
from aihw_torch.nn.base import AnalogLayerBase
from aihw_torch.tiles import AnalogTile, TileModule

PAGE = Path(__file__).parents[3] / "docs" / "parity.md"
TEXT = PAGE.read_text() if PAGE.exists() else ""
needs_the_page = pytest.mark.skipif(not TEXT, reason="a source distribution has no documentation")


def rows():
    """Yield (module, name) of the names that are present or new."""
    module = ""
    for line in TEXT.splitlines():
        if heading := re.match(r"## .*`(aihw_torch[\w.]*)`", line):
            module = heading[1]
        elif line.startswith("| `"):
            names, state = line.strip("|").split("|")[:2]
            if state.strip().startswith(("present", "new")):
                home = re.search(r"in `(aihw_torch[\w.]*)`", state)
                yield from ((home[1] if home else module, name) for name in re.findall(r"`([\w.]+)`", names))


@needs_the_page
@pytest.mark.parametrize(("module", "name"), list(rows()))
def test_names_can_be_imported(module, name):
    inner, _, name = name.rpartition(".")
    assert hasattr(importlib.import_module(f"{module}.{inner}" if inner else module), name)


@needs_the_page
def test_methods():
    text = TEXT.replace("\n", " ")
    for cls, start in ((AnalogLayerBase, "Methods of layers and containers:"), (AnalogTile, "Methods of tiles:")):
        listed = re.findall(r"`(\w+)`", text[text.index(start) : text.index("present", text.index(start))])
        assert len(listed) > 8
        owner = nn.AnalogLinear if cls is AnalogLayerBase else cls
        assert [name for name in listed if not hasattr(owner, name)] == []
    assert hasattr(TileModule, "set_input_range")


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
