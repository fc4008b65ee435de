"""Audit wheels: tags, size, content, and for a compiled one its symbols and libraries (ELF only, with binutils)."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import parse_wheel_filename

NATIVE = {"rpu-sim"}
SIZE_BUDGET = {"rpu-sim": 4_000_000}
DEFAULT_SIZE_BUDGET = 500_000
# What every Linux with Python has (manylinux's list, less what a numeric extension never needs).
LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1"}
LIBRARY_PREFIXES = ("ld-linux",)
VISIBLE = re.compile(r"PyInit_\w+")


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


def library_problems(library: Path) -> Iterator[str]:
    """Yield the exported symbols and needed libraries of an extension module that should not be there."""
    exported = {line.split()[-1] for line in tool("nm", "-D", "--defined-only", str(library))}
    for symbol in sorted(symbol for symbol in exported if not VISIBLE.fullmatch(symbol)):
        yield f"{library.name} exports {symbol}: only the entry point may be visible (cmake/exports.map)."
    needed = [line.split()[-1] for line in tool("objdump", "-p", str(library)) if line.split()[:1] == ["NEEDED"]]
    for name in needed:
        if name not in LIBRARIES and not name.startswith(LIBRARY_PREFIXES):
            yield f"{library.name} needs {name}, which not every machine has: link it statically or drop it."


def native_problems(wheel: Path, names: list[str]) -> Iterator[str]:
    """Yield the problems of the compiled files of a wheel."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for file in names:
            if file.endswith(".so") and archive.read(file)[:4] == b"\x7fELF":
                yield from library_problems(Path(archive.extract(file, folder)))
    if subprocess.run([sys.executable, "-m", "abi3audit", "--strict", "--summary", str(wheel)]).returncode:
        yield "abi3audit found symbols outside the stable ABI: see above."


def audit(wheel: Path) -> list[str]:
    """Return the problems of one wheel, one sentence each."""
    name, _, _, tags = parse_wheel_filename(wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = [file for file in archive.namelist() if not file.endswith("/")]
    problems = list(content_problems(name, name.replace("-", "_"), names))
    want = ("cp311", "abi3") if name in NATIVE else ("py3", "none")
    if any((tag.interpreter, tag.abi) != want or (tag.platform == "any") == (name in NATIVE) for tag in tags):
        problems.append(f"its tags are {', '.join(map(str, tags))} where {'-'.join(want)}-... is wanted.")
    budget = SIZE_BUDGET.get(name, DEFAULT_SIZE_BUDGET)
    if wheel.stat().st_size > budget:
        problems.append(f"it has {wheel.stat().st_size} bytes, more than its budget of {budget}.")
    if name in NATIVE:
        problems += native_problems(wheel, names)
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
