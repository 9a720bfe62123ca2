"""Greedy and beam search of the tutorials' model against PyTorch, JAX and ONNX Runtime: equal first, then in turn.

    python benchmarks/decoding.py --json benchmarks/results/decoding.json

Sources and outputs of 15 words; <eos> is made impossible so that all take exactly as many steps. In float32 the words
found must be the same. In bfloat16 a near tie may fall otherwise, so our float32 model scores the words, and must find
them almost as likely as its own. One sentence is the time that a user waits; 64 sentences are the throughput.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from peers.problem import FIRST_WORD, Task
from peers.worker import VARIANTS, Worker
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
BF16_TOLERANCE = 0.1
IN_A_ROW = (10, 2)  # searches a turn, of one sentence and of several: a processor wakes up from rest in milliseconds


def verify(
    workers: dict[str, Worker], reference: Worker, sources: list[list[int]], words: int, beam: int
) -> dict[str, str]:
    """Why variants are left out: they fail, or find other words than ours in float32 (in bfloat16: much less likely
    ones). AssertionError if ours, or two frameworks, find otherwise."""
    expected = reference.call("decode", sources, words, beam)[1]
    best = reference.call("score", sources, expected)[1]
    left_out: dict[str, str] = {}
    for name, worker in workers.items():
        with spared(name, left_out):
            found = worker.call("decode", sources, words, beam)[1]
            assert [len(output) for output in found] == [words] * len(sources), f"{name}: outputs of other lengths"
            if VARIANTS[name].precision == "fp32":
                assert found == expected, f"{name} found other words than {OURS}"
                continue
            score = reference.call("score", sources, found)[1]
            assert score >= best * (1 + BF16_TOLERANCE), f"{name} found words of log p {score:.2f}; ours {best:.2f}"
    check_ours(list(workers), left_out)
    return left_out


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
    result: dict[str, Any] = {**machine(options.threads), "words": words, "races": {}}
    with open_workers(names, options.threads, task) as workers, open_workers([OURS], options.threads, task) as own:
        for title, count, beam in contests(options):
            rng = np.random.default_rng(count)
            draws = [rng.integers(FIRST_WORD, task.vocab_sizes[0], (count, words)).tolist() for _ in range(3)]
            left_out = verify(workers, own[OURS], draws[0], words, beam)
            able = {name: worker for name, worker in workers.items() if name not in left_out}
            calls = [Call("decode", (sources, words, beam), 1, IN_A_ROW[count > 1]) for sources in draws]
            found = race(able, calls, options.rounds)
            leave_out(found, missing | left_out)
            result["races"][title] = {"sentences": count, "beam_size": beam, **found}
            show(title, found, "ms", 1e-3)
            write(options.json, result)


if __name__ == "__main__":
    run(main)
