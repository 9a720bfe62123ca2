"""Figures stay whatever ends a run, beside those of other processors; a run that was cut off goes on."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import figures
import pytest


def options(path: Path, **changes: Any) -> Namespace:
    return Namespace(**{"device": "cpu", "seconds": 1000.0, "json": path, "quick": True, "threads": 1, **changes})


def fails() -> dict[str, Any]:
    raise RuntimeError("no such\nluck")


def running(path: Path) -> None:
    found = json.loads(path.read_text())
    assert (found["status"], found["rows"]) == ("running", {"one": {"us": 1.2346}, "two": {"error": figures.BEGUN}})


def test_figures_of_another_processor_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, here, there = tmp_path / "decoding.json", {"name": "A (R) 1", "has": ["avx2"]}, {"name": "B", "has": []}
    (tmp_path / "decoding.b.json").write_text(json.dumps({"processor": there, "x": 0}))
    for x, processor in enumerate((here, here, there, here | {"has": ["avx2", "fma"]})):
        monkeypatch.setattr(figures, "processor", lambda processor=processor: processor)
        figures.write(path, {"x": x})
    found = {file.name: json.loads(file.read_text())["x"] for file in tmp_path.iterdir()}
    assert found == {"decoding.json": 1, "decoding.b.json": 2, "decoding.a-r-1-avx2-fma.json": 3}
    unknown = tmp_path / "startup.json"
    unknown.write_text('{"seconds": 1}')
    assert figures.place(unknown, there).name == "startup.b.json"


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    with pytest.raises(RuntimeError, match="luck"), figures.Figures(options(path)) as kept:
        list(kept.measure({"one": lambda: {"us": 1.234567}, "two": lambda: running(path) or fails()}))
    found = json.loads(path.read_text())
    assert found["status"] == "failed: RuntimeError: no such luck"
    assert found["rows"] == {"one": {"us": 1.2346}, "two": {"error": figures.BEGUN}}


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    """Behind what it has begun: what hung would hang again. After a complete one, or other sizes, all begins anew."""
    path = tmp_path / "some.json"
    asked = {"one": lambda: {"us": 1.0}, "two": fails, "three": lambda: {"us": 3.0}}
    with pytest.raises(RuntimeError), figures.Figures(options(path)) as kept:
        list(kept.measure(asked))
    with figures.Figures(options(path)) as kept:
        assert [name for name, _ in kept.measure(asked)] == ["three"]
    assert list(json.loads(path.read_text())["rows"]) == ["one", "two", "three"]
    with pytest.raises(RuntimeError), figures.Figures(options(path)) as kept:
        assert [name for name, _ in kept.measure(asked)] == ["one"]
    assert figures.Figures(options(path, quick=False)).rows == {}


def test_no_row_begins_when_time_is_up(tmp_path: Path) -> None:
    with figures.Figures(options(tmp_path / "late.json", seconds=-1.0)) as late:
        assert list(late.measure({"one": fails, "two": fails})) == []
    assert late.result["notes"] == ["time was up: 2 rows from 'one' on are left out"]


def test_on_a_device_an_error_is_a_row(gpu: Any, tmp_path: Path) -> None:
    with figures.Figures(options(tmp_path / "some.json", device="cuda"), "races") as kept:
        list(kept.measure({"one": fails, "two": lambda: {"us": 2.0}}))
    assert kept.rows == {"one": {"error": "RuntimeError: no such luck"}, "two": {"us": 2.0}}
