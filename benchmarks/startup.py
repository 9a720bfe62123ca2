"""Start-up costs: importing minigrad, and the first training step with a cold and with a warm kernel cache.

    python benchmarks/startup.py [--runs 5] [--json benchmarks/results/startup.json]

Every figure is a fresh Python process; medians and spread of several. The cold cache is an empty folder of its own. The
step is the tutorials' model on 128 sentences, and its loss is checked before a time is believed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from figures import write
from peers.worker import best_environment

IMPORT = "import time; t = time.perf_counter(); import minigrad; print(time.perf_counter() - t)"
STEP = """
import math, time
from peers.minigrad import Peer
from peers.problem import Task
from workloads import like_multi30k
peer, (batch,), times = Peer(Task(), "fp32", 1), like_multi30k(1, 128, Task().vocab_sizes), []
for _ in range(3):
    start = time.perf_counter()
    loss = peer.step(batch, None)
    times.append(time.perf_counter() - start)
    assert abs(loss - math.log(5893)) < 0.5, loss
print(times[0] - min(times))
"""


def seconds(code: str, cache: str | None = None) -> float:
    """What the program printed, run in a fresh interpreter, with the kernel cache in ``cache`` if given."""
    environment = dict(best_environment(), **({"NUMBA_CACHE_DIR": cache} if cache else {}))
    command, here = [sys.executable, "-c", code], Path(__file__).parent
    return float(subprocess.check_output(command, env=environment, cwd=here, text=True))


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
        write(options.json, {"seconds": seconds_of})


if __name__ == "__main__":
    main()
