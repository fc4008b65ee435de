"""Check that the CUDA kernels compute with the arithmetic of the CPU: `check_ptx.py FOLDER_OF_PTX_FILES`.

PTX says how each operation rounds. Fused multiply-adds are only allowed where they are written, in the matrix product
and in exact updates; nothing may be approximate or flush small numbers to zero.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

KERNEL = re.compile(r"\.entry\s+(\w+)")
FUSED = re.compile(r"\b(?:fma|mad)\.[\w.]*f(?:32|64)")
FUSES = re.compile(r"Product|BoundedRank")  # kernels with multiply-adds of their own
# Not rounded as IEEE 754 says, or left to the assembler, which then may fuse.
LOOSE = re.compile(r"\b\w[\w.]*\.(?:approx|full|ftz)\b[\w.]*|\b(?:add|sub|mul)\.f(?:32|64)\b")


def kernels(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and body of each kernel of a PTX file."""
    parts = KERNEL.split(text)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def problems(text: str) -> list[str]:
    """Return what is wrong with the kernels of a PTX file, one sentence each."""
    found = []
    for name, body in kernels(text):
        loose = Counter(LOOSE.findall(body))
        if not FUSES.search(name):
            loose += Counter(FUSED.findall(body))
        found += [f"{name} has {n} x {operation}: see the flags of nvcc." for operation, n in sorted(loose.items())]
    return found


def main() -> int:
    """Print the problems of all PTX files of a folder; return 1 if there is one, or no kernel."""
    files = sorted(Path(sys.argv[1]).glob("*.ptx"))
    number = sum(1 for file in files for _ in kernels(file.read_text()))
    found = [f"{file.name}: {problem}" for file in files for problem in problems(file.read_text())]
    if not number:
        found = [f"{sys.argv[1]} holds no kernel: build the target ptx of the plugin first."]
    print("\n".join(found) or f"{number} kernels, all operations rounded as on the CPU")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
