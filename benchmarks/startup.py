"""Start-up costs: importing minigrad, and the first training step with a cold and with a warm kernel cache.

    python benchmarks/startup.py [--runs 5] [--json benchmarks/results/startup.json]

Every figure is a fresh Python process; medians and spread of several. The cold cache is an empty folder of its own. The
step is the tutorials' model on 128 sentences, and its loss is checked before a time is believed.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from peers.worker import best_environment
from racing import place, processor

IMPORT = "import time; t = time.perf_counter(); import minigrad; print(time.perf_counter() - t)"
STEP = """
import math, time
import numpy as np
from minigrad import nn, optim
from seq2seq.run.config import Config
from seq2seq.sources import EncodedSplit, Ragged, TextSource
from seq2seq.models.model import build_model
rng = np.random.default_rng(0)
sides = [Ragged(rng.integers(4, v, rng.integers(8, 16)).tolist() for _ in range(128)) for v in (7853, 5893)]
batch = TextSource().batch(EncodedSplit(*sides), range(128))
model = build_model(7853, 5893, Config())
optimizer = optim.Adam(model.parameters())
times = []
for _ in range(3):
    start = time.perf_counter()
    loss = model.loss(batch) / batch.num_trg_tokens
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    times.append(time.perf_counter() - start)
    assert abs(loss.item() - math.log(5893)) < 0.5, loss
print(times[0] - min(times))
"""


def seconds(code: str, cache: str | None = None) -> float:
    """What the program printed, run in a fresh interpreter, with the kernel cache in ``cache`` if given."""
    environment = dict(best_environment(), **({"NUMBA_CACHE_DIR": cache} if cache else {}))
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(result.stdout)


def measure(runs: int) -> dict[str, list[float]]:
    """Samples in seconds: of the import, and of what the first step takes longer than a later one, cold and warm."""
    samples: dict[str, list[float]] = {"import": [], "first_step_cold": [], "first_step_warm": []}
    seconds(IMPORT)
    for _ in range(runs):
        samples["import"].append(seconds(IMPORT))
        with tempfile.TemporaryDirectory() as cache:
            samples["first_step_cold"].append(seconds(STEP, cache))
            samples["first_step_warm"].append(seconds(STEP, cache))
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    samples = measure(options.runs)
    for name, values in samples.items():
        print(
            f"{name:16} median {median(values):6.2f} s   ({min(values):.2f} to {max(values):.2f}, {len(values)} runs)"
        )
    if options.json:
        seconds_of = {name: sorted(values) for name, values in samples.items()}
        result = {"processor": processor(), "python": platform.python_version(), "seconds": seconds_of}
        place(options.json, result["processor"]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
