"""The tests that have the fixture `cuda`, or are marked `gpu`, on the device.

    python -m gpu.device_tests --device cuda --json OUT/device_tests.json

A line per test is printed as soon as it has ended; the file of the figures gets counts, and a row per test that failed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from figures import Figures
from racing import parser

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests/kernels", "tests/cuda_sim", "tests/minigrad", "tests/seq2seq")
QUICK = ("tests/kernels/cuda/test_launcher.py",)
FIRST = ("cuda_sim", "kernels")  # folders whose tests run before the others, after those marked `gpu`
STARTED = time.monotonic()
LIMIT = 60  # seconds of one test: a hung kernel should not take the time of the others


# --- a plugin of pytest ----------------------------------------------------------------------------------------------
def pytest_addoption(parser: Any) -> None:
    parser.addoption("--device-seconds", type=float, default=90.0, help="start no test after so many (default: 90)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    marked = {item: item.get_closest_marker("gpu") is not None for item in items}
    chosen = [item for item in items if marked[item] or "cuda" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = sorted(chosen, key=lambda item: (not marked[item], not set(FIRST) & set(item.path.parts)))


def pytest_runtest_setup(item: Any) -> None:
    if time.monotonic() > STARTED + item.config.getoption("--device-seconds"):
        pytest.skip("time is up")


# --- the part --------------------------------------------------------------------------------------------------------
def command(seconds: float, folders: tuple[str, ...]) -> list[str]:
    """Of pytest; without its settings for a plugin that may not be installed, and with warnings as warnings."""
    made = [sys.executable, "-m", "pytest", "-v", "-rfE", "-p", "gpu.device_tests", "-W", "default", "--tb=short"]
    made += ["--continue-on-collection-errors", "-p", "no:cacheprovider", "--device-seconds", f"{seconds:.0f}"]
    if importlib.util.find_spec("pytest_timeout") is None:
        made += ["-o", "addopts=--strict-markers --import-mode=importlib"]
    else:
        made += ["--timeout", str(LIMIT)]
    if importlib.util.find_spec("xdist") is not None and (os.cpu_count() or 1) >= 8:
        made += ["-n", "4"]  # what the tests compute on the processor takes longer than what they ask of the device
    return [*made, *folders]


def environment() -> dict[str, str]:
    """Without the stand-in for CuPy: the tests bring their own where there is no GPU, and skip those marked `gpu`."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(f for f in folders if Path(f).name != "standin")}


def note(line: str, rows: dict[str, dict[str, Any]]) -> None:
    """Count a line of pytest that says how a test ended; keep one of its summary that says why it failed."""
    if summary := re.match(r"(?:FAILED|ERROR) (\S+) - (.*)", line):
        rows[f"failed: {summary[1]}"] = {"error": summary[2]}
    elif ended := re.search(
        r"^\S+::.* (PASSED|FAILED|ERROR|SKIPPED)|^\[gw\d+\] .*%\] (PASSED|FAILED|ERROR|SKIPPED) ", line
    ):
        outcome = (ended[1] or ended[2]).lower()
        rows["tests"][outcome] = rows["tests"].get(outcome, 0) + 1


def main() -> None:
    """Runs pytest in a process of its own, which ends by itself when time is up."""
    options = parser(__doc__).parse_args()
    asked = command(min(options.seconds, 3600.0), QUICK if options.quick else FOLDERS)
    with Figures(options) as figures:
        figures.rows["tests"] = {}
        pipe: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(asked, cwd=ROOT, env=environment(), **pipe) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                note(line, figures.rows)
        figures.result["exit code"] = process.returncode


if __name__ == "__main__":
    main()
