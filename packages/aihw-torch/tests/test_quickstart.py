"""The quickstart runs, says what it did, and refuses nonsense."""

from __future__ import annotations

import re
import runpy
import sys

import pytest

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
pytest.importorskip("matplotlib", reason="the figure needs matplotlib")

from aihw_torch.quickstart.__main__ import main, parse
from aihw_torch.quickstart.example import train_two_rows


def test_one_epoch_gives_a_table_and_a_figure(tmp_path, capsys):
    assert main(["--epochs", "1", "--batch", "50", "--seed", "3", "--output", str(tmp_path / "new")]) == 0
    output = capsys.readouterr().out
    assert "torch.manual_seed(3)" in output
    names = "floating point|constant step|soft bounds|Tiki-Taka"
    rows = re.findall(rf"^({names}) +([\d.]+)%.* ([\d,]+)$", output, re.MULTILINE)
    assert [row[0] for row in rows[:3]] == ["floating point", "constant step", "soft bounds"]
    assert [row[0] for row in rows[3:]] == ["floating point", "soft bounds", "Tiki-Taka"]
    assert rows[0][2] == "0"
    assert int(rows[1][2].replace(",", "")) > 10_000
    assert (tmp_path / "new" / "quickstart.png").read_bytes().startswith(b"\x89PNG")


def test_tiki_taka_rescues_a_network_with_sigmoids(capsys):
    """Three epochs: plain pulses on soft bounds stay near chance, Tiki-Taka passes 60 %."""
    main(["--epochs", "3", "--batch", "10", "--no-figure"])
    rescued = capsys.readouterr().out.partition("sigmoids")[2]
    accuracy = {name.strip(): float(value) for name, value in re.findall(r"^(.{14}) +([\d.]+)%", rescued, re.MULTILINE)}
    assert accuracy["soft bounds"] < 45.0
    assert accuracy["Tiki-Taka"] > 60.0


def test_the_same_seed_gives_the_same_numbers(capsys):
    tables = []
    for _ in range(2):
        main(["--epochs", "1", "--batch", "50", "--no-figure"])
        tables.append(re.findall(r"[\d.]+%|[\d,]+$", capsys.readouterr().out, re.MULTILINE))
    assert tables[0] == tables[1]


def test_two_rows_are_learned():
    losses = train_two_rows(steps=30)
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--batch", "0"], ["--lr", "0"], ["--lr", "nan"]])
def test_nonsense_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert "must be" in capsys.readouterr().err


def test_help_of_the_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quickstart", "--help"])
    monkeypatch.delitem(sys.modules, "aihw_torch.quickstart.__main__")
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("aihw_torch.quickstart", run_name="__main__")
    assert exit_.value.code == 0
    assert "--output DIR" in capsys.readouterr().out
