"""A notebook as one script, and back from its lines to those of the cells.

Source: the nbformat documentation, "The Notebook file format", versions 3 and 4: JSON with cells, whose text is a
string or a list of lines.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, NamedTuple

_EXPECTED = "expected a notebook with cells"
# What IPython takes and Python does not: magics, shell commands, help. A name before "=" may be given what they say.
_MAGIC = re.compile(r"\s*([%!?]|[\w.]+\?+\s*$|[\w, ]+=\s*[%!])")
_OTHER_LANGUAGES = re.compile(r"\s*%%(?!time\b|timeit\b|capture\b|prun\b)")  # cells that are no Python


class Notebook(NamedTuple):
    """The code of a notebook.

    Attributes:
        source: of all its cells, one after the other.
        places: of each line of it the number of its cell among all cells, and of its line in that, both from 1.
    """

    source: str
    places: list[tuple[int, int]]


def read_notebook(text: str) -> Notebook:
    """The code of a notebook, whose magics are left out; ValueError where it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON ({error}); {_EXPECTED}") from None
    lines: list[str] = []
    places: list[tuple[int, int]] = []
    for number, cell in enumerate(_cells(content), start=1):
        own = _python_of(cell)
        lines += own
        places += [(number, line) for line in range(1, len(own) + 1)]
    return Notebook("\n".join(lines), places)


def _cells(content: Any) -> list[Any]:
    """Those of version 4, or of the sheets of version 3."""
    if isinstance(content, dict) and isinstance(content.get("worksheets"), list):
        sheets = [sheet for sheet in content["worksheets"] if isinstance(sheet, dict)]
        content = {"cells": [cell for sheet in sheets for cell in sheet.get("cells", ())]}
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise ValueError(_EXPECTED)
    return content["cells"]


def _python_of(cell: Any) -> list[str]:
    """The lines of a cell of Python; none of another cell."""
    if not isinstance(cell, dict):
        raise ValueError(_EXPECTED)
    if cell.get("cell_type") != "code":
        return []
    told = cell.get("source", cell.get("input", ""))
    parts: list[Any] = told if isinstance(told, list) else [told]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(_EXPECTED)
    lines = "".join(parts).split("\n")
    if _OTHER_LANGUAGES.match(lines[0]):
        return []
    # A line of Python may begin with % too, as the second one of an expression.
    return lines if _is_python("\n".join(lines)) else [_without_magic(line) for line in lines]


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _without_magic(line: str) -> str:
    """The line, or what keeps a block whole in its place, whose only statement it may be."""
    if not _MAGIC.match(line):
        return line
    return f"{line[: len(line) - len(line.lstrip())]}pass"
