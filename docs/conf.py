"""The documentation as a site: python -m sphinx -W docs build/docs, or make docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "minigrad"
author = "The minigrad developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "minigrad"
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # pages that begin below their title's level
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": False}
add_module_names = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Returns", "params_style")]  # of several results each has a name

_CODE = re.compile(r"(``.*?``)", re.DOTALL)
_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")  # a link to a file of the checkout that is no page


def _escaped(text: str) -> str:
    """Plain prose as reStructuredText: its stars, bars and single quotes of code mean themselves."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("``") else re.sub(r"([*|_`\\])", r"\\\1", part) for part in parts)


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are prose with a few sections; indented blocks in them are formulas."""
    text = "\n".join(lines)
    lines[:] = _escaped(text).split("\n")


def _read(app: Any, page: str, source: list[str]) -> None:
    source[0] = _OUTSIDE.sub(r"\1", source[0])


def setup(app: Any) -> None:
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _process, priority=100)
