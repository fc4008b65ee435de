"""The Python examples of the READMEs run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Return each README's name and its examples, which may build on each other, as one script."""
    scripts = [(readme, "\n".join(EXAMPLE.findall(readme.read_text()))) for readme in READMES]
    return [(str(readme.relative_to(ROOT)), script) for readme, script in scripts if script]


@pytest.mark.parametrize(("name", "script"), examples(), ids=[name for name, _ in examples()])
def test_examples_run(name: str, script: str) -> None:
    exec(compile(script, name, "exec"), {"__name__": "example"})


def test_root_readme_has_examples() -> None:
    assert "README.md" in dict(examples())
