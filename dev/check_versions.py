"""Check that the packages fit each other: version constraints, changelogs, licences, pins."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator

from packaging.requirements import Requirement

from package_info import ROOT, Package, packages


def problems_of(package: Package, others: dict[str, Package]) -> Iterator[str]:
    """Yield what is wrong with one package, one sentence each."""
    for requirement in package.requirements:
        other = others.get(requirement.name)
        if other and not requirement.specifier.contains(other.version, prereleases=True):
            yield f"{package.name} needs {requirement}, but the tree has {other.version}: widen it or release both."
        if other and not any(part.operator in ("<", "==", "~=") for part in requirement.specifier):
            yield f"{package.name} needs {requirement} without an upper bound: add the next incompatible version."
    if package.changelog_title() is None:
        yield f"{package.name}: CHANGELOG.md has no heading '## {package.version} (unreleased)' or with a date: add it."
    if (package.folder / "LICENSE").read_bytes() != (ROOT / "LICENSE").read_bytes():
        yield f"{package.name}: LICENSE differs from the one at the root: copy it."


def pin_problems(everything: dict[str, Package]) -> Iterator[str]:
    """Yield the pins of constraints.txt that a package would not accept, and the requirements without a pin."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = {pin.name: str(pin.specifier).removeprefix("==") for pin in map(Requirement, lines)}
    for package in everything.values():
        for requirement in package.requirements:
            if requirement.name in everything:
                continue
            if requirement.name not in pins:
                yield f"constraints.txt has no pin for {requirement.name}, which {package.name} needs: add it."
            elif not requirement.specifier.contains(pin := pins[requirement.name]):
                yield f"constraints.txt pins {requirement.name}=={pin}, but {package.name} needs {requirement}."


def plugin_problems(core: Package) -> Iterator[str]:
    """Yield where the CUDA plugin and rpu-sim do not name exactly each other."""
    folder = core.folder / "cuda"
    plugin = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    if plugin["version"] != core.version:
        yield f"{plugin['name']} is of version {plugin['version']}, rpu-sim of {core.version}: make them equal."
    extra = core.project["optional-dependencies"]["cu13"]
    pins = {
        f"{plugin['name']} needs": (plugin["dependencies"], f"rpu-sim=={core.version}"),
        "the extra cu13 of rpu-sim is": (extra, f"{plugin['name']}=={core.version}"),
    }
    for what, (found, wanted) in pins.items():
        if found != [wanted]:
            yield f"{what} {found}: write ['{wanted}']."
    if (folder / "LICENSE").read_bytes() != (ROOT / "LICENSE").read_bytes():
        yield f"{plugin['name']}: LICENSE differs from the one at the root: copy it."


def main() -> int:
    """Print every problem; return 1 if there is one."""
    everything = packages()
    problems = [problem for package in everything.values() for problem in problems_of(package, everything)]
    problems += [*pin_problems(everything), *plugin_problems(everything["rpu-sim"])]
    print("\n".join(problems) or f"versions: {', '.join(f'{p.name} {p.version}' for p in everything.values())}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
