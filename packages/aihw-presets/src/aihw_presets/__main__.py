"""Command line: `python -m aihw_presets list|show|validate`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import KINDS, PresetError, compose, info, names, register_path, validate

EXAMPLES = """\
examples:
  python -m aihw_presets list --kind device
  python -m aihw_presets show TikiTakaEcRamPreset
  python -m aihw_presets show TTv2 --device ReRamArrayOMPresetDevice
  python -m aihw_presets show EcRamPresetDevice --info
  python -m aihw_presets show EcRamPresetDevice --file > mydevice.toml
  python -m aihw_presets validate mydevice.toml
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aihw_presets",
        description="List, show and check presets: calibrated devices, unit cells, periphery, noise models\n"
        "and training configurations, each with its source.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--path", action="append", default=[], type=Path, help="also search this preset file or directory (repeatable)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|show|validate")

    listing = commands.add_parser("list", parents=[where], help="list presets with kind, class and source")
    listing.add_argument("--kind", choices=KINDS, help="list presets of one kind only")
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", parents=[where], help="print a preset as JSON, as load() returns it")
    show.add_argument("name", help="name of the preset")
    for slot in ("device", "io", "update"):
        show.add_argument(f"--{slot}", metavar="NAME", help=f"fill the slot '{slot}' with this preset")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--info", action="store_true", help="print source, DOI, licence, units and notes instead")
    form.add_argument("--file", action="store_true", help="print the TOML file instead, to start your own from")
    show.set_defaults(run=_show)

    check = commands.add_parser("validate", parents=[where], help="check preset files; exit status 1 if one is broken")
    check.add_argument("target", metavar="PATH", type=Path, help="preset file, or directory of them")
    check.set_defaults(run=_validate)
    return parser


def _list(options: argparse.Namespace) -> int:
    kinds = [options.kind] if options.kind else KINDS
    rows = [(name, kind, info(name)) for kind in kinds for name in names(kind)]
    width = max(len(name) for name, _, _ in rows)
    for name, kind, about in rows:
        print(f"{name:{width}}  {kind:11}  {about['class'] or '-':26}  {', '.join(about['source'])}")
    return 0


def _show(options: argparse.Namespace) -> int:
    slots = {slot: name for slot in ("device", "io", "update") if (name := getattr(options, slot))}
    if slots and (options.info or options.file):
        raise PresetError("--device, --io and --update do not go with --info and --file: leave them out")
    if options.file:
        print(Path(info(options.name)["file"]).read_text(encoding="utf-8"), end="")
    else:
        table = info(options.name) if options.info else compose(options.name, **slots)
        print(json.dumps(table, indent=2, ensure_ascii=False))
    return 0


def _validate(options: argparse.Namespace) -> int:
    problems = validate(options.target)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{options.target}: {len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status (0 well, 1 a preset is unknown or broken)."""
    options = _parser().parse_args(arguments)
    try:
        for path in options.path:
            register_path(path)
        status: int = options.run(options)
        sys.stdout.flush()
    except PresetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
