from __future__ import annotations

import importlib.metadata

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
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "rpu-sim / aihw"
