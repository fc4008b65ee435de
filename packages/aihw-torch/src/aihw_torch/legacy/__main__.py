"""`python -m aihw_torch.legacy CHECKPOINT`: say what a checkpoint of aihwkit holds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from aihw_torch.config import to_dict
from aihw_torch.errors import StateError
from aihw_torch.legacy import import_checkpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 if the file cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m aihw_torch.legacy",
        description="Say what a checkpoint of aihwkit holds, without executing anything in it.",
    )
    parser.add_argument("checkpoint", type=Path, help="a file with a state_dict() of aihwkit 0.9.2 or later")
    parser.add_argument("--configs", type=Path, help="write the configurations of the tiles to this JSON file")
    options = parser.parse_args(arguments)
    try:
        checkpoint = import_checkpoint(options.checkpoint)
    except (StateError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(checkpoint.report())
    if options.configs:
        plain = {name: to_dict(config) for name, config in checkpoint.rpu_configs.items()}
        options.configs.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
