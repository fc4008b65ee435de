"""The shipped JSON schema, and the reader's own check of it, against the jsonschema package."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aihw_presets import library
from aihw_presets.schema import SCHEMA_FILE, problems

SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FILES = sorted((Path(library.__file__).parent / "data").rglob("*.toml"))
DOCUMENTS = [tomllib.loads(file.read_text(encoding="utf-8")) for file in FILES]

json_values = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("document", DOCUMENTS, ids=[file.stem for file in FILES])
def test_shipped_files_follow_it(document: dict[str, Any]) -> None:
    VALIDATOR.validate(document)
    assert list(problems(document)) == []


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    here = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [(node, key) for key, _ in here] + [place for _, value in here for place in places(value)]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_both_checks_agree_on_damaged_files(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS)))
    container, key = data.draw(st.sampled_from(places(document)))
    match data.draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            container[key] = data.draw(json_values)
        case "remove":
            del container[key]
        case "add" if isinstance(container, dict):
            container[data.draw(st.text(max_size=3))] = data.draw(json_values)
        case "add":
            container.append(data.draw(json_values))
    assert (list(problems(document)) == []) == VALIDATOR.is_valid(document)
