from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import aihw_presets
from aihw_presets.__main__ import main

Write = Callable[..., Path]


def test_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "aihw_presets"]
    shown = subprocess.run([*command, "show", "EcRamPreset"], check=True, capture_output=True, text=True)
    assert json.loads(shown.stdout) == aihw_presets.load("EcRamPreset")
    unknown = subprocess.run([*command, "show", "EcRamPrezet"], check=False, capture_output=True, text=True)
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: there is no preset named 'EcRamPrezet': did you mean EcRamPreset")


def test_a_reader_that_has_seen_enough() -> None:
    """As `list | head -1`: no traceback."""
    command = [sys.executable, "-m", "aihw_presets", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(len(aihw_presets.names(kind)) for kind in aihw_presets.KINDS)
    assert "CapacitorPresetDevice               device       LinearStepDevice            li2018" in lines
    assert main(["list", "--kind", "cell"]) == 0
    assert capsys.readouterr().out.split()[0] == "PCMPresetUnitCell"


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "TTv2", "--device", "PCMPresetDevice", "--io", "StandardIOParameters"]) == 0
    expected = aihw_presets.compose("TTv2", device="PCMPresetDevice", io="StandardIOParameters")
    assert json.loads(capsys.readouterr().out) == expected
    assert main(["show", "AGAD", "--info"]) == 0
    assert json.loads(capsys.readouterr().out) == aihw_presets.info("AGAD")


def test_slots_change_neither_info_nor_file(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("--info", "--file"):
        assert main(["show", "TTv2", "--device", "PCMPresetDevice", form]) == 1
        assert "do not go with --info and --file: leave them out" in capsys.readouterr().err


def test_show_file_is_a_start_for_one_of_your_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["show", "PCMPresetUnitCell", "--file"]) == 0
    own = tmp_path / "MyCell.toml"
    own.write_text(capsys.readouterr().out, encoding="utf-8")
    assert aihw_presets.load("MyCell", path=own) == aihw_presets.load("PCMPresetUnitCell")
    assert main(["validate", str(own)]) == 0
    assert capsys.readouterr().out.endswith("MyCell.toml: no problems\n")


def test_path(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write()
    assert main(["show", "MyDevice", "--path", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["dw_min"] == 0.01
    assert main(["list", "--path", str(file.parent), "--kind", "device"]) == 0
    assert "MyDevice" in capsys.readouterr().out
    assert main(["list", "--path", "nowhere"]) == 1
    assert (
        capsys.readouterr().err == f"error: there is no file or directory of presets at {Path('nowhere').absolute()}\n"
    )


def test_validate(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(licence="")
    assert main(["validate", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{file}: 1 problem\n"
    assert captured.err == f"{file.resolve()}: the file lacks the key licence\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("list", "show", "validate", "examples:"))
    for command in ("list", "show", "validate"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--path" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["lst"], ["show"], ["list", "--kind", "gadget"], ["show", "EcRamPreset", "--info", "--file"]],
)
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m aihw_presets" in capsys.readouterr().err
