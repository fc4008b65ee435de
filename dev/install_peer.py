"""Install the peer toolkit, which the benchmarks compare with, into an environment of its own.

    python dev/install_peer.py .nox/peer      prints the interpreter to pass to `python -m benchmarks.peer --peer`

The toolkit is built from its source distribution with the flags that it chooses itself (three minutes on two cores).
That needs a C++ compiler and a BLAS with headers, such as Debian's libopenblas-dev.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import venv
from pathlib import Path

PEER = "aihwkit==1.2.0"
CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"  # both sides of a comparison run on one torch
# Its build script calls mypy's stubgen; without isolation all build requirements have to be there before.
BUILD_REQUIREMENTS = ("scikit-build", "cmake", "ninja", "pybind11", "mypy", "setuptools<80", "wheel")
RUN_REQUIREMENTS = ("torch", "torchvision", "numpy", "scipy", "requests", "protobuf", "tqdm", "scikit-learn")


def install(environment: Path, jobs: int) -> Path:
    """Create `environment` (unless the peer is in it already) and return its interpreter; builds on `jobs` cores."""
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    if subprocess.run([python, "-c", "import aihwkit"], check=False, capture_output=True).returncode == 0:
        return python
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-c", str(CONSTRAINTS), *RUN_REQUIREMENTS, *BUILD_REQUIREMENTS], check=True)
    # The cmake, ninja and stubgen that build it must be the ones just installed.
    tools = {"PATH": f"{scripts.resolve()}{os.pathsep}{os.environ['PATH']}", "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs)}
    # Its dependencies are installed above; resolved here, they could replace the torch it is built against.
    build = [*pip, "--no-build-isolation", "--no-deps", "--no-binary", "aihwkit", PEER]
    subprocess.run(build, check=True, env={**os.environ, **tools})
    return python


def main() -> None:
    """Install into the environment named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    print(install(arguments.environment, arguments.jobs))


if __name__ == "__main__":
    main()
