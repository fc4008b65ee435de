"""Print what a release of this tree would publish and tag, and change nothing: `release_plan.py DIST_FOLDER`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from package_info import ROOT, Package, packages

ORDER = ("rpu-sim", "aihw-presets", "aihw-inference", "aihw-torch")  # dependencies first
# Released with rpu-sim, under its tag and version: the sources are the same, the toolkits differ.
PLUGINS = ("rpu-sim-cu13", "rpu-sim-cu12")


def tags() -> set[str]:
    """Return the tags of the repository."""
    return set(subprocess.check_output(["git", "tag", "--list"], cwd=ROOT, text=True).split())


def distributions(package: Package, dist: Path) -> list[Path]:
    """Return the sdist and the wheels of a package's current version; without either there is no release."""
    files = sorted(dist.glob(f"{package.module}-{package.version}[-.]*"))
    if {file.suffix for file in files} != {".whl", ".gz"}:
        raise SystemExit(f"{dist} lacks the sdist or a wheel of {package.name}: run the session wheels.")
    return files


def hashes(files: list[Path]) -> list[str]:
    """Return a line for each file."""
    return [f"    sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]


def plugins(core: Package, dist: Path) -> list[str]:
    """Return the lines of the plan for the CUDA plugins, which are wheels only: rpu-sim's sdist holds their sources."""
    lines = []
    for name in PLUGINS:
        files = sorted(dist.glob(f"{name.replace('-', '_')}-{core.version}-*.whl"))
        lines += [f"{name} {core.version}: with {core.tag}", *hashes(files)]
        if not files:
            lines.append(f"    before: put the wheels of the workflow 'cuda' into {dist.name}/, or run wheels_cuda")
    return lines


def plan(package: Package, files: list[Path]) -> list[str]:
    """Return the lines of the plan for one package."""
    title = package.changelog_title() or ""
    lines = [f"{package.name} {package.version}: tag {package.tag}, changelog '{title}'", *hashes(files)]
    if "unreleased" in title:
        lines.append("    before: replace 'unreleased' in the changelog by the date")
    return lines


def main() -> None:
    """Print the plan."""
    dist, everything, existing = Path(sys.argv[1]), packages(), tags()
    if set(everything) != set(ORDER):
        raise SystemExit(f"packages/ has {', '.join(everything)}, release_plan.py other names: update ORDER.")
    pending = [everything[name] for name in ORDER if everything[name].tag not in existing]
    for package in pending:
        print("\n".join(plan(package, distributions(package, dist))))
        if package.name == "rpu-sim":
            print("\n".join(plugins(package, dist)))
    released = [f"{package.name} {package.version}" for package in everything.values() if package not in pending]
    print(f"released before: {', '.join(released) or 'none'}")
    print("This was a dry run: nothing was tagged or published.")


if __name__ == "__main__":
    main()
