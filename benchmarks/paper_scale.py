"""The model of Sutskever et al. (2014) at its own size, 384 million parameters: one training step, and its memory.

    python benchmarks/paper_scale.py --json benchmarks/results/paper_scale.json

Section 3.4: 4 layers of 1000 cells, embeddings of 1000, 160,000 source and 80,000 target words, weights from U(-0.08,
0.08), SGD without momentum at 0.7, batches of 128, gradients clipped to norm 5. (The paper's softmax is the plain one
too; its half-epoch decay of the rate changes no step's cost, and neither does the reversal of the source.) Words are
random and every sentence has --length positions. PyTorch and JAX keep embedding gradients as rows. The precisions race
one after the other, since five models of 1.5 GB and what training adds would not fit together; the equality is shown
on a small model with the same rule.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from peers.problem import Task, shapes
from racing import leave_out, machine, parser, run, show, usable, write
from training import Case, train, verify
from workloads import fixed

PAPER = Task(
    vocab_sizes=(160_000, 80_000), embedding_size=1000, hidden_size=1000, num_layers=4, dropout=0.0, init_range=0.08,
    optimizer="sgd", lr=0.7, clip_norm=5.0,
)  # fmt: skip
SMALL = dataclasses.replace(PAPER, vocab_sizes=(300, 200), embedding_size=24, hidden_size=32, num_layers=2)
VARIANTS = {"fp32": ["minigrad", "pytorch", "jax"], "bf16": ["minigrad-bf16", "pytorch-bf16", "jax-bf16"]}


def num_parameters(task: Task) -> int:
    """Of the model in this package's layout (two bias vectors per LSTM layer)."""
    total = 0
    for shape in shapes(task).values():
        total += shape[0] * (shape[1] if len(shape) > 1 else 1)
    return total


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 3, "a tiny model, for a test of this script")
    options_of.add_argument("--batch-size", type=int, default=128)
    options_of.add_argument("--length", type=int, default=20, help="positions of every sentence (default: 20)")
    options = options_of.parse_args()
    task = SMALL if options.quick else PAPER
    result: dict[str, Any] = {**machine(options), "num_parameters": num_parameters(task), "races": {}}
    for precision, variants in VARIANTS.items():
        names, missing = usable(variants, options.variants)
        if not names:
            continue
        case = Case(names, SMALL, 1.0)
        (verified,) = verify([case], options.threads)
        case = verified.able(case)._replace(task=task)
        batches = fixed(1, options.batch_size, options.length, task.vocab_sizes)
        found = train(case, batches, options.threads, options.rounds, result["matmul_gflops"])
        leave_out(found, missing | verified.left_out)
        result["races"][precision] = {"batch_size": options.batch_size, "length": options.length, **found}
        result["races"][precision]["verified_to"] = verified.to
        show(f"paper scale, {precision}", found, "us per token")
        write(options.json, result)


if __name__ == "__main__":
    run(main)
