"""The model of Sutskever et al. (2014) at its own size, 384 million parameters: one training step, and its memory.

    python benchmarks/paper_scale.py --json benchmarks/results/paper_scale.json [--device cuda]

Section 3.4: 4 layers of 1000 cells, embeddings of 1000, 160,000 source and 80,000 target words, weights from U(-0.08,
0.08), SGD without momentum at 0.7, batches of 128, gradients clipped to norm 5. (The paper's softmax is the plain one
too; its decay of the rate and the reversal of the source change no step's cost.) Words are random and every sentence
has --length positions. PyTorch and JAX keep embedding gradients as rows. A precision races at a time, since all models
would not fit together; the equality is shown on a small model with the same rule.
"""

from __future__ import annotations

import dataclasses
import math

from figures import Figures
from peers.problem import Task, shapes
from racing import parser, run
from training import ON_DEVICE, Case, Race, in_precision, on_gpu, run_races
from workloads import fixed

PAPER = Task(
    vocab_sizes=(160_000, 80_000), embedding_size=1000, hidden_size=1000, num_layers=4, dropout=0.0, init_range=0.08,
    optimizer="sgd", lr=0.7, clip_norm=5.0,
)  # fmt: skip
SMALL = dataclasses.replace(PAPER, vocab_sizes=(300, 200), embedding_size=24, hidden_size=32, num_layers=2)
PROOF = dataclasses.replace(PAPER, vocab_sizes=(300, 200))  # the same for a GPU, with layers as wide as they are
PEERS = ("minigrad", "pytorch", "jax")


def num_parameters(task: Task) -> int:
    """Of the model in this package's layout (two bias vectors per LSTM layer)."""
    return sum(math.prod(shape) for shape in shapes(task).values())


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 3)
    options_of.add_argument("--batch-size", type=int, default=128)
    options_of.add_argument("--length", type=int, default=20, help="positions of every sentence (default: 20)")
    options = options_of.parse_args()
    task = SMALL if options.quick else PAPER
    batches = fixed(1, 3 if options.quick else options.batch_size, options.length, task.vocab_sizes)
    cases = {precision: Case(in_precision(PEERS, precision), SMALL, 1.0) for precision in ("fp32", "bf16")}
    if options.device == "cuda":
        proof = SMALL if options.quick else PROOF
        init_range = min(0.3, 2 * proof.hidden_size**-0.5)
        precisions = ("tf32",) if options.quick else ("bf16", "tf32", "fp32")
        cases = {p: Case(on_gpu(p, 1.0), proof, 1.0, init_range, ON_DEVICE) for p in precisions}
    sizes = {"num_parameters": num_parameters(task), "batch_size": options.batch_size, "length": options.length}
    with Figures(options, "races", matmul_gflops={}, **sizes) as figures:
        run_races({name: Race(case, task, batches) for name, case in cases.items()}, options, figures)


if __name__ == "__main__":
    run(main)
