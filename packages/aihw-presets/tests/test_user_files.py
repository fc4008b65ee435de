"""Presets of users: from paths, registered paths and plugins, good and broken."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import aihw_presets
from aihw_presets import PresetError, library

Write = Callable[..., Path]


def test_from_a_file_and_from_a_directory(write: Write) -> None:
    file = write()
    expected = {"class": "LinearStepDevice", "dw_min": 0.01}
    assert aihw_presets.load("MyDevice", path=file) == expected
    assert aihw_presets.load("MyDevice", path=str(file.parent)) == expected
    assert "MyDevice" in aihw_presets.names("device", path=file)
    assert aihw_presets.info("MyDevice", path=file)["licence"] == "CC0-1.0"
    assert "MyDevice" not in aihw_presets.names("device")


def test_registered_path(write: Write) -> None:
    file = write()
    aihw_presets.register_path(file.parent)
    aihw_presets.register_path(file.parent)
    assert aihw_presets.load("MyDevice")["dw_min"] == 0.01
    write(fields='class = "LinearStepDevice"\ndw_min = 0.02')
    assert aihw_presets.load("MyDevice")["dw_min"] == 0.02
    assert aihw_presets.load("MyDevice", path=file)["dw_min"] == 0.02
    assert aihw_presets.validate(file) == []


def test_builds_on_a_shipped_preset(write: Write) -> None:
    file = write(
        fields='preset = "CapacitorPresetDevice"\nlifetime = 5e5\ndrift = { class = "DriftParameter", nu = 0.1 }'
    )
    loaded = aihw_presets.load("MyDevice", path=file)
    shipped = aihw_presets.load("CapacitorPresetDevice")
    assert loaded == {**shipped, "lifetime": 5e5, "drift": {"class": "DriftParameter", "nu": 0.1}}
    about = aihw_presets.info("MyDevice", path=file)
    assert about["source"] == ["toolkit default", "li2018"]
    assert about["licence"] == "CC0-1.0 AND MIT"
    assert aihw_presets.compose("Single", path=file, device="MyDevice")["device"] == loaded


def test_an_algorithm_of_a_user(write: Write) -> None:
    file = write(
        "Mine",
        'class = "SingleRPUConfig"\ndevice = { preset = "$device" }\nforward = { preset = "$read" }',
        kind='"algorithm"',
        more='[slots]\nread = "StandardIOParameters"\n[members]\nMinePreset.slots.device = "EcRamPresetDevice"',
    )
    assert aihw_presets.validate(file) == []
    loaded = aihw_presets.load("MinePreset", path=file)
    assert loaded["device"] == aihw_presets.load("EcRamPresetDevice")
    assert loaded["forward"] == aihw_presets.load("StandardIOParameters")


def test_sources_of_a_user(write: Write) -> None:
    file = write(
        source='["lab", "10.1234/abc", "gong2018"]', more='[references.lab]\ncite = "Unpublished data of the lab"'
    )
    about = aihw_presets.info("MyDevice", path=file)
    assert about["doi"] == ["10.1234/abc", "10.1038/s41467-018-04485-1"]
    assert not about["doi_verified"]
    assert about["references"][0] == {"key": "lab", "cite": "Unpublished data of the lab"}
    assert aihw_presets.validate(file) == []


BROKEN = [
    ({"fields": "class = LinearStepDevice"}, r"MyDevice.toml is not valid TOML: .*\(at line 8, column 9\)"),
    ({"fields": 'class = "X"\nclass = "Y"'}, r"not valid TOML: .*\(at line 9"),
    ({"schema": "2"}, "schema must be 1, not 2"),
    ({"schema": "true"}, "schema must be 1, not True"),
    ({"schema": ""}, "the file lacks the key schema"),
    ({"source": ""}, "the file lacks the key source"),
    ({"source": "[]"}, "source must not be empty"),
    ({"source": '"gong2018"'}, "source must be of type array, not 'gong2018'"),
    ({"licence": '""'}, "licence must not be empty"),
    ({"kind": '"gadget"'}, "kind must be device or cell or .*, not 'gadget'"),
    ({"status": '"guess"'}, "status must be measured or fit or specification or default, not 'guess'"),
    ({"author": '"me"'}, "author is not a known key: use one of schema, kind"),
    ({"fields": "class = 3"}, "fields.class must be of type string, not 3"),
    ({"fields": 'class = "Linear Step"'}, "fields.class must match"),
    ({"fields": 'class = "LinearStepDevice"\ndw_min = nan'}, "fields.dw_min must be of type number .*, not nan"),
    ({"fields": 'class = "LinearStepDevice"\nw_max = [1.0, inf]'}, r"fields.w_max\[1\] must be of type .*, not inf"),
    ({"fields": 'class = "LinearStepDevice"\nw_max = 2020-01-01'}, "fields.w_max must be of type"),
    ({"more": '[slots]\nio = "PresetIOParameters"'}, "slots and members belong to kind 'algorithm', not to 'device'"),
    ({"more": '[references.x]\ncite = "c"\ndoi = "doi:1"'}, "references.x.doi must match"),
    (
        {"kind": '"algorithm"', "more": '[members."a b"]\nslots.device = "PCMPresetDevice"'},
        "the key members.a b must match",
    ),
]

DANGLING = [
    ({"source": '["nobody2020"]'}, r"the source 'nobody2020' is unknown: describe it under \[references\]"),
    ({"fields": "dw_min = 0.1"}, "MyDevice leaves fields without a class: add 'class' or 'preset'"),
    ({"fields": 'class = "LinearStepDevice"\ndrift = { nu = 0.1 }'}, "leaves fields.drift without a class"),
    ({"fields": 'preset = "EcRamPresetDevize"'}, r"MyDevice\.toml: there is no .* did you mean EcRamPresetDevice"),
    ({"fields": 'preset = "MyDevice"'}, "circular reference MyDevice -> MyDevice"),
    ({"fields": 'preset = "$device"'}, "MyDevice needs a device"),
    ({"fields": 'preset = "TTv2"'}, "TTv2 needs a device"),
]


@pytest.mark.parametrize(("parts", "message"), BROKEN)
def test_broken_files(parts: dict[str, str], message: str, write: Write) -> None:
    file = write(**parts)
    for call in (aihw_presets.register_path, lambda path: aihw_presets.load("EcRamPreset", path=path)):
        with pytest.raises(PresetError, match=message) as caught:
            call(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert any(str(file) in problem for problem in aihw_presets.validate(file))
    assert aihw_presets.load("EcRamPreset")["class"] == "SingleRPUConfig"


@pytest.mark.parametrize(("parts", "message"), DANGLING)
def test_dangling_references(parts: dict[str, str], message: str, write: Write) -> None:
    file = write(**parts)
    with pytest.raises(PresetError, match=message) as caught:
        aihw_presets.info("MyDevice", path=file)
    assert aihw_presets.validate(file) == [str(caught.value)]


def test_a_misspelt_field_has_no_unit(write: Write) -> None:
    file = write(fields='class = "LinearStepDevice"\ndw_mni = 0.1\nmult_noise = true')
    (problem,) = aihw_presets.validate(file)
    assert problem.endswith("the field 'dw_mni' has no unit: correct its name, or give its unit under [units]")
    write(fields='class = "LinearStepDevice"\ndw_mni = 0.1', more='[units]\ndw_mni = "weight"')
    assert aihw_presets.validate(file) == []


def test_validate_reports_every_problem_of_every_file(write: Write) -> None:
    write("A", licence="", notes="")
    write("B", fields="class = ")
    file = write("C", source='["nobody2020"]')
    problems = aihw_presets.validate(file.parent)
    assert [Path(problem.split(":")[0].split(" is ")[0]).name for problem in problems] == [
        "A.toml",
        "A.toml",
        "B.toml",
        "C.toml",
    ]


def test_names_are_unique(write: Write) -> None:
    file = write("EcRamPresetDevice")
    message = "the preset EcRamPresetDevice is defined in .*data/devices/EcRamPresetDevice.toml and in .*: rename one"
    for call in (aihw_presets.register_path, lambda path: aihw_presets.load("EcRamPresetDevice", path=path)):
        with pytest.raises(PresetError, match=message):
            call(file)
    (problem,) = aihw_presets.validate(file)
    assert problem.endswith(f"and in {file.resolve()}: rename one")
    assert aihw_presets.load("EcRamPresetDevice")["dw_min"] == 0.002


def test_an_algorithm_and_its_member_need_two_names(write: Write) -> None:
    file = write("Twice", kind='"algorithm"', more='[members.Twice]\nslots.device = "PCMPresetDevice"')
    with pytest.raises(PresetError, match="the preset Twice is defined in"):
        aihw_presets.names(path=file)


def test_nothing_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for call in (
        aihw_presets.register_path,
        aihw_presets.validate,
        lambda path: aihw_presets.load("EcRamPreset", path=path),
    ):
        with pytest.raises(PresetError, match="there is no file or directory of presets at"):
            call(missing)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "Binary.toml"
    file.write_bytes(b"schema = 1\n\xff\xfe\x00")
    with pytest.raises(PresetError, match=r"Binary.toml is not valid TOML: no UTF-8 \(at line 2\)"):
        aihw_presets.load("EcRamPreset", path=file)


def test_a_directory_named_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "Directory.toml").mkdir()
    with pytest.raises(PresetError, match=r"cannot read the presets at .*Directory.toml: "):
        aihw_presets.load("EcRamPreset", path=tmp_path)


class Plugin:
    """Stands in for an installed entry point."""

    def __init__(self, found: object) -> None:
        self.name, self.value, self.dist = "lab", "lab_presets", types.SimpleNamespace(name="lab-presets")
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], None]]:
    def install(found: object) -> None:
        monkeypatch.setattr(library, "entry_points", lambda group: [Plugin(found)] if group == "aihw_presets" else [])
        library._plugin_paths.cache_clear()

    yield install
    monkeypatch.undo()
    library._plugin_paths.cache_clear()


def test_plugin(plugin: Callable[[object], None], write: Write) -> None:
    directory = write().parent
    for found in (directory, str(directory), lambda: directory):
        plugin(found)
        assert aihw_presets.load("MyDevice")["dw_min"] == 0.01


@pytest.mark.parametrize("found", [ImportError("no module"), None, 3])
def test_broken_plugin(found: object, plugin: Callable[[object], None]) -> None:
    plugin(found)
    with pytest.raises(PresetError, match=r"the preset plugin 'lab' of lab-presets is broken \(.*\): fix it"):
        aihw_presets.load("EcRamPreset")
