"""The command line of an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch


def command_line(description: str | None, arguments: Sequence[str] | None, **options: Any) -> argparse.Namespace:
    """Parse the options of an example, seed torch with `--seed` (1 by default), and return them.

    Args:
        description: for `--help`, such as `__doc__`.
        arguments: of the command line, by default those of the process.
        options: default of each option, or (default, help). Its type is that of the default; whole numbers are at least
            1, or at least 0 where that is the default; False makes a switch, a list takes one or more values.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, option in options.items():
        default, text = option if isinstance(option, tuple) else (option, None)
        flag = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(flag, action="store_true", help=text)
        elif isinstance(default, list):
            parser.add_argument(flag, type=_type(default[0]), nargs="+", default=default, help=text)
        else:
            parser.add_argument(flag, type=_type(default), default=default, help=text)
    parser.add_argument("--seed", type=int, default=1)
    found = parser.parse_args(arguments)
    torch.manual_seed(found.seed)
    return found


def _type(default: Any) -> Callable[[str], Any]:
    """Return the function that reads a value of the type of a default."""
    if not isinstance(default, int):
        kind: Callable[[str], Any] = type(default)
        return kind
    least = min(default, 1)

    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {number}")
        return number

    return whole
