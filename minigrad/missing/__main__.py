"""``python -m minigrad.missing FILE.py...``: the names of PyTorch that scripts use and minigrad lacks.

A line for each: file, line, name, and what comes nearest. Exit code 0 and no word if nothing is missing, 1 if something
is, 2 for a file that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from minigrad.missing.script import Missing, missing_names


def read(path: Path) -> list[Missing]:
    """What a file lacks; ValueError in one line if it cannot be read."""
    try:
        return missing_names(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: this is not UTF-8; expected a Python script") from None
    except SyntaxError as error:
        raise ValueError(f"{path}: line {error.lineno}: {error.msg}; expected a Python script") from None
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: {error}; expected a Python script") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is missing; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m minigrad.missing", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.py", help="a script that uses PyTorch")
    code = 0
    for path in parser.parse_args(arguments).files:
        try:
            found = read(path)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
            continue
        for each in found:
            print(f"{path}:{each.line}: {each.name}: {each.text}")
        code = max(code, 1 if found else 0)
    return code


if __name__ == "__main__":
    sys.exit(main())
