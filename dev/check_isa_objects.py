"""Check that objects compiled for one instruction set define no weak symbols: `check_isa_objects.py BUILD_FOLDER`.

The linker keeps one copy of a weak symbol, perhaps the AVX-512 one, and every older processor would then run it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ISA_OBJECT = re.compile(r"rpu_isa_\w+\.dir")  # how CMake names the folder of such an object library
WEAK = {"W", "w", "V", "v", "u"}


def weak_symbols(file: Path) -> list[str]:
    """Return the weak or unique symbols that an object file defines."""
    lines = subprocess.check_output(["nm", "-C", "--defined-only", str(file)], text=True).splitlines()
    fields = [line.split(maxsplit=2) for line in lines if line.strip()]
    return [field[2] for field in fields if len(field) == 3 and field[1] in WEAK]


def main() -> int:
    """Print the weak symbols of every per-ISA object below a folder; return 1 if there is one, or no object."""
    folder = Path(sys.argv[1])
    objects = [file for file in sorted(folder.rglob("*.o")) if ISA_OBJECT.search(str(file.relative_to(folder)))]
    if not objects:
        print(f"{folder} holds no per-ISA object: build there first, or correct the pattern of this check.")
        return 1
    found = [(file, symbol) for file in objects for symbol in weak_symbols(file)]
    lines = [f"{file.name}: {symbol} is weak: put it into the anonymous namespace." for file, symbol in found]
    print("\n".join(lines) or f"{len(objects)} per-ISA objects, no weak symbol")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
