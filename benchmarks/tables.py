"""What the reports share: results read from benchmarks/results, and tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

Rows = list[tuple[str, ...]]


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def read_all(names: Iterable[str]) -> dict[str, Any]:
    """Those of some results that are there, by name."""
    return {name: read(f"{name}.json") for name in names if (RESULTS / f"{name}.json").exists()}


def present(make: Callable[[], Rows]) -> Rows:
    """The rows, or none where a file of theirs is missing."""
    with suppress(FileNotFoundError):
        return make()
    return []


def files(stem: str) -> list[str]:
    """The file of results with this name, and those of other processors."""
    own = [f"{stem}.json"] if (RESULTS / f"{stem}.json").exists() else []
    return own + sorted(path.name for path in RESULTS.glob(f"{stem}.*.json"))


def on(result: dict[str, Any], name: str) -> str:
    """What to add to a row from a file that is not the plain one."""
    return f", on {result['processor']['name']}" if name.count(".") > 1 else ""


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|" for line in lines)


def cells(row: dict[str, Any], keys: Sequence[str]) -> list[str]:
    """Values as text: a median with its middle half, a number, or what it is."""

    def text(value: Any) -> str:
        if isinstance(value, dict) and "median" in value:
            return f"{value['median']:.4g} ({value['low']:.4g} to {value['high']:.4g})"
        return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")

    return [text(row[key]) if key in row else "" for key in keys]
