"""What the packages of the repository say about themselves."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One package under packages/."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of the distribution."""
        return str(self.project["name"])

    @property
    def module(self) -> str:
        """The name to import."""
        return self.name.replace("-", "_")

    @cached_property
    def project(self) -> dict[str, Any]:
        """The table [project] of the package's pyproject.toml."""
        table: dict[str, Any] = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]
        return table

    @property
    def version(self) -> str:
        """The version, which stands in pyproject.toml or, for dynamic metadata, in the package's __init__.py."""
        if "version" in self.project:
            return str(self.project["version"])
        source = self.folder / "src" / self.module / "__init__.py"
        found = VERSION.search(source.read_text())
        if found is None:
            raise SystemExit(f'{source.relative_to(ROOT)} has no line like __version__ = "0.1.0": add it.')
        return found[1]

    @property
    def tag(self) -> str:
        """The git tag of the current version."""
        return f"{self.name}-v{self.version}"

    @property
    def requirements(self) -> list[Requirement]:
        """What the package needs at run time."""
        return [Requirement(text) for text in self.project.get("dependencies", [])]

    def changelog_title(self) -> str | None:
        """Return the changelog's heading for the current version, such as "0.1.0 (unreleased)", or None."""
        changelog = self.folder / "CHANGELOG.md"
        text = changelog.read_text() if changelog.exists() else ""
        found = re.search(rf"^## ({re.escape(self.version)} \((?:unreleased|\d{{4}}-\d\d-\d\d)\))$", text, re.MULTILINE)
        return found[1] if found else None


def packages() -> dict[str, Package]:
    """Return every package of the repository by name."""
    found = [Package(file.parent) for file in sorted(ROOT.glob("packages/*/pyproject.toml"))]
    return {package.name: package for package in found}
