"""First runs of noxfile.py at the same time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Runs noxfile.py with environments that are made at once, but not before all runs are making theirs; nothing is
# installed or started.
RUN = """
import pathlib, runpy, shutil, subprocess, sys, time, venv

here, runs, name = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def create(folder, *, with_pip, clear=False):
    if clear:
        shutil.rmtree(folder, ignore_errors=True)
    python = pathlib.Path(folder, "bin", "python")
    python.parent.mkdir(parents=True)
    python.write_text(name)
    (here / f"{name}.making").touch()
    for _ in range(6000):
        if len(list(here.glob("*.making"))) == runs:
            break
        time.sleep(0.01)
    else:
        sys.exit("the other runs did not come")
    time.sleep(0.1)
    assert python.read_text() == name, "another run deleted this environment"

def call(command):
    assert pathlib.Path(command[0]).exists(), command
    return 0

sys.argv = ["noxfile.py", "-l"]
venv.create, subprocess.call, subprocess.check_call = create, call, call
runpy.run_path(str(here / "noxfile.py"), run_name="__main__")
"""


def test_first_runs_at_once_make_one_environment(tmp_path: Path) -> None:
    for name in ("noxfile.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, "-c", RUN, str(tmp_path), "3"]
    runs = [subprocess.Popen([*command, str(n)], stderr=subprocess.PIPE, text=True) for n in range(3)]
    outcomes = [(run.communicate()[1], run.returncode) for run in runs]
    assert outcomes == [("", 0)] * 3
    (made,) = (tmp_path / ".nox").iterdir()
    assert made.name.startswith("bootstrap-nox==")
