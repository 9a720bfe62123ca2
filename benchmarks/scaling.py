"""How a training step grows with batch size, states, time, vocabulary and threads, ours against PyTorch.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json

One thing at a time is varied around a middle model (one layer, embeddings as wide as the states). The peers are equal
by the proof of `training.verify`, at the middle. `report.py` draws the result.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from figures import Figures
from peers.problem import Task
from peers.worker import Worker
from racing import arena, leave_out, parser, run, spared, usable
from training import Case, measure, verify
from workloads import fixed


class Point(NamedTuple):
    """A setting: batch size, cells, steps, words, threads."""

    N: int = 64
    H: int = 256
    T: int = 16
    V: int = 4000
    threads: int = 2

    def task(self) -> Task:
        """The model at this point."""
        return Task(vocab_sizes=(self.V, self.V), embedding_size=self.H, hidden_size=self.H, num_layers=1, dropout=0.0)


SWEEPS = {
    "N": [1, 4, 16, 64, 256], "H": [64, 128, 256, 512, 1024], "T": [4, 8, 16, 32, 64], "V": [250, 1000, 4000, 16000],
    "threads": [1, 2],
}  # fmt: skip
QUICK = {"N": [1, 4], "V": [20, 50]}
PEERS = ["minigrad", "minigrad-bf16", "pytorch", "pytorch-bf16"]


def sweeps(options: Any, middle: Point) -> dict[str, list[Point]]:
    """What is varied -> its settings."""
    values = QUICK if options.quick else SWEEPS
    made = {name: [middle._replace(**{name: value}) for value in each] for name, each in values.items()}
    return {name: [point for point in points if point.threads <= options.threads] for name, points in made.items()}


def main() -> None:
    """Verify in the middle, race at every point, print, write."""
    options = parser(__doc__).parse_args()
    names, missing = usable(PEERS, options.variants)
    middle = Point(4, 16, 5, 50, options.threads) if options.quick else Point(threads=options.threads)
    made, where = sweeps(options, middle), arena(options)
    small = dataclasses.replace(middle.task(), vocab_sizes=(200, 150))
    (verified,) = verify([Case(names, small, 1.0)], options.threads, where)
    more: dict[str, Any] = {"verified_to": verified.to, "middle": middle._asdict()}
    more["left_out"] = missing | verified.left_out
    with Figures(options, "sweeps", matmul_gflops={}, **more) as figures:
        figures.rows |= {name: [] for name in made}
        for threads in range(1, options.threads + 1):
            with where.open(list(verified.to), threads, None) as workers:
                for name, point in ((name, point) for name, points in made.items() for point in points):
                    if point.threads == threads:
                        figures.rows[name].append(race_at(workers, name, point, options.rounds, figures.result))
                        figures.save()


def race_at(workers: dict[str, Worker], name: str, point: Point, rounds: int, result: dict[str, Any]) -> dict[str, Any]:
    """The figures of a point, printed."""
    task = point.task()
    left_out: dict[str, str] = {}
    for variant, worker in workers.items():
        with spared(variant, left_out):
            worker.call("build", task)
    able = {variant: worker for variant, worker in workers.items() if variant not in left_out}
    batches = fixed(1, point.N, point.T, task.vocab_sizes)
    found = measure(able, Case(list(able), task, 1.0), batches, rounds, result["matmul_gflops"])
    leave_out(found, left_out)
    us = {variant: figures["us"]["median"] for variant, figures in found["variants"].items()}
    value = point._asdict()[name]
    print(f"{name} = {value}: {', '.join(f'{key} {us[key]:.2f}' for key in us)} us per token", flush=True)
    return {"value": value, "us": us, "ratios": found["ratios"], "left_out": found["left_out"]}


if __name__ == "__main__":
    run(main)
