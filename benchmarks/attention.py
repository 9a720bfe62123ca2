"""Training of models with attention against PyTorch: equal first, then timed in turn; memory of each with them.

    python benchmarks/attention.py --data-dir DIR --json benchmarks/results/attention.json

The tutorials' sizes, the right word always given. "general" is Luong's model, whose states do not know what was
attended to: PyTorch computes a whole target at once. "bahdanau" reads the context in its cell: there PyTorch loops over
steps, eager or compiled. What is verified, and how, stands in `training.py`.
"""

from __future__ import annotations

from typing import Any

from figures import Figures
from peers.attention import AttentionTask
from racing import parser, run
from training import Case, Race, in_precision, run_races
from workloads import like_multi30k, multi30k

VARIANTS = ("minigrad", "pytorch", "pytorch-packed", "pytorch-compiled")


def races(options: Any) -> dict[str, Race]:
    """By their names in the file."""
    sizes: dict[str, Any] = {"vocab_sizes": (60, 50), "embedding_size": 8, "hidden_size": 16} if options.quick else {}
    if options.quick or not options.data_dir:
        count, batch_size = (1, 4) if options.quick else (options.batches, options.batch_size)
        batches = like_multi30k(count, batch_size, AttentionTask(**sizes).vocab_sizes)
    else:
        batches, sizes["vocab_sizes"] = multi30k(options.data_dir, options.batches, options.batch_size)
    tasks = {
        "general": AttentionTask(decoder="attention", **sizes),
        "bahdanau": AttentionTask(decoder="bahdanau", num_layers=1, **sizes),
        "bahdanau-2": AttentionTask(decoder="bahdanau", num_layers=2, **sizes),
    }
    names = in_precision(VARIANTS, "fp32", "bf16")
    return {name: Race(Case(names, task, 1.0), task, batches) for name, task in tasks.items()}


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 12)
    options_of.add_argument("--data-dir", help="folder with multi30k/; random words without it")
    options_of.add_argument("--batches", type=int, default=4, help="different batches (default: 4)")
    options_of.add_argument("--batch-size", type=int, default=128)
    options_of.add_argument("--races", type=lambda text: text.split(","), help="only these, for example general")
    options = options_of.parse_args()
    asked = {name: race for name, race in races(options).items() if options.races is None or name in options.races}
    data = "multi30k" if options.data_dir else "random"
    with Figures(options, "races", data=data, matmul_gflops={}) as figures:
        run_races(asked, options, figures)


if __name__ == "__main__":
    run(main)
