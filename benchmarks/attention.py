"""Training of models with attention against PyTorch: equal first, then timed in turn; memory of each with them.

    python benchmarks/attention.py --data-dir DIR --json benchmarks/results/attention.json

The tutorials' sizes, the right word always given. "general" is Luong's model, whose states do not know what was
attended to: PyTorch computes a whole target at once. "bahdanau" reads the context in its cell: there PyTorch loops over
steps, eager or compiled. What is verified, and how, stands in `training.py`.
"""

from __future__ import annotations

import functools
from typing import Any

from peers.attention import AttentionTask
from racing import run
from training import Case, Race, in_precision, main
from workloads import like_multi30k, multi30k

# A score is rounded to 2**-9 of its size too, and a softmax of scores of 5 makes 1 % of that.
TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2}
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
    return {name: Race(Case(names, task, 1.0, tolerance=TOLERANCE), task, batches) for name, task in tasks.items()}


if __name__ == "__main__":
    run(functools.partial(main, __doc__, races))
