"""`nn.LSTM` against PyTorch's, which is cuDNN's on a GPU: values first, then times in turn.

    python benchmarks/layers.py --json benchmarks/results/layers.json [--device cuda]

Outputs, states and all gradients are held against our layer in float64, by the relative error of the whole array. Ours
beyond its tolerance is not timed, and the row says so.

On a GPU a row is one precision, plainly and in a CUDA graph where that can be captured. Where PyTorch takes float16,
for which alone cuDNN has its persistent kernel, ours takes bfloat16: it has no float16.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from figures import Figures
from peers.layers import LayerTask
from peers.problem import Array
from peers.worker import VARIANTS
from racing import OURS, Call, arena, leave_out, parser, race, run, show, spared

REFERENCE = "minigrad-fp64"
DIRECTIONS = {"forward": "forward", "both": "forward and backward"}
# Relative errors of outputs and of gradients. float32 sums of up to a thousand terms through up to 50 steps and 4
# layers; tf32 rounds operands to 11 bits, bfloat16 to 8, and a recurrence hands errors on.
TOLERANCE = {"fp32": (1e-4, 1e-3), "tf32": (5e-3, 2e-2), "bf16": (4e-2, 1e-1), "fp16": (4e-2, 1e-1)}

Row = tuple[LayerTask, str, str]  # layers and their input, precision ("" for all of a processor), method


def rows(quick: bool) -> list[Row]:
    """On a GPU, in the order of what teaches most: right or wrong, and how they stand beside cuDNN, then the rest."""
    if quick:
        return [(LayerTask(1 + (p == "fp32"), 64, 3, 3, p == "bf16"), p, "both") for p in ("bf16", "fp32", "fp16")]
    found: list[Row] = [(LayerTask(2, 512, 128, 50, ragged), "bf16", "both") for ragged in (False, True)]
    found += [(LayerTask(1, 512, 128, T), "fp16", "both") for T in (50, 25)]
    found += [(LayerTask(2, 512, 128, 50), p, m) for p, m in (("bf16", "forward"), ("tf32", "both"), ("fp32", "both"))]
    found += [(LayerTask(layers, 512, 128, 25), p, "both") for p in ("bf16", "tf32", "fp32") for layers in (1, 2)]
    found += [(LayerTask(layers, 1024, 128, 25), p, "both") for p in ("bf16", "tf32") for layers in (1, 2, 4)]
    found += [(LayerTask(1, H, 128, 25), "fp16", "both") for H in (1024, 768, 256)]
    found += [(LayerTask(layers, 512, N, 25), "bf16", "both") for N in (1, 8, 16, 64, 256) for layers in (1, 2)]
    found += [(LayerTask(2, 512, 128, 50, True), p, "both") for p in ("tf32", "fp32")]
    found += [(LayerTask(4, 1000, 128, 25, ragged), "bf16", "both") for ragged in (False, True)]
    found += [(LayerTask(2, 512, N, 25), "fp32", "both") for N in (1, 8)]
    return found + [(LayerTask(1, H, 128, 25), "bf16", method) for H in (256, 768) for method in DIRECTIONS]


def rows_of_processor(quick: bool) -> list[Row]:
    """In all precisions together."""
    tasks = [LayerTask(1, 512, 128, 25), LayerTask(1, 512, 128, 25, True), LayerTask(2, 512, 1, 25)]
    return [
        (task, "", method) for task in ([LayerTask(1, 64, 3, 3, True)] if quick else tasks) for method in DIRECTIONS
    ]


def title(row: Row) -> str:
    """Its name in the file."""
    task, precision, method = row
    size = f"{task.layers} layer{'s' if task.layers > 1 else ''} H={task.H} N={task.N} T={task.T}"
    return ", ".join(filter(None, [size, "packed" * task.ragged, DIRECTIONS[method], precision]))


def contestants(precision: str) -> list[str]:
    """Of a row."""
    if not precision:
        return [OURS, f"{OURS}-bf16", "pytorch", "pytorch-bf16"]
    ours, theirs = ("" if p == "fp32" else f"-{p}" for p in (precision.replace("fp16", "bf16"), precision))
    return [f"{OURS}{ours}", f"{OURS}-graph{ours}", f"pytorch{theirs}", f"pytorch-graph{theirs}"]


def worst(found: dict[str, Array], right: dict[str, Array]) -> tuple[float, float]:
    """The largest relative error among outputs and states, and among gradients; NaN stays."""
    errors: tuple[list[float], list[float]] = [], []
    for name, want in right.items():
        errors[name.startswith("d")].append(float((((found[name] - want) ** 2).sum() / (want**2).sum()) ** 0.5))
    return float(np.max(errors[0])), float(np.max(errors[1]))


def check(name: str, errors: tuple[float, float]) -> None:
    """AssertionError for errors beyond the tolerance, or NaN."""
    right = all(error <= most for error, most in zip(errors, TOLERANCE[VARIANTS[name].precision], strict=True))
    assert right, f"errors of {errors[0]:.2g} and {errors[1]:.2g}"


def measure(row: Row, options: Any) -> dict[str, Any]:
    """Errors of all, and times of those that compute what they should."""
    task, precision, method = row
    where, left_out = arena(options), {}
    names = [name for name in contestants(precision) if options.variants is None or name in options.variants]
    with where.open([REFERENCE], options.threads, task) as judge:
        right = judge[REFERENCE].call("results")[1]
    errors = {}
    with where.open(names, options.threads, task) as workers:
        for name, worker in workers.items():
            with spared(name, left_out, where.strict):
                errors[name] = worst(worker.call("results")[1], right)
                if name.startswith(OURS):
                    check(name, errors[name])
        able = {name: worker for name, worker in workers.items() if name not in left_out}
        found = race(able, [Call(method, (), 1, 5 if where.strict else 0)], options.rounds, where.strict)
    leave_out(found, left_out)
    return {**task._asdict(), **found, "errors": errors}


def main() -> None:
    """Verify, race, print, write."""
    options = parser(__doc__).parse_args()
    asked = rows(options.quick) if options.device == "cuda" else rows_of_processor(options.quick)
    with Figures(options, "races") as figures:
        for name, found in figures.measure({title(row): partial(measure, row, options) for row in asked}):
            show(name, found, "us")
        if options.device == "cuda":
            from peers.device import kernels_of

            profiled = {
                f"kernels of {title(row)}": partial(kernels_of, contestants(row[1])[::2], row[0], row[2])
                for row in asked[:6]
            }
            for name, _ in figures.measure(profiled):
                print(name, flush=True)


if __name__ == "__main__":
    run(main)
