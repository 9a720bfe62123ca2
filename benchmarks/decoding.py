"""Greedy and beam search of the tutorials' model against PyTorch, JAX and ONNX Runtime: equal first, then in turn.

    python benchmarks/decoding.py --json benchmarks/results/decoding.json
    python benchmarks/decoding.py --device cuda OUT [--seconds 40]

Sources and outputs of 15 words; <eos> is made impossible so that all take exactly as many steps. In float32 the words
found must be the same. In bfloat16 a near tie may fall otherwise, so our float32 model scores the words, and must find
them almost as likely as its own. One sentence is the time that a user waits; 64 sentences are the throughput.

On a GPU PyTorch's float32 model is the judge (without it, ours on the CPU), and nearly all sentences must be found as
it finds them: sums in another order may decide a near tie. "minigrad-eager" is our search with every step launched
anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from peers.problem import FIRST_WORD, Task
from peers.worker import VARIANTS
from racing import (
    OURS,
    Call,
    check_ours,
    leave_out,
    machine,
    open_workers,
    parser,
    race,
    run,
    show,
    spared,
    usable,
    write,
)

DECODERS = ["minigrad", "pytorch", "pytorch-compiled", "jax", "onnxruntime"]
DECODERS += [f"{name}-bf16" for name in DECODERS[:-1]]
BEAMS = (1, 5)

# Of log p per sentence. bfloat16 rounds a logit by 0.2 to 0.4 %, and a word chosen otherwise at a near tie leads on to
# others, no better or worse on average; words of another model are several times less likely in the logarithm.
TOLERANCE = {"fp32": 1e-3, "tf32": 0.1, "bf16": 0.1}
ALIKE_ON_DEVICE = 0.9  # the share of sentences that must be equal in float32
IN_A_ROW = (10, 2)  # searches a turn, of one sentence and of several: a processor wakes up from rest in milliseconds


class Proof(NamedTuple):
    """The share of equal sentences per variant, and why others are left out."""

    alike: dict[str, float]
    left_out: dict[str, str]


def verify(
    workers: dict[str, Any], reference: Any, sources: list[list[int]], words: int, beam: int, strict: bool = True
) -> Proof:
    """Hold what variants find against the reference: in float32 the same words, else likely ones.

    Where ``strict``: AssertionError if ours, or two frameworks, find otherwise. Else nearly all words have to be the
    same, and ours is left out as others are.
    """
    expected = reference.call("decode", sources, words, beam)[1]
    best = reference.call("score", sources, expected)[1]
    proof = Proof({}, {})
    for name, worker in workers.items():
        with spared(name, proof.left_out, strict):
            found = worker.call("decode", sources, words, beam)[1]
            assert [len(output) for output in found] == [words] * len(sources), f"{name}: outputs of other lengths"
            precision = VARIANTS[name].precision
            alike = float(np.mean([a == b for a, b in zip(found, expected, strict=True)]))
            needed = 0.0 if precision != "fp32" else 1.0 if strict else ALIKE_ON_DEVICE
            assert alike >= needed, f"{name} found other words than {OURS}"
            score = reference.call("score", sources, found)[1]
            likely = score >= best * (1 + TOLERANCE[precision])
            assert likely, f"{name} found words of log p {score:.2f}; expected {best:.2f}"
            proof.alike[name] = alike
    if strict:
        check_ours(list(workers), proof.left_out)
    return proof


def contests(options: Any) -> Sequence[tuple[str, int, int]]:
    """(key in the file, sentences, beam size)."""
    counts = (1, 3) if options.quick else (1, 64)
    return [
        (f"{count} sentence{'s' if count > 1 else ''}, {f'beam {beam}' if beam > 1 else 'greedy'}", count, beam)
        for count in counts
        for beam in BEAMS
    ]


def main() -> None:
    """Verify, race, print, write."""
    options = parser(__doc__, 15, "a tiny model, for a test of this script").parse_args()
    # Weights from a wider range than in training: else all words are nearly equally likely, and rounding decides.
    task = Task(init_range=0.3)
    if options.quick:
        task = dataclasses.replace(task, vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
    words = 4 if options.quick else 15
    names, missing = usable(DECODERS, options.variants)
    result: dict[str, Any] = {**machine(options), "words": words, "races": {}}
    with open_workers(names, options.threads, task) as workers, open_workers([OURS], options.threads, task) as own:
        for title, count, beam in contests(options):
            rng = np.random.default_rng(count)
            draws = [rng.integers(FIRST_WORD, task.vocab_sizes[0], (count, words)).tolist() for _ in range(3)]
            alike, left_out = verify(workers, own[OURS], draws[0], words, beam)
            able = {name: workers[name] for name in alike}
            calls = [Call("decode", (sources, words, beam), 1, IN_A_ROW[count > 1]) for sources in draws]
            found = race(able, calls, options.rounds)
            leave_out(found, missing | left_out)
            result["races"][title] = {"sentences": count, "beam_size": beam, **found}
            show(title, found, "ms", 1e-3)
            write(options.json, result)


# --- on a GPU ---------------------------------------------------------------------------------------------------------
def race_on_device(task: Task, precision: str, count: int, beam: int, words: int) -> dict[str, Any]:
    """Proof and race of one size; times are of one search over all sentences."""
    from gpu import contestants, timing

    sources = np.random.default_rng(count).integers(FIRST_WORD, task.vocab_sizes[0], (count, words)).tolist()
    judge = "pytorch" if contestants.arena().reference.startswith("pytorch") else "minigrad-cpu"
    names = contestants.variants(("minigrad", "minigrad-eager", "pytorch"), precision)
    with contestants.open_here([*names, judge], 1, task) as workers:
        alike, left_out = verify({n: workers[n] for n in names}, workers[judge], sources, words, beam, strict=False)
        found = timing.race({name: workers[name] for name in alike}, [Call("decode", (sources, words, beam), 1)])
    leave_out(found, left_out)
    return {**found, "alike": alike}


def on_device(figures: Any) -> None:
    """All sizes, float32 first."""
    task, words, counts, precisions = Task(init_range=0.3), 15, (1, 64, 256), ("fp32", "bf16", "tf32")
    if figures.small:
        task = dataclasses.replace(task, vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        words, counts, precisions = 3, (1, 3), ("fp32",)
    sizes = [(p, count, beam) for p in precisions for beam in BEAMS for count in counts]
    for precision, count, beam in figures.each("searches", sizes):
        row = {"precision": precision, "sentences": count, "beam_size": beam, "words": words}
        row = figures.attempt(row, partial(race_on_device, task, precision, count, beam, words))
        figures.tell(f"{count} sentences, beam {beam}, {precision}", row, "ms", 1e-3)


if __name__ == "__main__":
    run(main, __doc__, on_device)
