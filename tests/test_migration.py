"""What the changelog tells those who come from 0.1: the new names are there, and what it calls gone is gone."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.*) \| (.*) \|$", CHANGELOG.partition("### Coming from 0.1")[2].partition("###")[0], re.M)[1:]


def names(cell: str) -> list[str]:
    """What a cell imports or names, each with its module."""
    imports = [f"{module}.{name}" for module, listed in re.findall(r"`from (\S+) import ([\w, ]+)`", cell)
               for name in listed.split(", ")]  # fmt: skip
    found = [code for code in re.findall(r"`([\w.]+)`", cell) if code[0].islower() or "." in code]
    prefix = next((code.rpartition(".")[0] for code in found if "." in code), "")
    plain = [code if "." in code else f"{prefix}.{code}" for code in found if prefix]
    return imports + [f"minigrad.{code}" if code.startswith("nn.") else code for code in plain]


def is_there(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return False
    return hasattr(found, attribute)


def test_the_table_is_read() -> None:
    assert len(ROWS) == 11
    assert names(ROWS[2][0]) == ["seq2seq.search.beam_search", "seq2seq.search.greedy_search"]
    assert names(ROWS[7][1]) == ["kernels.prepack_lstm", "kernels.prepack_decoder"]


@pytest.mark.parametrize(("before", "now"), ROWS[:9])
def test_names(before: str, now: str) -> None:
    assert names(now)
    assert [name for name in names(now) if not is_there(name)] == []
    if "as before" not in now:
        assert [name for name in names(before) if is_there(name)] == []
