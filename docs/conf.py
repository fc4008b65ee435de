"""Settings of Sphinx; the tables of the configuration classes are written anew at each build."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import rpu_sim.config
from aihw_torch.migrate.page import page as names_page

project = "rpu-sim / aihw"
author = "The rpu-sim / aihw contributors"
copyright = "2026, the rpu-sim / aihw contributors"
version = release = importlib.metadata.version("rpu-sim")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "generated"]

# Links of docstrings must resolve, except those to libraries, whose inventories would have to be downloaded.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!rpu_sim|aihw_).*"),
    # Inside signatures only.
    (r"py:class", r"aihw_inference\.(rng\.Draw|arrays\.Block|confidence\.Programmed)"),
    (r"py:class", r"aihw_torch\.(patches\.Kernel|tiles\.samples\.SampleCount)"),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
default_role = "code"  # docstrings write names in single backticks
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "rpu-sim / aihw"


def write_field_tables() -> None:
    """Let rpu-sim's generator write a table for each configuration class, and make each the target of links to it."""
    package = Path(__file__).resolve().parents[1] / "packages" / "rpu-sim"
    file = Path(__file__).resolve().parent / "generated" / "fields.md"
    file.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-B", package / "tools" / "gen_params.py", "--source", package / "src" / "rpu_sim"]
    subprocess.run([*command, "--devices", package / "core" / "devices.def", "--tables", file], check=True)
    _, *sections = re.split(r"^## (\w+)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    directives = [
        f":::{{py:class}} {name}\n:module: rpu_sim.config\n"
        f":canonical: {getattr(rpu_sim.config, name).__module__}.{name}\n{section.rstrip()}\n:::\n"
        for name, section in zip(sections[::2], sections[1::2], strict=True)
    ]
    links = re.compile(r"\[(\w+)\]\(#\w+\)")
    file.write_text(links.sub(r"{py:class}`~rpu_sim.config.\1`", "\n".join(directives)), encoding="utf-8")


def write_names_page() -> None:
    """Write what became of the names of aihwkit, from the table that the migration works with."""
    (Path(__file__).resolve().parent / "generated" / "names.md").write_text(names_page(), encoding="utf-8")


def escape_plain_text(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with names in backticks: let `|y|` and `a * b` be what they look like."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"^\s*\* |`[^`]*`|([*|])", lambda m: f"\\{m[1]}" if m[1] else m[0], line)


def qualify_errors(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Packages have errors of the same names: link each to that of the package that raises it."""
    errors = importlib.import_module(f"{name.partition('.')[0]}.errors")

    def full(word: re.Match[str]) -> str:
        error = getattr(errors, word[0], None)
        return f"~{error.__module__}.{error.__qualname__}" if error else word[0]

    for i, line in enumerate(lines):
        if found := re.match(r"\s*:raises ([\w, ]+):", line):
            lines[i] = line.replace(found[1], re.sub(r"\w+", full, found[1]), 1)


def setup(app: Sphinx) -> None:
    write_field_tables()
    write_names_page()
    app.connect("autodoc-process-docstring", escape_plain_text, priority=400)  # before napoleon, which has 500
    app.connect("autodoc-process-docstring", qualify_errors, priority=600)
