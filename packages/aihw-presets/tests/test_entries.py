"""What holds for every shipped preset."""

from __future__ import annotations

import doctest
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import aihw_presets
from aihw_presets import KINDS, PresetError, library

ALL = [name for kind in KINDS for name in aihw_presets.names(kind)]
LOADABLE = [name for name in ALL if name not in aihw_presets.names("algorithm")]
DATA = Path(library.__file__).parent / "data"
NONCOMMERCIAL = Path(__file__).parents[1] / "noncommercial"


@pytest.mark.parametrize("name", ALL)
def test_says_where_it_comes_from(name: str) -> None:
    about = aihw_presets.info(name)
    assert about["source"]
    assert about["licence"]
    assert about["notes"].strip()
    assert {source for source in about["source"] if source != "toolkit default"} == {
        r["key"] for r in about["references"]
    }
    assert len(about["doi"]) <= len(about["references"])
    assert all(unit for unit in about["units"].values())
    assert not about["licence"].startswith("CC-BY-NC")


def test_dois_nobody_has_seen_are_marked() -> None:
    references = tomllib.loads((DATA.parent / "shared" / "references.toml").read_text(encoding="utf-8"))
    assert {key for key, r in references.items() if "doi" in r and not r["doi_verified"]} == {
        "kim2019",
        "rasch2019",
        "vasilopoulos2023",
    }
    assert not aihw_presets.info("EcRamMOPresetDevice")["doi_verified"]
    assert aihw_presets.info("EcRamPresetDevice")["doi_verified"]


def test_units_are_those_of_the_fields() -> None:
    units = aihw_presets.info("CapacitorPresetDevice")["units"]
    assert units["lifetime"] == "mini-batches"
    assert set(units) == {
        key for key, value in aihw_presets.load("CapacitorPresetDevice").items() if type(value) is float
    }


@pytest.mark.parametrize("name", LOADABLE)
def test_survives_a_round_trip_through_json(name: str) -> None:
    loaded = aihw_presets.load(name)
    assert json.loads(json.dumps(loaded, allow_nan=False)) == loaded


@pytest.mark.parametrize("name", LOADABLE)
def test_loads_a_fresh_copy(name: str) -> None:
    def spoil(node: Any) -> None:
        for value in list(node.values() if isinstance(node, dict) else node):
            if isinstance(value, dict | list):
                spoil(value)
        node.clear()

    before = json.dumps([aihw_presets.load(name), aihw_presets.info(name)])
    spoil(aihw_presets.load(name))
    spoil(aihw_presets.info(name))
    assert json.dumps([aihw_presets.load(name), aihw_presets.info(name)]) == before


def test_shipped_data_are_valid() -> None:
    assert aihw_presets.validate(DATA) == []


@pytest.mark.skipif(not NONCOMMERCIAL.exists(), reason="the source distribution leaves non-commercial numbers out")
def test_noncommercial_numbers_are_not_part_of_the_package() -> None:
    assert DATA.parent not in NONCOMMERCIAL.parents
    assert "neurosim-v3-devices" not in ALL
    assert aihw_presets.validate(NONCOMMERCIAL) == []
    table = aihw_presets.load("neurosim-v3-devices", path=NONCOMMERCIAL)
    order = ["alox_hfo2", "pcmo", "ag_asi", "taox_hfox", "hzo_fefet", "gst", "epiram"]
    assert sorted(table, key=lambda device: float(table[device]["mnist"])) == order
    assert aihw_presets.info("neurosim-v3-devices", path=NONCOMMERCIAL)["licence"] == "CC-BY-NC-4.0"


def test_names() -> None:
    configuring = aihw_presets.names()
    assert configuring == sorted(set(configuring))
    assert all("class" in aihw_presets.load(name) for name in configuring)
    assert sorted(configuring + aihw_presets.names("algorithm") + aihw_presets.names("measurement")) == sorted(ALL)
    assert len(aihw_presets.names("device")) == 13
    with pytest.raises(PresetError, match="no kind of preset named 'devices': use one of device, cell"):
        aihw_presets.names("devices")


def test_measurements_have_no_class() -> None:
    assert all("class" not in aihw_presets.load(name) for name in aihw_presets.names("measurement"))


def test_stuck_devices_are_enabled_on_demand_only() -> None:
    for material in ("OM", "HfO2"):
        plain, stuck = (aihw_presets.load(f"ReRamArray{material}{kind}PresetDevice") for kind in ("", "Stuck"))
        measured = aihw_presets.info(f"ReRamArray{material}PresetDevice")["constants"]["measured_corrupt_devices_prob"]
        assert stuck == {**plain, "corrupt_devices_prob": measured}


def test_docstrings() -> None:
    assert doctest.testmod(aihw_presets) == (0, 2)


def test_the_training_core_takes_the_devices_it_has_and_the_periphery() -> None:
    """Field by field; later classes of rpu-sim join by themselves."""
    config = pytest.importorskip("rpu_sim.config", reason="rpu-sim is not installed")
    presets = [aihw_presets.load(name) for kind in ("device", "io", "update") for name in aihw_presets.names(kind)]
    known = [preset for preset in presets if hasattr(config, preset["class"])]
    assert len(known) >= 11
    for preset in known:
        built = config.from_dict(preset)
        found = {field: getattr(built, field) for field in preset if field != "class"}
        assert {"class": type(built).__name__, **found} == preset
