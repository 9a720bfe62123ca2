"""From clone to a trained translator: the README's first command, timed as a whole in fresh clones.

    python benchmarks/make_train.py [--runs 3] [--json benchmarks/results/make_train.json]

Each run clones this repository into an empty folder, gives it an empty kernel cache, runs ``make train`` and checks the
exact match of the result on the test numbers. The package cache of pip is used as it is: run once to warm it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from figures import write
from peers.worker import best_environment

ROOT = Path(__file__).parent.parent


def run_once() -> tuple[float, dict]:
    """Seconds from clone to the end of ``make train``, and the scores of what it trained."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "minigrad"
        environment = dict(best_environment(), NUMBA_CACHE_DIR=str(Path(folder) / "kernels"))
        start = time.perf_counter()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        subprocess.run(["make", "train"], cwd=clone, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        command = [".venv/bin/python", "-m", "seq2seq.evaluate", "runs/numbers-1", "--json", "test.json"]
        subprocess.run(command, cwd=clone, env=environment, check=True, capture_output=True)
        return seconds, json.loads((clone / "test.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    seconds = []
    for _ in range(options.runs):
        elapsed, scores = run_once()
        if scores["exact_match"] < 99:
            raise SystemExit(f"exact match is {scores['exact_match']:.1f} %; expected at least 99 %")
        seconds.append(round(elapsed, 1))
        print(f"{elapsed:.1f} s, exact match {scores['exact_match']:.1f} %", flush=True)
    if options.json:
        write(options.json, {"seconds": sorted(seconds)})


if __name__ == "__main__":
    main()
