"""`python -m aihw_torch.migrate SCRIPT ...`: rewrite the imports of scripts that use aihwkit."""

from __future__ import annotations

import argparse
import difflib
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 where something is left to do, or 2 where a file could not be read."""
    parser = argparse.ArgumentParser(
        prog="python -m aihw_torch.migrate",
        description="Rewrite the imports of scripts that use aihwkit, and say what needs a look, line by line.",
        epilog="The exit status is 1 if a name is left that has no counterpart, with --check also if a file would "
        "change.",
    )
    parser.add_argument("script", nargs="+", type=Path, help="a Python file, or a folder of them")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--diff", action="store_true", help="show the changes as a diff (the default)")
    action.add_argument("--write", action="store_true", help="change the files")
    action.add_argument("--check", action="store_true", help="only say what would change")
    parser.add_argument("--quiet", action="store_true", help="leave out the notes on what behaves differently")
    options = parser.parse_args(arguments)
    try:
        import libcst
    except ImportError:
        print("migrate needs libcst; install it with pip install 'aihw-torch[migrate]'", file=sys.stderr)
        return 2
    status = 0
    for path in _files(options.script):
        try:
            status = max(status, _one(path, options))
        except (OSError, UnicodeDecodeError, libcst.ParserSyntaxError) as error:
            print(f"{path} is not a Python file that can be read: {error}", file=sys.stderr)
            status = 2
    return status


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _one(path: Path, options: Any) -> int:
    """Treat one file; return 1 if something is left to do."""
    from aihw_torch.migrate.rewrite import rewrite

    with path.open("rb") as binary:
        encoding, _ = tokenize.detect_encoding(binary.readline)
    with path.open(encoding=encoding, newline="") as file:
        code = file.read()
    result = rewrite(code)
    changes = result.code != code
    for remark in result.remarks:
        if remark.open or not options.quiet:
            print(f"{path}:{remark.line}: {'' if remark.open else 'note: '}{remark.text}", file=sys.stderr)
    if options.write and changes:
        with path.open("w", encoding=encoding, newline="") as file:
            file.write(result.code)
        print(f"{path}: rewritten", file=sys.stderr)
    elif options.check and changes:
        print(f"{path}: would be rewritten", file=sys.stderr)
    elif not options.write and not options.check:
        old, new = (text.splitlines(keepends=True) for text in (code, result.code))
        sys.stdout.writelines(difflib.unified_diff(old, new, f"{path} (aihwkit)", f"{path} (aihw_torch)"))
    return int(bool(result.unresolved) or (options.check and changes))


if __name__ == "__main__":
    sys.exit(main())
