"""What every trick for speed earns: ours against ours without it, equal first, then timed in turn.

    python benchmarks/ablations.py --json benchmarks/results/ablations.json        at most five minutes
    python benchmarks/ablations.py --device cuda --json benchmarks/results/ablations.json

How each is switched off stands in `peers/ablated.py`. On the processor the tutorials' model trains on batches of 128
with the right word always given, and translates one sentence of 15 words: to prepack weights costs the same for one as
for many. What spares work in tables of words is also tried where they are large and batches small, of 16: 50,000 words
on each side. What small models gain that step in Python is tried with a decoder of 128 units in such a loop, and with
one that only reads slices; their sums are in another order, and so equal but for rounding. What a trick earns is the
time without it over the time with it.

On a GPU it is a layer's call. A kernel without one of its stages computes nonsense and takes less time: what is missing
to 1 is what that stage costs where nothing hides it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import layers
import numpy as np
from figures import Figures
from peers.ablated import OF_LOOPS, OF_SEARCH, OF_SLICES, OF_TABLES, STAGES, SWITCHES, WITHOUT
from peers.layers import LayerTask
from peers.loops import LoopTask, SliceTask
from peers.problem import FIRST_WORD, Task
from peers.worker import VARIANTS, Variant
from racing import OURS, Call, arena, parser, quartiles, run
from workloads import like_multi30k


class Row(NamedTuple):
    """What is taken away, and of what: a model or a layer, in a precision, in these calls."""

    without: str
    instead: str
    task: Any
    precision: str
    calls: list[Call]


def rows(options: Any) -> dict[str, Row]:
    """All of a device, by their names in the file."""
    if options.device == "cpu":
        task = Task(init_range=0.3)
        if options.quick:
            task = dataclasses.replace(task, vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        count = 4 if options.quick else 128
        found = {w: Row(w, text, task, options.precision, calls(task, w, count)) for w, text in WITHOUT.items()}
        large = task if options.quick else dataclasses.replace(task, vocab_sizes=(50_000, 50_000))
        for w in OF_TABLES:
            of_few = calls(large, w, count // 8 or 1)
            found[f"{w}, 50,000 words"] = Row(w, WITHOUT[w], large, options.precision, of_few)
        loop, slices = (LoopTask(2, 3, 4, 5), SliceTask(3, 2, 2)) if options.quick else (LoopTask(), SliceTask())
        found |= {w: Row(w, text, loop, "fp32", [Call("step", (), 1, 5)]) for w, text in OF_LOOPS.items()}
        return found | {w: Row(w, text, slices, "fp32", [Call("step", (), 1)]) for w, text in OF_SLICES.items()}
    tasks = [LayerTask(1, 64, 3, 4)] if options.quick else [LayerTask(1, H, 128, 100) for H in (512, 1024)]
    named = [(name, str(switches)) for name, switches in SWITCHES.items()]
    named += [(name, "nothing") for name in (["products"] if options.quick else STAGES)]
    return {
        f"{name}, {layers.title((task, 'bf16', method))}": Row(name, instead, task, "bf16", [Call(method, (), 1, 0)])
        for task in tasks
        for method in layers.DIRECTIONS
        for name, instead in named
    }


def calls(task: Task, without: str, batch_size: int) -> list[Call]:
    """What the trick is for: steps, or searches."""
    if without in OF_SEARCH:
        rng = np.random.default_rng(0)
        draws = [rng.integers(FIRST_WORD, task.vocab_sizes[0], (1, 15)).tolist() for _ in range(4)]
        return [Call("decode", (sources, 15, 1), 1, 10) for sources in draws]
    return [Call("step", (batch, None), 1) for batch in like_multi30k(4, batch_size, task.vocab_sizes)]


def verify(both: Sequence[Any], asked: Sequence[Call]) -> None:
    """AssertionError unless both give the same results, and the same weights, to the bit; of models without dropout."""
    for call in asked:
        results = [worker.call(call.method, *call.arguments)[1] for worker in both]
        assert results[0] == results[1], f"{both[1].name}: {call.method} gives {results[1]}; expected {results[0]}"
    weights = [worker.call("weights")[1] for worker in both]
    differing = [name for name, array in weights[0].items() if not np.array_equal(array, weights[1][name])]
    assert not differing, f"{both[1].name} has other weights: {', '.join(differing)}"


def measure(both: Sequence[Any], asked: Sequence[Call], rounds: int) -> dict[str, Any]:
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


def ablate(row: Row, options: Any) -> dict[str, Any]:
    """Proof and times of a row."""
    ours = OURS if row.precision == "fp32" else f"{OURS}-{row.precision}"
    other = f"{OURS} without {row.without}"
    VARIANTS[other] = Variant("ablated", row.precision, {"without": row.without})
    of_model = isinstance(row.task, Task)
    task = dataclasses.replace(row.task, dropout=0.0) if of_model else row.task
    with arena(options).open([ours, other], options.threads, task) as workers:
        both = list(workers.values())
        if of_model:
            verify(both, row.calls)
            for worker in both:
                worker.call("build", row.task)
        elif row.without not in STAGES:
            right, found = (worker.call("results")[1] for worker in both)
            layers.check(ours, layers.worst(found, right))
        return {"instead": row.instead, **measure(both, row.calls, options.rounds)}


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 16)
    of_the_processor = [*WITHOUT, *OF_LOOPS, *OF_SLICES]
    options_of.add_argument("--only", type=lambda text: text.split(","), help=f"some of: {', '.join(of_the_processor)}")
    options_of.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    options_of.set_defaults(seconds=270)
    options = options_of.parse_args()
    wanted = options.only or [*of_the_processor, *SWITCHES, *STAGES]
    asked = {n: partial(ablate, row, options) for n, row in rows(options).items() if row.without in wanted}
    with Figures(options, "ablations", precision=options.precision) as figures:
        for name, found in figures.measure(asked):
            words = "{median:.3f} ({low:.3f} to {high:.3f})"
            print(f"{name}: {found.get('error') or words.format(**found['earns'])}", flush=True)


if __name__ == "__main__":
    run(main)
