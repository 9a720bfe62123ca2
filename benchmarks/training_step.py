"""Training steps against PyTorch and JAX: equal first, then timed in turn; memory of each process with them.

    python benchmarks/training_step.py --data-dir DIR --json benchmarks/results/training_step.json

Three races, each over variants of every peer, in float32 and bfloat16: the tutorials' model on batches of Multi30k from
--data-dir (or random words with like lengths) with the right word always given; the same with the tutorials' loop,
which gives the right word to half of the steps; a small model. First all take three steps with dropout off from the
same weights, and losses and weights must agree. A peer's batches are compiled for beforehand, which is reported
as the time of the first calls; its memory includes that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from peers.problem import Task, Tokens
from racing import leave_out, machine, parser, run, show, usable, write
from training import FORCED, LOOP, Case, train, verify, with_bf16
from workloads import fixed, like_multi30k, multi30k


class Row(NamedTuple):
    """A race: its key in the file, model, batches, forcing, variants, steps at a time, rounds per --rounds."""

    name: str
    task: Task
    batches: Sequence[Tokens]
    forcing: float
    variants: list[str]
    steps: int = 1
    times: int = 1


def rows(options: Any) -> list[Row]:
    """The races of a full or of a quick run."""
    small = Task(vocab_sizes=(100, 100), embedding_size=64, hidden_size=128, num_layers=1, dropout=0.0)
    steps = Row("small model", small, fixed(2, 32, 15, small.vocab_sizes), 1.0, list(FORCED), 20, 3)
    if options.quick:
        tiny = Task(vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        batches = like_multi30k(1, 4, tiny.vocab_sizes)
        return [
            Row("forcing 1.0", tiny, batches, 1.0, with_bf16(FORCED)),
            Row("forcing 0.5", tiny, batches, 0.5, with_bf16(LOOP)),
        ]
    task = Task()
    if options.data_dir:
        batches, vocab_sizes = multi30k(options.data_dir, options.batches, options.batch_size)
        task = Task(vocab_sizes=vocab_sizes)
    else:
        batches = like_multi30k(options.batches, options.batch_size, task.vocab_sizes)
    return [
        Row("forcing 1.0", task, batches, 1.0, with_bf16(FORCED)),
        Row("forcing 0.5", task, batches, 0.5, with_bf16(LOOP)),
        steps,
    ]


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 12, "tiny models, for a test of this script")
    options_of.add_argument("--data-dir", help="folder with multi30k/; random words without it")
    options_of.add_argument("--batches", type=int, default=4, help="different batches (default: 4)")
    options_of.add_argument("--batch-size", type=int, default=128)
    options_of.add_argument("--races", type=lambda text: text.split(","), help="only these, for example 'small model'")
    options = options_of.parse_args()
    result: dict[str, Any] = {"data": "multi30k" if options.data_dir else "random", **machine(options.threads)}
    result["races"] = {}
    races = [row for row in rows(options) if options.races is None or row.name in options.races]
    able = [usable(row.variants, options.variants) for row in races]
    cases = [Case(names, row.task, row.forcing) for row, (names, _) in zip(races, able, strict=True)]
    proofs = verify(cases, options.threads)
    for row, case, (_, missing), verified in zip(races, cases, able, proofs, strict=True):
        rounds, peaks = options.rounds * row.times, result["matmul_gflops"]
        found = train(verified.able(case), row.batches, options.threads, rounds, peaks, row.steps)
        leave_out(found, missing | verified.left_out)
        result["races"][row.name] = {**found, "verified_to": verified.to}
        show(row.name, found, "us per token")
        write(options.json, result)


if __name__ == "__main__":
    run(main)
