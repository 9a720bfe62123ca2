"""``python -m minigrad.missing FILE...``: the names of PyTorch that scripts and notebooks use and minigrad lacks.

A line for each: file, line, of a notebook (.ipynb) the cell too, name, and what comes nearest. Exit code 0 and no word
if nothing is missing, 1 if something is, 2 for a file that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from minigrad.missing.notebook import Notebook, read_notebook
from minigrad.missing.script import missing_names


def read(path: Path) -> list[str]:
    """What a file lacks, a line for each; ValueError in one line if it cannot be read."""
    is_notebook = path.suffix == ".ipynb"
    expected = "expected a notebook of Python" if is_notebook else "expected a Python script"
    notebook = None
    try:
        source = path.read_text(encoding="utf-8-sig")
        if is_notebook:
            notebook = read_notebook(source)
            source = notebook.source
        found = missing_names(source, str(path))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: this is not UTF-8; {expected}") from None
    except SyntaxError as error:
        line = error.lineno or 1  # it says none of a byte that is zero
        where = f"line {line}" if notebook is None else _place(notebook, line)
        raise ValueError(f"{path}: {where}: {error.msg}; {expected}") from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"{path}: {error}; {expected}") from None
    if notebook is None:
        return [f"{path}:{each.line}: {each.name}: {each.text}" for each in found]
    return [f"{path}: {_place(notebook, each.line)}: {each.name}: {each.text}" for each in found]


def _place(notebook: Notebook, line: int) -> str:
    """Where a line of its source stands in a notebook."""
    cell, own = notebook.places[min(line, len(notebook.places)) - 1] if notebook.places else (1, 1)
    return f"cell {cell}, line {own}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is missing; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m minigrad.missing", description=__doc__)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a script (.py) or notebook (.ipynb) that uses PyTorch"
    )
    code = 0
    for path in parser.parse_args(arguments).files:
        try:
            found = read(path)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
            continue
        for each in found:
            print(each)
        code = max(code, 1 if found else 0)
    return code


if __name__ == "__main__":
    sys.exit(main())
