"""Check the tracked files: nothing that only means something on one machine, and a warning for long sources."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONG = 500  # lines after which a file may have two topics
SOURCES = {".py", ".cpp", ".hpp", ".h", ".cu"}
FORBIDDEN = {
    re.compile(r"(?<![\w./-])/(?:home|root|work|tmp|Users|mnt)/\w"): "a path of one machine",
    re.compile(r"(?:pypi|pythonhosted|pytorch)\.(?:org|io)/(?:simple|whl|packages)"): "a package registry",
}


def tracked() -> list[Path]:
    """Return the files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def forbidden_in(file: Path, text: str) -> Iterator[str]:
    """Yield the places where a file holds a forbidden string."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, meaning in FORBIDDEN.items():
            if found := pattern.search(line):
                yield f"{file.relative_to(ROOT)}:{number}: '{found[0]}' looks like {meaning}: remove it."


def main() -> int:
    """Print warnings and problems; return 1 if there is a problem."""
    problems: list[str] = []
    for file in tracked():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        problems += forbidden_in(file, text)
        if file.suffix in SOURCES and (lines := text.count("\n")) > LONG:
            print(f"warning: {file.relative_to(ROOT)} has {lines} lines: does it have two topics?")
    print("\n".join(problems) or "files: nothing forbidden")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
