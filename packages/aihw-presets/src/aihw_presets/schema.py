"""Check parsed preset files against the shipped JSON schema, with the standard library only.

Implements the keywords that `shared/preset.schema.json` uses, nothing more. Unlike JSON Schema it rejects numbers that
are not finite, which TOML can write and JSON cannot.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SCHEMA_FILE = Path(__file__).parent / "shared" / "preset.schema.json"

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
}


_SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))

KINDS: tuple[str, ...] = tuple(_SCHEMA["properties"]["kind"]["enum"])
"""What a preset can be; `load` takes all of them but 'algorithm', which `compose` completes with a device."""


def problems(value: Any) -> Iterator[str]:
    """Yield one phrase, with the dotted key it is about, for everything in a parsed file that breaks the schema."""
    return _check(value, _SCHEMA, "")


def _check(value: Any, rule: dict[str, Any], at: str) -> Iterator[str]:
    if "$ref" in rule:
        yield from _check(value, _SCHEMA["$defs"][rule["$ref"].rpartition("/")[2]], at)
    where = at or "the file"
    types = rule.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_TYPES[name](value) for name in types):
        yield f"{where} must be of type {' or '.join(types)}, not {value!r}"
    elif "enum" in rule and (isinstance(value, bool) or value not in rule["enum"]):
        yield f"{where} must be {' or '.join(map(str, rule['enum']))}, not {value!r}"
    elif isinstance(value, str):
        if len(value) < rule.get("minLength", 0):
            yield f"{where} must not be empty"
        if not re.search(rule.get("pattern", ""), value):
            yield f"{where} must match {rule['pattern']}, which {value!r} does not"
    elif isinstance(value, list):
        if len(value) < rule.get("minItems", 0):
            yield f"{where} must not be empty"
        for number, item in enumerate(value):
            yield from _check(item, rule.get("items", {}), f"{at}[{number}]")
    elif isinstance(value, dict):
        yield from _check_object(value, rule, at)


def _check_object(value: dict[str, Any], rule: dict[str, Any], at: str) -> Iterator[str]:
    for key in rule.get("required", []):
        if key not in value:
            yield f"{at or 'the file'} lacks the key {key}"
    known = rule.get("properties", {})
    others = rule.get("additionalProperties", {})
    for key, item in value.items():
        where = f"{at}.{key}" if at else key
        if "propertyNames" in rule:
            yield from _check(key, rule["propertyNames"], f"the key {where}")
        if key not in known and others is False:
            yield f"{where} is not a known key: use one of {', '.join(known)}"
        else:
            yield from _check(item, known.get(key, others), where)
