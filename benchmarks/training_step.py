"""Training steps against PyTorch and JAX: equal first, then timed in turn; memory of each with them.

    python benchmarks/training_step.py --data-dir DIR --json benchmarks/results/training_step.json [--device cuda]

The tutorials' model on batches of Multi30k from --data-dir (or random words with like lengths) with the right word
always given; with the tutorials' loop, which gives it to half of the steps; a small model; a Transformer. First all
take three steps with dropout off from the same weights, and losses and weights must agree. A peer's batches are
compiled for beforehand, which is reported as the time of the first calls; its memory includes that.

On a GPU a precision races at a time, with and without CUDA graphs. A step is what a user runs: ids from the host,
forward, loss, backward, clipping, update; nothing is read back. Memory is what a library's pool grew to.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from peers.problem import Task, Tokens
from peers.transformer import TransformerTask
from racing import run
from training import FORCED, LOOP, ON_DEVICE, Case, Race, in_precision, main, on_gpu
from workloads import fixed, like_multi30k, multi30k


def races(options: Any) -> dict[str, Race]:
    """All of a device, by their names in the file, what teaches most first."""
    if options.quick:
        task = Task(vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        batches = like_multi30k(1, 4, task.vocab_sizes)
    elif options.data_dir:
        batches, vocab_sizes = multi30k(options.data_dir, options.batches, options.batch_size)
        task = Task(vocab_sizes=vocab_sizes)
    else:
        task = Task()
        batches = like_multi30k(options.batches, options.batch_size, task.vocab_sizes)
    if options.device == "cuda":
        init_range = min(0.3, 2 * task.hidden_size**-0.5)  # wide gates would saturate
        return {
            f"forcing {forcing}, {precision}": Race(
                Case(on_gpu(precision, forcing), task, forcing, init_range, ON_DEVICE), task, batches
            )
            for forcing in ((1.0,) if options.quick else (1.0, 0.5))
            for precision in (("tf32",) if options.quick else ("bf16", "tf32", "fp32"))
        }
    small = Task(vocab_sizes=(100, 100), embedding_size=64, hidden_size=128, num_layers=1, dropout=0.0)
    others = {
        "small model": Race(Case(FORCED, small, 1.0), small, fixed(2, 32, 15, small.vocab_sizes), 20, 3),
        "Transformer": transformer(task.vocab_sizes, batches),
    }
    return {
        "forcing 1.0": Race(Case(in_precision(FORCED, "fp32", "bf16"), task, 1.0), task, batches),
        "forcing 0.5": Race(Case(in_precision(LOOP, "fp32", "bf16"), task, 0.5), task, batches),
    } | ({} if options.quick else others)


def transformer(vocab_sizes: tuple[int, int], batches: Sequence[Tokens]) -> Race:
    """Adam would move the biases of keys, whose gradients are 0 but for rounding, so the proof is of SGD."""
    task = TransformerTask(vocab_sizes=vocab_sizes)
    proof = dataclasses.replace(task, num_layers=1, optimizer="sgd", lr=0.1)
    names = in_precision(("minigrad", "pytorch", "pytorch-compiled"), "fp32", "bf16")
    return Race(Case(names, proof, 1.0, 0.1), task, batches)


if __name__ == "__main__":
    run(functools.partial(main, __doc__, races))
