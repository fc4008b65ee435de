"""Audit wheels: tags, size, content, and for a compiled one its symbols and libraries (ELF only, with binutils)."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename


@dataclass(frozen=True)
class Native:
    """What is expected of a wheel with one compiled library."""

    module: str
    tag: tuple[str, str]  # interpreter and ABI
    visible: re.Pattern[str]  # symbols that the library may export
    size_budget: int

    @property
    def is_extension(self) -> bool:
        """Whether Python itself loads the library."""
        return self.tag[1] == "abi3"


_PLUGIN = Native("rpu_sim_cuda", ("py3", "none"), re.compile("rpu_plugin"), 16_000_000)
NATIVE = {
    "rpu-sim": Native("rpu_sim", ("cp311", "abi3"), re.compile(r"PyInit_\w+"), 4_000_000),
    "rpu-sim-cu13": _PLUGIN,
    "rpu-sim-cu12": _PLUGIN,
}
DEFAULT_SIZE_BUDGET = 500_000
# What every Linux with Python has (manylinux's list, less what a numeric extension never needs).
LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libstdc++.so.6", "libgcc_s.so.1"}
LIBRARY_PREFIXES = ("ld-linux",)


def tool(*command: str) -> list[str]:
    """Return the lines that a command prints."""
    return subprocess.check_output(command, text=True).splitlines()


def content_problems(name: str, module: str, names: list[str]) -> Iterator[str]:
    """Yield what a wheel holds that it should not, and what it lacks."""
    for file in names:
        top = file.split("/")[0]
        if top != module and not top.endswith(".dist-info"):
            yield f"{file} is outside {module}/: fix what the wheel includes."
        if file.endswith((".cpp", ".hpp", ".cu", ".o", ".a", ".pyc")) or "/tests/" in file:
            yield f"{file} does not belong into a wheel: fix what the wheel includes."
    for wanted in (f"{module}/__init__.py", f"{module}/py.typed"):
        if wanted not in names:
            yield f"{wanted} is missing: add it to the package."
    if not any(".dist-info/licenses/LICENSE" in file for file in names):
        yield "the licence is missing: set license-files."
    native = [file for file in names if file.endswith((".so", ".pyd", ".dll", ".dylib"))]
    if len(native) != (name in NATIVE):
        yield f"{len(native)} compiled files ({', '.join(native)}) where {int(name in NATIVE)} belong."


def library_problems(library: Path, visible: re.Pattern[str]) -> Iterator[str]:
    """Yield the exported symbols and needed libraries of a compiled library that should not be there."""
    exported = {line.split()[-1] for line in tool("nm", "-D", "--defined-only", str(library))}
    for symbol in sorted(symbol for symbol in exported if not visible.fullmatch(symbol)):
        yield f"{library.name} exports {symbol}: only the entry point may be visible (exports.map)."
    needed = [line.split()[-1] for line in tool("objdump", "-p", str(library)) if line.split()[:1] == ["NEEDED"]]
    for name in needed:
        if name not in LIBRARIES and not name.startswith(LIBRARY_PREFIXES):
            yield f"{library.name} needs {name}, which not every machine has: link it statically or drop it."


def native_problems(wheel: Path, names: list[str], native: Native) -> Iterator[str]:
    """Yield the problems of the compiled files of a wheel."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for file in names:
            if file.endswith(".so") and archive.read(file)[:4] == b"\x7fELF":
                yield from library_problems(Path(archive.extract(file, folder)), native.visible)
    if (
        native.is_extension
        and subprocess.run([sys.executable, "-m", "abi3audit", "--strict", "--summary", str(wheel)]).returncode
    ):
        yield "abi3audit found symbols outside the stable ABI: see above."


def audit(wheel: Path) -> list[str]:
    """Return the problems of one wheel, one sentence each."""
    name, _, _, tags = parse_wheel_filename(wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = [file for file in archive.namelist() if not file.endswith("/")]
    native = NATIVE.get(name)
    problems = list(content_problems(name, native.module if native else name.replace("-", "_"), names))
    want = native.tag if native else ("py3", "none")
    if any((tag.interpreter, tag.abi) != want or (tag.platform == "any") == (name in NATIVE) for tag in tags):
        problems.append(f"its tags are {', '.join(map(str, tags))} where {'-'.join(want)}-... is wanted.")
    budget = native.size_budget if native else DEFAULT_SIZE_BUDGET
    if wheel.stat().st_size > budget:
        problems.append(f"it has {wheel.stat().st_size} bytes, more than its budget of {budget}.")
    if native:
        problems += native_problems(wheel, names, native)
    return [f"{wheel.name}: {problem}" for problem in problems]


def main() -> int:
    """Audit the wheels named on the command line; return 1 if one has a problem."""
    problems = []
    for wheel in map(Path, sys.argv[1:]):
        problems += (found := audit(wheel))
        if not found:
            print(f"{wheel.name}: {wheel.stat().st_size} bytes, in order")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
