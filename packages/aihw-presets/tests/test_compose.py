from __future__ import annotations

from typing import Any

import pytest

import aihw_presets
from aihw_presets import PresetError


def test_an_algorithm_takes_any_device() -> None:
    table = aihw_presets.compose("TTv2", device="ReRamArrayOMPresetDevice")
    device = aihw_presets.load("ReRamArrayOMPresetDevice")
    assert table["class"] == "UnitCellRPUConfig"
    assert table["device"]["unit_cell_devices"] == [device, device]
    assert table["device"]["unit_cell_devices"][0] is not table["device"]["unit_cell_devices"][1]
    assert "fast_lr" not in table["device"]


def test_a_configuration_keeps_its_tuned_values_with_another_device() -> None:
    table = aihw_presets.compose("TTv2EcRamPreset", device="ReRamArrayOMPresetDevice")
    assert table["device"]["fast_lr"] == 0.1
    assert table["update"] == {"class": "UpdateParameters", "desired_bl": 100}
    assert table["device"]["unit_cell_devices"][0]["class"] == "SoftBoundsReferenceDevice"


def test_a_slot_takes_a_table() -> None:
    io = {"class": "IOParameters", "is_perfect": True}
    device = {"preset": "EcRamPresetDevice", "dw_min": 0.1}
    table = aihw_presets.compose("Single", device=device, io=io)
    assert table["forward"] == table["backward"] == io
    assert table["device"] == {**aihw_presets.load("EcRamPresetDevice"), "dw_min": 0.1}
    assert device == {"preset": "EcRamPresetDevice", "dw_min": 0.1}


def test_the_io_slot_reaches_the_reads_of_a_transfer() -> None:
    table = aihw_presets.compose("TikiTaka", device="EcRamPresetDevice", io="StandardIOParameters")
    expected = {**aihw_presets.load("StandardIOParameters"), "noise_management": "NONE", "bound_management": "NONE"}
    assert table["device"]["transfer_forward"] == expected


def test_composing_a_member_from_its_algorithm() -> None:
    composed = aihw_presets.compose("Vector4", device="CapacitorPresetDevice")
    assert composed == aihw_presets.load("Capacitor4Preset")


def test_info_of_a_configuration_covers_its_parts() -> None:
    about = aihw_presets.info("TikiTakaReRamSBPreset")
    assert about["class"] == "UnitCellRPUConfig"
    assert about["source"] == ["gokmen2020", "toolkit default", "gokmen2016", "gong2018"]
    assert set(about["uses"]) == {"PresetIOParameters", "PresetUpdateParameters", "ReRamSBPresetDevice"}
    assert "dw_min" in about["units"]


def test_info_of_an_algorithm() -> None:
    about = aihw_presets.info("AGAD")
    assert about["slots"] == {"io": "PresetIOParameters", "update": "PresetUpdateParameters"}
    assert len(about["members"]) == 6


def test_notes_of_a_member_come_first() -> None:
    assert aihw_presets.info("ChoppedTTv2EcRamPreset")["notes"].startswith("As published: fast_lr stays at 1.0")


@pytest.mark.parametrize(
    ("name", "slots", "message"),
    [
        ("TTv2", {}, r"TTv2 needs a device: use compose\('TTv2', device=...\)"),
        ("TTv2", {"devices": "EcRamPresetDevice"}, "TTv2 has no slot 'devices': it takes device, io, update"),
        ("EcRamPresetDevice", {"device": "PCMPresetDevice"}, "EcRamPresetDevice has no slot 'device': it takes none"),
        ("TTv2", {"device": "EcRam"}, "no preset named 'EcRam': did you mean EcRam"),
        ("TTv2", {"device": {"dw_min": 0.1}}, r"leaves fields.device.unit_cell_devices\[0\] without a class"),
        ("TTv2", {"device": 3}, "no preset named 3"),
        ("TTv2", {"device": ["EcRamPresetDevice"]}, r"no preset named \['EcRamPresetDevice'\]"),
        ("TTv2", {"device": "StandardIOParameters"}, "of kind 'io' and does not go into the slot 'device'"),
        ("Single", {"device": "EcRamPresetDevice", "io": "PCMPresetDevice"}, "use one of kind 'io'"),
        ("EcRamPresetDevise", {}, "no preset named 'EcRamPresetDevise': did you mean EcRamPresetDevice or"),
        ("xyzzy", {}, r"no preset named 'xyzzy': aihw_presets.names\(\) lists the presets"),
        ("tikitakaecrampreset", {}, "did you mean TikiTakaEcRamPreset"),
    ],
)
def test_bad_requests(name: str, slots: dict[str, Any], message: str) -> None:
    with pytest.raises(PresetError, match=message):
        aihw_presets.compose(name, **slots)


def test_differences() -> None:
    assert aihw_presets.diff("EcRamPreset", "EcRamPreset") == {}
    found = aihw_presets.diff("StandardIOParameters", "PresetIOParameters")
    assert found["out_bound"] == (10.0, 20.0)
    assert found["inp_res"] == (aihw_presets.load("StandardIOParameters")["inp_res"], None)
    changed = aihw_presets.compose("TTv2EcRamPreset", device={"preset": "EcRamPresetDevice", "dw_min": 0.1})
    differences = aihw_presets.diff("TTv2EcRamPreset", changed)
    assert differences == {f"device.unit_cell_devices[{n}].dw_min": (0.002, 0.1) for n in range(2)}


def test_digests() -> None:
    """They are those of the values: equal in any order, and different for every shipped pair that differs."""
    table = aihw_presets.load("EcRamPresetDevice")
    assert aihw_presets.digest(dict(reversed(table.items()))) == aihw_presets.digest("EcRamPresetDevice")
    names = aihw_presets.names("config") + aihw_presets.names("noise")
    digests = {name: aihw_presets.digest(name) for name in names}
    for a in names:
        for b in names:
            assert (digests[a] == digests[b]) == (not aihw_presets.diff(a, b)), (a, b)
