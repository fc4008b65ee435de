"""Every value of the 75 presets of the established toolkit is reproduced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import aihw_presets

NAMES = list(json.loads((Path(__file__).parent / "data" / "toolkit_presets.json").read_text("utf-8"))["presets"])


def complete(node: Any, defaults: dict[str, Any]) -> Any:
    """Fill in the defaults of every class, as the constructor of the class would."""
    if isinstance(node, list):
        return [complete(item, defaults) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: complete(value, defaults) for key, value in {**defaults.get(node["class"], {}), **node}.items()}


def tables(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [table for item in node for table in tables(item)]
    if not isinstance(node, dict):
        return []
    return [node, *(table for value in node.values() for table in tables(value))]


def test_there_are_75() -> None:
    assert len(NAMES) == 75
    assert set(NAMES) <= set(aihw_presets.names())


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str, toolkit: dict[str, Any]) -> None:
    expected = complete(toolkit["presets"][name]["values"], toolkit["defaults"])
    assert complete(aihw_presets.load(name), toolkit["defaults"]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_only_values_that_are_not_defaults(name: str, toolkit: dict[str, Any]) -> None:
    for table in tables(aihw_presets.load(name)):
        defaults = toolkit["defaults"][table["class"]]
        equal = [key for key, value in table.items() if not isinstance(value, dict) and defaults.get(key) == value]
        assert equal == ["class"]


@pytest.mark.parametrize("name", NAMES)
def test_sources(name: str, toolkit: dict[str, Any]) -> None:
    assert set(toolkit["presets"][name]["source"] or ["toolkit default"]) <= set(aihw_presets.info(name)["source"])


def test_mistakes_of_the_toolkit_are_not_copied(toolkit: dict[str, Any]) -> None:
    """The file of expected values lists each exception with its reason: class defaults, so no preset may set them."""
    for field, mistake in toolkit["mistakes"].items():
        owner, key = field.split(".")
        assert toolkit["defaults"][owner][key] == mistake["toolkit"] != mistake["ours"]
        for name in aihw_presets.names():
            assert [table for table in tables(aihw_presets.load(name)) if table.get(key) == mistake["toolkit"]] == []


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("ReRamESPresetDevice", 1481.5),
        ("ReRamSBPresetDevice", 1000.0),
        ("CapacitorPresetDevice", 400.0),
        ("EcRamPresetDevice", 1000.0),
        ("EcRamMOPresetDevice", 7088.7),
        ("IdealizedPresetDevice", 10000.0),
        ("GokmenVlasovPresetDevice", 1250.0),
        ("PCMPresetDevice", 200.0),
        ("ReRamArrayOMPresetDevice", 21.1),
        ("ReRamArrayHfO2PresetDevice", 4.3),
    ],
)
def test_number_of_states(name: str, states: float) -> None:
    device = aihw_presets.load(name)
    assert (device["w_max"] - device["w_min"]) / device["dw_min"] == pytest.approx(states, abs=0.05)


def test_published_state_counts_agree_with_the_devices() -> None:
    """Table 3 of li2025 rounds: 2 % covers 7100 for 7089 and 21 for 21.07; 4 stands for 4.33."""
    counts = aihw_presets.load("state-counts-li2025")["states"]
    devices = {
        "capacitor": "Capacitor",
        "ecram": "EcRam",
        "ecram_mo": "EcRamMO",
        "pcm": "PCM",
        "reram_om": "ReRamArrayOM",
    }
    for key, stem in devices.items():
        device = aihw_presets.load(f"{stem}PresetDevice")
        assert (device["w_max"] - device["w_min"]) / device["dw_min"] == pytest.approx(counts[key], rel=0.02)
    hfo2 = aihw_presets.load("ReRamArrayHfO2PresetDevice")
    assert int((hfo2["w_max"] - hfo2["w_min"]) / hfo2["dw_min"]) == counts["hfo2"]


def test_soft_bounds_device_of_rasch2024(toolkit: dict[str, Any]) -> None:
    """The parameters of its figure 4: 20 states; all spreads 0.3; asymmetry 0.1; symmetry point not subtracted."""
    device = complete(aihw_presets.load("SoftBoundsRasch2024PresetDevice"), toolkit["defaults"])
    assert (device["class"], device["dw_min_dtod_log_normal"]) == ("SoftBoundsReferenceDevice", True)
    assert (device["w_max"] - device["w_min"]) / device["dw_min"] == 20
    assert {device[key] for key in ("w_max_dtod", "w_min_dtod", "dw_min_dtod", "dw_min_std")} == {0.3}
    assert (device["up_down"], device["up_down_dtod"], device["w_min"]) == (0.0, 0.1, -1.0)
    assert not device["mult_noise"]
    assert not device["subtract_symmetry_point"]
