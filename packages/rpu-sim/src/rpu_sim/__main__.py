"""``python -m rpu_sim doctor``: print versions and back ends."""

from __future__ import annotations

import argparse

from .backends import doctor


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m rpu_sim", description="Simulator of analog crossbar arrays.")
    parser.add_argument("command", choices=["doctor"], help="doctor: print versions, back ends and threads")
    parser.parse_args()
    print(doctor())


if __name__ == "__main__":
    main()
