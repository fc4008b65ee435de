"""docs/design/adding-a-device.md is complete: its blocks alone make a device that compiles and equals its oracle."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import importlib
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import exact
import numpy as np
import pytest

from rpu_sim import backends

PACKAGE = Path(__file__).resolve().parents[1]
GUIDE = PACKAGE.parents[1] / "docs" / "design" / "adding-a-device.md"
DEVICE = "SquareStep"
BLOCK = re.compile(r"^```\{code-block\} (?:python|c\+\+)\n:caption: (\S+)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Where the guide says that a block goes: before a line, after a line, or at the end; and what has to be imported there.
PLACES = {
    "src/rpu_sim/config/devices.py": ("before", "Device = FloatingPointDevice"),
    "src/rpu_sim/config/__init__.py": ("after", "from .devices import (\n"),
    "core/physics/square_step.hpp": ("end", ""),
    "core/devices.def": ("end", ""),
    "src/rpu_sim/config/cells.py": ("before", "    return fields\n"),
    "src/rpu_sim/reference/devices.py": ("end", ""),
    "src/rpu_sim/reference/population.py": ("before", "    return {\n        name: value if varies"),
    "tests/exact.py": ("after", "DEVICES = {\n"),
}
IMPORTS = {
    "src/rpu_sim/config/cells.py": "from .devices import",
    "src/rpu_sim/reference/devices.py": "from ..config import",
    "src/rpu_sim/reference/population.py": "from ..config import",
}
FLAGS = ("-std=c++17", "-shared", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
MARCH = {"scalar": (), "v3": ("-march=x86-64-v3",), "aarch64": ()}  # one level without and one with packs

compiler = shutil.which(os.environ.get("CXX", "c++"))
pytestmark = pytest.mark.skipif(
    compiler is None or os.name == "nt", reason="compiles a device: needs a compiler that takes the options of GCC"
)


def inserted(text: str, block: str, where: str, anchor: str) -> str:
    if where == "end":
        return text + block
    assert text.count(anchor) == 1, f"{anchor!r} is no unique place any more"
    return text.replace(anchor, f"{block}\n\n{anchor}" if where == "before" else anchor + block)


def apply_guide(tree: Path) -> None:
    """Put every block of the guide at its place."""
    blocks = dict(BLOCK.findall(GUIDE.read_text()))
    assert blocks.keys() == PLACES.keys()
    for name, block in blocks.items():
        file = tree / name
        text = inserted(file.read_text() if file.exists() else "", block, *PLACES[name])
        if name in IMPORTS:
            text = text.replace(IMPORTS[name], f"{IMPORTS[name]} {DEVICE}Device\n{IMPORTS[name]}", 1)
        if name.endswith("config/__init__.py"):
            text = text.replace("__all__ = [\n", f'__all__ = [\n    "{DEVICE}Device",\n')
        file.write_text(text)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the new device, and the files that the build generates."""
    tree = tmp_path_factory.mktemp("tree")
    for part in ("core", "src", "tools", "tests"):
        shutil.copytree(PACKAGE / part, tree / part, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    apply_guide(tree)
    # -S: an editable installation would import its own files instead of the copies.
    generator = [sys.executable, "-S", "-B", "tools/gen_params.py", "--source", "src/rpu_sim"]
    outputs = ["--hpp", "params.gen.hpp", "--includes", "devices.gen.hpp"]
    subprocess.run([*generator, "--devices", "core/devices.def", *outputs], cwd=tree, check=True)
    return tree


@pytest.fixture(scope="module")
def changed(tree: Path) -> Iterator[Any]:
    """Import modules of the changed tree without the compiled core, under a name beside the installed package's."""
    package = types.ModuleType("changed_rpu_sim")
    package.__path__ = [str(tree / "src" / "rpu_sim")]
    sys.modules[package.__name__] = package
    yield lambda name: importlib.import_module(f"{package.__name__}.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == package.__name__]:
        del sys.modules[name]


def rows_of_exactness_test(tree: Path, config: Any) -> dict[str, Any]:
    """The devices that the guide adds to tests/exact.py."""
    script = (tree / "tests" / "exact.py").read_text().replace("from rpu_sim import config as c", "")
    namespace = {"c": config, "__name__": "changed_exact"}
    exec(compile(script, "exact.py", "exec"), namespace)
    return {name: device for name, device in namespace["DEVICES"].items() if name not in exact.DEVICES}


def library(tree: Path, level: str) -> ctypes.CDLL:
    kernels = [f"core/cpu/kernels_{name}.cpp" for name in ("cells", "update", "flow")]
    sources = [*kernels, *(f"core/ops/{name}.cpp" for name in ("batch", "cells", "update", "windows"))]
    definitions = [f"RPU_LEVEL=isa_{level}", f"RPU_LANES={exact.LANES[level]}", f"RPU_DEVICE_UNDER_TEST={DEVICE}"]
    command = [compiler, *FLAGS, *MARCH[level], *(f"-D{d}" for d in definitions), "-I.", "-Icore"]
    output = tree / f"{level}.so"
    built = subprocess.run(
        [*command, *sources, "tests/one_device.cpp", "-o", output], cwd=tree, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return ctypes.CDLL(str(output))


def numbers(config: Any) -> list[float]:
    """The fields of a dataclass and of those nested in it, in order."""
    values: list[float] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values += numbers(value)
        else:
            values.append(value.index if isinstance(value, enum.Enum) else float(value))
    return values


def pointers(arrays: list[np.ndarray], shape: tuple[int, int]) -> tuple[Any, Any, int]:
    """Addresses and row strides of per-cell parameters; stride 0 is one value for all cells."""
    strides = [shape[1] if array.shape == shape else 0 for array in arrays]
    addresses = [array.ctypes.data for array in arrays]
    return (ctypes.c_void_p * len(arrays))(*addresses), (ctypes.c_int64 * len(arrays))(*strides), len(arrays)


def doubles(values: list[float]) -> Any:
    return (ctypes.c_double * len(values))(*values)


def check_device(core: ctypes.CDLL, changed: Any, device: Any, shape: tuple[int, int], what: str) -> None:
    """Population, two pulsed updates and two mean-field updates equal the oracle bit for bit."""
    cells, reference = changed("config.cells"), changed("reference")
    device.check()
    names = cells.cell_fields(device)
    fields = {name: np.empty(shape if varies else (1, 1), np.float32) for name, varies in names.items()}
    views, parameters = pointers(list(fields.values()), shape), doubles(numbers(device))
    size = [ctypes.c_int64(n) for n in shape]
    key = 5
    core.one_device_populate(parameters, *views, *size, ctypes.c_uint64(key))
    for name, expected in reference.population.populate(device, *shape, key).items():
        exact.assert_same_bits(fields[name], expected.astype(np.float32), f"{name} {what}")

    config = changed("config")
    weights = reference.cells.initial_weights(*shape, -0.1, 0.1, key)
    for step in range(4):
        x, d = exact.batch(shape, 5, seed=step)
        granularity = cells.granularity(device)
        update = config.UpdateParameters()
        if step < 2:
            expected = reference.update.update(weights, fields, device, update, x, d, 0.05, key=key, step=step)
        else:
            update.pulse_type = config.PulseType.MEAN_FIELD
            unpulsed = reference.flow.mean_field(weights, fields, device, update, x, d, 0.05)
            expected = reference.update.Pulsed(unpulsed, np.int64(0), np.int64(0))
        pulses = (ctypes.c_int64 * 2)()
        arrays = [ctypes.c_void_p(a.ctypes.data) for a in (weights, x, d)]
        call = [doubles(numbers(update)), arrays[0], *size, *arrays[1:], ctypes.c_int64(len(x))]
        rate = [ctypes.c_float(0.05), ctypes.c_float(granularity)]
        core.one_device_update(parameters, *views, *call, *rate, ctypes.c_uint64(key), ctypes.c_uint32(step), pulses)
        exact.assert_same_bits(weights, expected.weights, f"weights {what} after update {step}")
        assert (expected.up.sum(), expected.down.sum()) == tuple(pulses)
        assert (sum(pulses) > 0) == (step < 2) or shape == (1, 1)


@pytest.mark.parametrize("level", [level for level in MARCH if level in backends.isa_levels()])
def test_the_guide_makes_a_device(tree: Path, changed: Any, level: str) -> None:
    rows = rows_of_exactness_test(tree, changed("config"))
    assert rows
    core = library(tree, level)
    for name, device in rows.items():
        for shape in exact.shapes(level):
            check_device(core, changed, device, shape, f"{name} {shape}")
