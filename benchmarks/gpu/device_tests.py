"""The tests that have the fixture `cuda`, or are marked `gpu`, on the device.

    python -m gpu.device_tests OUT

``OUT/device_tests.jsonl`` gets a line per test as soon as it has ended; the part's own file sums them up. What pytest
says itself is in ``OUT/device_tests.pytest.txt``: the part's log is open elsewhere.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from gpu import part, sources

FOLDERS = ("tests/kernels", "tests/cuda_sim", "tests/minigrad", "tests/seq2seq")
SMALL = ("tests/kernels/cuda/test_launcher.py",)
LIMIT = 60  # seconds of one test: a hung kernel should not take the time of the others


def command(results: Path, seconds: float, folders: tuple[str, ...]) -> list[str]:
    """Of pytest; without its settings for a plugin that may not be installed, and with warnings as warnings."""
    made = [sys.executable, "-m", "pytest", "-q", "-p", "gpu.only_cuda", "-W", "default", "--tb=short"]
    made += ["--continue-on-collection-errors", "-p", "no:cacheprovider"]
    made += ["--device-results", str(results), "--device-seconds", f"{seconds:.0f}"]
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


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts per outcome, reasons of skips, the slowest tests."""
    tests = [line for line in lines if "test" in line]
    slowest = sorted(tests, key=lambda line: -line.get("seconds", 0.0))[:8]
    return {
        "tests": max([line["collected"] for line in lines if "collected" in line] + [len(tests)]),
        "outcomes": dict(Counter(line["outcome"] for line in tests)),
        "skipped because": dict(Counter(line["reason"] for line in tests if "reason" in line)),
        "slowest": [[line["test"], line.get("seconds", 0.0)] for line in slowest],
    }


def main(figures: part.Part) -> None:
    """Runs pytest in a process of its own; a row per test that failed."""
    if importlib.util.find_spec("pytest") is None:
        figures.note("pytest is not installed")
        return
    results = figures.out / "device_tests.jsonl"
    results.unlink(missing_ok=True)
    seconds = figures.seconds_left()
    folders = SMALL if figures.small else FOLDERS
    try:
        with (figures.out / "device_tests.pytest.txt").open("wb") as output:
            ended = subprocess.run(
                command(results.resolve(), seconds, folders), cwd=sources.HERE.parents[1], timeout=seconds + 10,
                stdout=output, stderr=subprocess.STDOUT, env=environment(),
            )  # fmt: skip
        figures.result["exit code"] = ended.returncode
    except subprocess.TimeoutExpired:
        figures.note("pytest hung, and was ended")
    text = results.read_text(encoding="utf-8") if results.exists() else ""
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    figures.result["summary"] = summary(lines)
    figures.result["rows"] = [line for line in lines if line.get("outcome") == "failed"]
    print(json.dumps(figures.result["summary"]["outcomes"]), flush=True)
    for line in figures.result["rows"][:20]:
        print(f"failed: {line['test']}: {line.get('error', '')}", flush=True)


if __name__ == "__main__":
    sys.exit(part.run("device_tests", __doc__, main))
