"""A side in a process of its own, so that two environments (two builds, or ours and the peer's) can be timed in turn.

One request a line on standard input, one JSON answer a line on standard output:

    facts                          -> {"rpu_sim": "0.1.0", ...}
    case update-soft-512x512-b64   -> {}                 the case is prepared
    block 12                       -> {"seconds": 3e-4}  seconds per call of 12 warm calls

or {"error": "..."}. The process ends when its input does. Between an answer and the next request it is stopped, where
the system can do so: threads of a BLAS spin for 100 ms after their last call, beside the other side's block.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from benchmarks.cases import Case, NetworkCase, parse
from benchmarks.interleave import CLOCKS, Local

ROOT = Path(__file__).resolve().parents[1]
SIDES = {"ours": "benchmarks.tiles", "peer": "benchmarks.peer_tiles"}


class Remote:
    """The parent's view of a worker: `python` is the interpreter of the environment to measure."""

    def __init__(self, python: str, side: str, framework: str, threads: int, clock: str) -> None:
        options = ["--framework", framework, "--threads", str(threads), "--clock", clock]
        command = [python, "-m", "benchmarks.worker", side, *options]
        # Every BLAS and OpenMP reads its thread count from the environment, before its first call.
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self._name = f"{side} in {python}"
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **counts}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def _signal(self, name: str) -> None:
        if hasattr(signal, name):  # not on Windows
            self._process.send_signal(getattr(signal, name))

    def _ask(self, request: str) -> dict[str, Any]:
        self._signal("SIGCONT")
        self._requests.write(request + "\n")
        self._requests.flush()
        answer = self._answers.readline()
        self._signal("SIGSTOP")
        if not answer:
            raise RuntimeError(f"The worker '{self._name}' ended at '{request}'; its messages stand above.")
        content: dict[str, Any] = json.loads(answer)
        if "error" in content:
            raise RuntimeError(f"The worker '{self._name}' cannot do '{request}': {content['error']}")
        return content

    def facts(self) -> dict[str, str]:
        """Versions of what the worker measures."""
        return self._ask("facts")

    def prepare(self, case: Case | NetworkCase) -> None:
        """Let the worker build the tile and the operands of `case`."""
        self._ask(f"case {case}")

    def block(self, calls: int) -> float:
        """Seconds per call of `calls` warm calls in a row."""
        return float(self._ask(f"block {calls}")["seconds"])

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        self._signal("SIGCONT")
        self._requests.close()
        self._process.wait()
        self._answers.close()


def serve(side: Any, framework: str, clock: str, requests: IO[str], answers: IO[str]) -> None:
    """Answer `requests` until there are no more; `side` is one of the modules of SIDES, `clock` one of CLOCKS."""
    prepared: Local | None = None
    for line in requests:
        verb, _, argument = line.strip().partition(" ")
        try:
            if verb == "facts":
                answer: dict[str, Any] = side.facts()
            elif verb == "case":
                prepared, answer = side.prepare(parse(argument), framework), {}
            elif verb == "block" and prepared is not None:
                answer = {"seconds": prepared.block(int(argument), CLOCKS[clock])}
            else:
                answer = {"error": "the requests are facts, case and, once a case is prepared, block."}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve one side on this process's standard input and output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--framework", default="numpy", choices=("numpy", "torch"), help="what the arrays are")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--clock", default="wall", choices=CLOCKS)
    arguments = parser.parse_args()
    # What a library prints must not become an answer: answers get a descriptor of their own, prints go to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side = importlib.import_module(SIDES[arguments.side])
    side.set_num_threads(arguments.threads)
    serve(side, arguments.framework, arguments.clock, sys.stdin, answers)


if __name__ == "__main__":
    main()
