"""Greedy and beam search of the tutorials' model against PyTorch's loops: words first, then in turn.

    python -m gpu.decoding OUT

As ../decoding.py on the CPU: sources and outputs of 15 words, <eos> impossible. PyTorch's float32 model is the judge
(without it, ours on the CPU). In float32 nearly all sentences must be found as it finds them, since sums in another
order may decide a near tie; and what is found must be about as likely to it as its own words.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from peers import minigrad as cpu
from peers.problem import FIRST_WORD, Task

from gpu import device, part, timing
from gpu.ours import Ours, without_graphs
from gpu.timing import OURS, Call
from gpu.training_step import peer_of

COUNTS, BEAMS, PRECISIONS = (1, 64, 256), (1, 5), ("fp32", "bf16", "tf32")
SCORED = 16  # sentences
TOLERANCE = {"fp32": 1e-3, "tf32": 0.1, "bf16": 0.1}  # of log p: see ../decoding.py
ALIKE = 0.9  # the share of sentences that must be equal in float32


def verify(found: list[list[int]], right: list[list[int]], judge: Any, sources: list[list[int]]) -> dict[str, float]:
    """Share of equal sentences; log p of both per sentence, of the first sentences."""
    alike = float(np.mean([a == b for a, b in zip(found, right, strict=True)]))
    scores = [judge.score(sources[:SCORED], words[:SCORED]) for words in (found, right)]
    return {"alike": alike, "log_prob": scores[0], "right": scores[1]}


def accepted(precision: str, proof: dict[str, float]) -> bool:
    """Whether the words are right; False for NaN."""
    likely = proof["log_prob"] >= proof["right"] * (1 + TOLERANCE[precision])
    return likely and (precision != "fp32" or proof["alike"] >= ALIKE)


def measure(
    task: Task, ours: Any, peer: Any, judge: Any, precision: str, count: int, beam: int, words: int
) -> dict[str, Any]:
    """Proof and race of one size; times are of one search over all sentences."""
    rng = np.random.default_rng(count)
    sources = rng.integers(FIRST_WORD, task.vocab_sizes[0], (count, words)).tolist()
    if peer is not None:
        peer.use("fp32")
    right = judge.decode(sources, words, beam)
    found, able = proven(used(ours, precision), precision, sources, words, beam, right, judge)
    contestants = ({OURS: ours} if able else {}) | ({} if peer is None else {"pytorch": peer})
    calls = {
        name: Call(partial(search, one, precision, sources, words, beam), "ours" if name == OURS else "peer")
        for name, one in contestants.items()
    }
    if able:
        calls["no graph"] = Call(partial(without_graph, calls[OURS].function))
    return {**found, **timing.race(calls, 7, 15.0)}


def without_graph(function: Callable[[], None]) -> None:
    """Our search with every step launched anew."""
    with without_graphs():
        function()


def proven(
    ours: Any, precision: str, sources: list[list[int]], words: int, beam: int, right: list[list[int]], judge: Any
) -> tuple[dict[str, Any], bool]:
    """What is to be told of our search, and whether it finds what it should."""
    try:
        proof = verify(ours.decode(sources, words, beam), right, judge, sources)
    except Exception as error:
        device.synchronize()  # raises where nothing else would run either
        return {"wrong": part.one_line(error)}, False
    if accepted(precision, proof):
        return {"proof": proof}, True
    return {"proof": proof, "wrong": f"{proof}"}, False


def used(contestant: Any, precision: str) -> Any:
    contestant.use(precision)
    return contestant


def search(contestant: Any, precision: str, sources: list[list[int]], words: int, beam: int) -> None:
    used(contestant, precision).decode(sources, words, beam)


def main(figures: part.Part) -> None:
    """All sizes, float32 first."""
    if reason := device.why_no_torch():
        figures.note(f"nothing to compare with: {reason}")
    task, words = Task(init_range=0.3), 15
    counts: Sequence[int] = COUNTS
    precisions: Sequence[str] = PRECISIONS
    if figures.small:
        task = dataclasses.replace(task, vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        words, counts, precisions = 3, (1, 3), ("fp32",)
    ours, peer = Ours(task), peer_of(task)
    judge = cpu.Peer(task, "fp32", 1) if peer is None else peer
    sizes = [(p, count, beam) for p in precisions for beam in BEAMS for count in counts]
    for precision, count, beam in figures.each("searches", sizes):
        row = {"precision": precision, "sentences": count, "beam_size": beam, "words": words}
        show(figures.attempt(row, partial(measure, task, ours, peer, judge, precision, count, beam, words)))


def show(row: dict[str, Any]) -> None:
    """A line of the log."""
    title = f"{row['sentences']} sentences, beam {row['beam_size']}, {row['precision']}"
    if "error" in row:
        print(f"{title}: {row['error']}", flush=True)
        return
    times = ", ".join(f"{name} {us['median'] / 1e3:.3f}" for name, us in row["wall_us"].items())
    print(f"{title}: {row.get('wrong', '')} {times} ms", flush=True)


if __name__ == "__main__":
    sys.exit(part.run("decoding", __doc__, main))
