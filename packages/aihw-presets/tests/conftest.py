from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aihw_presets import library

PACKAGE = Path(library.__file__).parent


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test registers."""
    monkeypatch.setattr(library, "_registered", [])


@pytest.fixture(scope="session")
def toolkit() -> dict[str, Any]:
    """The presets of the established toolkit; the file says what it holds."""
    text = (Path(__file__).parent / "data" / "toolkit_presets.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a preset file of a valid device with the given lines, and return its path."""

    def write_file(
        name: str = "MyDevice", fields: str = 'class = "LinearStepDevice"\ndw_min = 0.01', **other: str
    ) -> Path:
        head = {
            "schema": "1",
            "kind": '"device"',
            "status": '"measured"',
            "source": '["toolkit default"]',
            "licence": '"CC0-1.0"',
            "notes": '"A device."',
        }
        more = other.pop("more", "")
        lines = [f"{key} = {value}" for key, value in {**head, **other}.items() if value]
        path = tmp_path / f"{name}.toml"
        path.write_text("\n".join([*lines, "[fields]", fields, more, ""]), encoding="utf-8")
        return path

    return write_file
