"""What every trick for speed earns: ours against ours without it, equal to the bit first, then timed in turn.

    python benchmarks/ablations.py --json benchmarks/results/ablations.json
    python benchmarks/ablations.py --only "lazy rows" --precision bf16

How each is switched off stands in `peers/ablated.py`. The tutorials' model trains on batches of 128 with the right word
always given, and translates one sentence of 15 words: to prepack weights costs the same for one as for many. What a
trick earns is the time without it over the time with it.

What CUDA graphs earn is a question to a device: "minigrad" beside "minigrad-graph" of `training_step.py --device cuda`,
"minigrad-eager" beside "minigrad" of `decoding.py --device cuda`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from peers.ablated import OF_SEARCH, WITHOUT
from peers.problem import FIRST_WORD, Task
from peers.worker import VARIANTS, Variant, Worker
from racing import OURS, Call, machine, open_workers, parser, quartiles, run, write
from workloads import like_multi30k


def variant(without: str, precision: str) -> str:
    """The name of ours without something, made known to the workers."""
    name = f"{OURS} without {without}"
    VARIANTS[name] = Variant("ablated", precision, {"without": without})
    return name


def calls(task: Task, without: str, batch_size: int) -> list[Call]:
    """What the trick is for: steps, or searches."""
    if without in OF_SEARCH:
        rng = np.random.default_rng(0)
        draws = [rng.integers(FIRST_WORD, task.vocab_sizes[0], (1, 15)).tolist() for _ in range(4)]
        return [Call("decode", (sources, 15, 1), 1, 10) for sources in draws]
    return [Call("step", (batch, None), 1) for batch in like_multi30k(4, batch_size, task.vocab_sizes)]


def verify(both: Sequence[Worker], asked: Sequence[Call]) -> None:
    """AssertionError unless both give the same results, and the same weights, to the bit; of models without dropout."""
    for call in asked:
        results = [worker.call(call.method, *call.arguments)[1] for worker in both]
        assert results[0] == results[1], f"{both[1].name}: {call.method} gives {results[1]}; expected {results[0]}"
    weights = [worker.call("weights")[1] for worker in both]
    differing = [name for name, array in weights[0].items() if not np.array_equal(array, weights[1][name])]
    assert not differing, f"{both[1].name} has other weights: {', '.join(differing)}"


def measure(both: Sequence[Worker], asked: Sequence[Call], rounds: int) -> dict[str, Any]:
    """Microseconds of both, and time without over time with, of rounds whose order turns; all is called once before."""
    for worker in both:
        for call in asked:
            worker.call(call.method, *call.arguments)
    times = np.empty((2, rounds))
    for turn in range(rounds):
        call = asked[turn % len(asked)]
        for which in (0, 1) if turn % 2 else (1, 0):
            times[which, turn] = both[which].call(call.method, *call.arguments, times=call.times)[0]
    us = [quartiles(samples * 1e6) for samples in times]
    return {"rounds": rounds, "with_us": us[0], "without_us": us[1], "earns": quartiles(times[1] / times[0])}


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 16, "a tiny model, for a test of this script")
    options_of.add_argument("--only", type=lambda text: text.split(","), help=f"some of: {', '.join(WITHOUT)}")
    options_of.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    options = options_of.parse_args()
    task = Task(init_range=0.3)
    if options.quick:
        task = dataclasses.replace(task, vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
    ours = OURS if options.precision == "fp32" else f"{OURS}-bf16"
    result = {**machine(options), "precision": options.precision, "ablations": {}}
    for without in options.only or WITHOUT:
        names = [ours, variant(without, options.precision)]
        asked = calls(task, without, 4 if options.quick else 128)
        with open_workers(names, options.threads, dataclasses.replace(task, dropout=0.0)) as workers:
            both = list(workers.values())
            verify(both, asked)
            for worker in both:
                worker.call("build", task)
            found = measure(both, asked, options.rounds)
        result["ablations"][without] = {"instead": WITHOUT[without], **found}
        with_us, without_us, earns = (found[key] for key in ("with_us", "without_us", "earns"))
        print(
            f"{without:22} {with_us['median'] / 1e3:9.3f} ms with, {without_us['median'] / 1e3:9.3f} ms without: "
            f"{earns['median']:.3f} ({earns['low']:.3f} to {earns['high']:.3f})",
            flush=True,
        )
        write(options.json, result)


if __name__ == "__main__":
    run(main)
