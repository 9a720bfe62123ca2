"""A plugin of pytest: keeps the tests that need the device, writes every result at once, stops when time is up.

python -m pytest -p gpu.only_cuda --device-results FILE --device-seconds 90
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

FIRST = ("cuda_sim", "kernels")  # folders whose tests run before the others, after those marked `gpu`


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("device")
    group.addoption("--device-results", type=Path, help="file for one line of JSON per test")
    group.addoption("--device-seconds", type=float, default=90.0, help="start no test after so many (default: 90)")


def pytest_configure(config: Any) -> None:
    if path := config.getoption("--device-results"):
        end = time.monotonic() + config.getoption("--device-seconds")
        config.pluginmanager.register(Recorder(path, end, writes=not hasattr(config, "workerinput")))


def needs_device(item: Any) -> bool:
    """Whether a test has the fixture ``cuda`` or the marker ``gpu``."""
    return "cuda" in getattr(item, "fixturenames", ()) or is_marked(item)


def is_marked(item: Any) -> bool:
    """Whether a test makes sense on a GPU only."""
    return item.get_closest_marker("gpu") is not None


class Recorder:
    """Selects, and records in ``path`` where it ``writes``; ``end`` is on the clock of time.monotonic()."""

    def __init__(self, path: Path, end: float, writes: bool) -> None:
        self._path, self._end, self._writes = path, end, writes

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        chosen = [item for item in items if needs_device(item)]
        config.hook.pytest_deselected(items=[item for item in items if not needs_device(item)])
        items[:] = sorted(chosen, key=lambda item: (not is_marked(item), not set(FIRST) & set(item.path.parts)))
        self._write({"collected": len(items)})

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._write({"test": report.nodeid, "outcome": "failed", "error": last_line(report.longrepr)})

    def pytest_runtest_setup(self, item: Any) -> None:
        if time.monotonic() > self._end:
            pytest.skip("time is up")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        line = {"test": report.nodeid, "outcome": report.outcome, "seconds": report.duration}
        if report.outcome == "failed":
            line["error"] = last_line(getattr(report.longrepr, "reprcrash", None) or report.longrepr)
        elif report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            line["reason"] = report.longrepr[2]
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        if not self._writes:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def last_line(representation: Any) -> str:
    """What a failure says, cut."""
    return " ".join(str(representation).split())[-600:]
