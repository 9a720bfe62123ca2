"""Greedy and beam search of the tutorials' model against PyTorch, JAX and ONNX Runtime: equal first, then in turn.

    python benchmarks/decoding.py --json benchmarks/results/decoding.json [--device cuda]
    python benchmarks/decoding.py --model bahdanau --json benchmarks/results/decoding_bahdanau.json
    python benchmarks/decoding.py --model wide --json benchmarks/results/decoding_wide.json

Sources and outputs of 15 words; <eos> is made impossible so that all take exactly as many steps. In float32 the words
found must be the same. In bfloat16 a near tie may fall otherwise, so the reference scores the words, and must find them
almost as likely as its own. One sentence is the time that a user waits; many are the throughput. On a GPU float32 has
to find nearly all sentences alike: sums in another order may decide a near tie. "minigrad-eager" launches every step
anew. The models with attention are those of `attention.py`, and race against PyTorch alone. The wide one, a layer of
512 units and 20,000 words, is ours alone: what the form of its weights changes, float32, bfloat16, float16 or int8.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from figures import Figures
from peers.attention import AttentionTask
from peers.problem import FIRST_WORD, Task
from peers.worker import VARIANTS
from racing import OURS, Call, arena, check_ours, leave_out, parser, race, run, show, spared, usable
from training import in_precision

DECODERS = ["minigrad", "pytorch", "pytorch-compiled", "jax", "onnxruntime"]
DECODERS += [f"{name}-bf16" for name in DECODERS[:-1]]
ON_GPU = (OURS, "minigrad-eager", "pytorch")
WITH_ATTENTION = in_precision(("minigrad", "pytorch", "pytorch-compiled"), "fp32", "bf16")
FORMS = ["minigrad", "minigrad-bf16", "minigrad-f16", "minigrad-int8"]
WIDE = {"vocab_sizes": (20_000, 20_000), "num_layers": 1}
BEAMS = (1, 5)

# Of log p per sentence. bfloat16 rounds a logit by 0.2 to 0.4 %, and a word chosen otherwise at a near tie leads on to
# others, no better or worse on average; words of another model are several times less likely in the logarithm.
TOLERANCE = {"fp32": 1e-3, "tf32": 0.1, "bf16": 0.1, "f16": 0.1, "int8": 0.1}
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


class Contest(NamedTuple):
    """Three draws of sentences of so many words, how they are searched, and by whom."""

    draws: list[list[list[int]]]
    words: int
    beam_size: int
    names: list[str]


def contests(options: Any, vocab_size: int) -> dict[str, Contest]:
    """By their names in the file; on a GPU a precision at a time."""
    words = 4 if options.quick else 15
    counts = {"cpu": (1, 64), "cuda": (1, 64, 256)}[options.device] if not options.quick else (1, 3)
    precisions = ("fp32",) if options.quick else ("fp32", "bf16", "tf32")
    able = {"lstm": DECODERS, "wide": FORMS}.get(options.model, WITH_ATTENTION)
    names = {"": able} if options.device == "cpu" else {f", {p}": in_precision(ON_GPU, p) for p in precisions}
    found = {}
    for end, variants in names.items():
        for count in counts:
            rng = np.random.default_rng(count)
            draws = [rng.integers(FIRST_WORD, vocab_size, (count, words)).tolist() for _ in range(3)]
            for beam in BEAMS:
                title = f"{count} sentence{'s' if count > 1 else ''}, {f'beam {beam}' if beam > 1 else 'greedy'}"
                found[f"{title}{end}"] = Contest(draws, words, beam, variants)
    return found


def measure(
    contest: Contest, workers: dict[str, Any], judge: Any, missing: dict[str, str], options: Any
) -> dict[str, Any]:
    """Proof and race of one size; times are of one search over all sentences."""
    strict, (draws, words, beam, _) = options.device == "cpu", contest
    able = {name: workers[name] for name in contest.names if name in workers}
    alike, left_out = verify(able, judge, draws[0], words, beam, strict)
    times = IN_A_ROW[len(draws[0]) > 1] if strict else 0
    calls = [Call("decode", (sources, words, beam), 1, times) for sources in draws]
    found = race({name: workers[name] for name in alike}, calls, options.rounds, strict)
    leave_out(found, {name: missing[name] for name in contest.names if name in missing} | left_out)
    return {"sentences": len(draws[0]), "beam_size": beam, **found, "alike": alike}


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 15)
    options_of.add_argument("--model", default="lstm", choices=("lstm", "attention", "bahdanau", "wide"))
    options = options_of.parse_args()
    # Weights from a wider range than in training: else all words are nearly equally likely, and rounding decides.
    kinds = {"lstm": Task(init_range=0.3), "wide": Task(init_range=0.3, **WIDE)}
    task = kinds.get(options.model) or AttentionTask(init_range=0.3, decoder=options.model)
    if options.quick:
        task = dataclasses.replace(task, vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
    made, where = contests(options, task.vocab_sizes[0]), arena(options)
    names, missing = usable([*dict.fromkeys(name for one in made.values() for name in one.names)], options.variants)
    words = next(iter(made.values())).words
    with (
        Figures(options, "races", words=words) as figures,
        where.open(names, options.threads, task) as workers,
        where.open([where.reference], options.threads, task) as judge,
    ):
        others = workers, judge[where.reference], missing, options
        for name, found in figures.measure({name: partial(measure, one, *others) for name, one in made.items()}):
            show(name, found, "ms", 1e-3)


if __name__ == "__main__":
    run(main)
