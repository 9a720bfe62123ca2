"""`nn.LSTM` against PyTorch's, which is cuDNN's: values first, then forward, and forward with backward, in turn.

    python -m gpu.lstm OUT

A row is a precision, layers, H (also the input's size), N and T, with all sequences of length T or with lengths spread
from T down to T / 4 (packed). Both are compared with the same layer in float64: outputs, states and all gradients, by
the relative error of the whole array. A row of ours beyond its tolerance is marked wrong and not timed.

PyTorch gets what it does best: weights and inputs of the row's type, gradients of that type, and beside the plain calls
a CUDA graph of them. Ours keeps float32 weights, inputs and gradients in every precision, so its conversions count. It
has a graph, too, where one launch takes all steps. Where it has no float16 it runs bfloat16 against that; "ours in"
says which.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from racing import OURS, spared

import minigrad
from gpu import device, part, timing
from gpu.layers import Inputs, Layer, Networks, half_type

PRECISIONS = ("bf16", "tf32", "fp32", "fp16")
LAYERS, HIDDEN, BATCHES, STEPS = (1, 2, 4), (256, 512, 768, 1000, 1024), (1, 8, 16, 64, 128, 256), (25, 50)

# Relative errors of outputs and of gradients. float32 sums of up to a thousand terms through up to 50 steps and 4
# layers; tf32 rounds operands to 11 bits, bfloat16 to 8, and a recurrence hands errors on.
TOLERANCE = {"fp32": (1e-4, 1e-3), "tf32": (5e-3, 2e-2), "bf16": (4e-2, 1e-1), "fp16": (4e-2, 1e-1)}


class Case(NamedTuple):
    """A row of the grid."""

    precision: str
    layers: int
    H: int
    N: int
    T: int
    ragged: bool


# What a few seconds can tell: are the kernels right, and how do they stand beside cuDNN's?
FIRST = [
    *(Case("bf16", 2, 512, 128, 50, ragged) for ragged in (False, True)),
    *(Case("fp16", 1, 512, 128, T, False) for T in (50, 25)),
]


def grid() -> list[Case]:
    """All cases behind the first: those that the goals speak of, the rest shuffled, in runs of one size of network."""
    first = [
        *(Case(p, layers, 512, 128, T, False) for p in PRECISIONS[:3] for layers in (2, 1) for T in (25, 50)),
        *(Case(p, 2, 512, 128, 50, True) for p in PRECISIONS[:3]),
        *(Case("fp16", 1, H, 128, T, False) for H in (512, 768, 1024, 256) for T in (25, 50)),
        *(Case(p, layers, 1024, 128, 25, False) for p in ("bf16", "tf32") for layers in (1, 2, 4)),
        *(Case("bf16", 4, 1000, 128, 25, ragged) for ragged in (False, True)),
        *(Case(p, layers, 512, N, 25, False) for p in ("bf16", "fp32") for N in (1, 8) for layers in (1, 2)),
    ]
    rest = [
        Case(p, layers, H, N, T, ragged)
        for layers in LAYERS for H in HIDDEN for ragged in (False, True) for p in PRECISIONS for N in BATCHES
        for T in STEPS
    ]  # fmt: skip
    first = [case for case in first if case not in FIRST]
    rest = [case for case in rest if case not in {*FIRST, *first}]
    order = np.random.default_rng(0).permutation(len(rest))
    blocks = [sorted(order[k : k + 120], key=lambda i: (rest[i].H, rest[i].layers)) for k in range(0, len(rest), 120)]
    return first + [rest[i] for block in blocks for i in block]


def small_grid() -> list[Case]:
    """For a test: one precision with packed sequences, and the others."""
    return [Case(p, 1 + (p == "fp32"), 64, 3, 3, p == "bf16") for p in PRECISIONS]


def measure(case: Case, networks: Networks) -> dict[str, Any]:
    """Errors of both; times of forward and of forward with backward, of those that compute what they should."""
    inputs = Inputs(case.T, case.N, case.H, case.ragged)
    right = networks.reference(inputs).results()
    found: dict[str, Any] = {"errors": {}, "left_out": {}}
    if case.precision == "fp16":
        found["ours in"] = str(half_type("fp16"))
    layers = {}
    for name, make in ((OURS, networks.ours), ("pytorch", networks.peer)):
        with spared(name, found["left_out"], strict=False):
            if (layer := make(case.precision, inputs)) is not None:
                errors = found["errors"][name] = worst(layer.results(), right)
                wrong = name == OURS and not accepted(errors, TOLERANCE[case.precision])
                assert not wrong, f"errors of {errors['outputs']:.2g} and {errors['gradients']:.2g}"
                layers[name] = layer
    device.synchronize()  # raises where nothing else would run either
    del right
    for key, backward in (("forward", False), ("forward+backward", True)):
        ways = in_both_ways(layers, inputs, backward, found["left_out"])
        found[key] = timing.race(ways, [timing.Call("step", (), 1)], 5)
    return found


def in_both_ways(
    layers: dict[str, Layer], inputs: Inputs, backward: bool, left_out: dict[str, str]
) -> dict[str, timing.Timed]:
    """Plainly, and in a graph where that can be captured; ``left_out`` is told why not."""
    made = {}
    for name, layer in layers.items():
        step = layer.step(backward)
        made[name] = timing.timed(name, step)
        with spared(f"{name}-graph", left_out, strict=False):
            made[f"{name}-graph"] = timing.timed(name, our_graph(inputs, step) if name == OURS else graphed(step))
        device.synchronize()  # raises where nothing else would run either
    return made


def our_graph(inputs: Inputs, function: Callable[[], Any]) -> Callable[[], Any]:
    """Replays what one call of ours does; CaptureError for what the host takes through time step by step."""
    lengths = [] if inputs.lengths is None else [inputs.lengths]
    graph = minigrad.cuda.CUDAGraph(lengths, beside=_shared_memory())
    with graph.warm_up():
        function()
    with graph.capture():
        function()
    return partial(graph.replay, lengths)


@functools.cache
def _shared_memory() -> Any:
    """A graph that is never captured: all others use its memory and its stream, one after the other."""
    return minigrad.cuda.CUDAGraph()


def graphed(function: Callable[[], Any]) -> Callable[[], Any]:
    """Replays what one call does on the device."""
    if device.SIMULATED:
        return function
    from gpu.peer_graphs import captured

    graph, _ = captured(function)
    return lambda: graph.replay()


def worst(found: dict[str, Any], right: dict[str, Any]) -> dict[str, float]:
    """The largest relative error among outputs and states, and among gradients; NaN stays."""
    errors: dict[str, list[float]] = {"outputs": [], "gradients": []}
    for name, want in right.items():
        apart = float((((found[name] - want) ** 2).sum() / (want**2).sum()) ** 0.5)
        errors["gradients" if name.startswith("d") else "outputs"].append(apart)
    return {kind: float(np.max(values)) for kind, values in errors.items()}


def accepted(errors: dict[str, float], tolerance: tuple[float, float]) -> bool:
    """False for NaN, too."""
    return errors["outputs"] <= tolerance[0] and errors["gradients"] <= tolerance[1]


class Profile(NamedTuple):
    """Whose kernels, and in which call."""

    who: str
    precision: str
    H: int
    N: int
    T: int
    ragged: bool


def profiles(sizes: Sequence[tuple[int, int, int]]) -> list[Profile]:
    """Of both, in every precision, per (H, N, T)."""
    ways = [*((precision, False) for precision in PRECISIONS), ("bf16", True)]
    return [
        Profile(who, precision, *size, ragged) for size in sizes for precision, ragged in ways
        for who in (OURS, "pytorch")
    ]  # fmt: skip


def algorithms(figures: part.Part, what: str, asked: Sequence[Profile]) -> None:
    """Which kernels ran, ours and PyTorch's: that shows what cuDNN and we have chosen."""
    found = figures.result.setdefault("kernels", [])
    for profile in figures.each(what, asked):
        networks, inputs = Networks(1, profile.H), Inputs(profile.T, profile.N, profile.H, profile.ragged)
        make = networks.ours if profile.who == OURS else networks.peer
        try:
            layer = make(profile.precision, inputs)
            found.append({**profile._asdict(), "kernels": timing.profile(layer.step(True)) if layer else []})
        except Exception as error:
            found.append({**profile._asdict(), "error": part.one_line(error)})
        figures.save()


def races(figures: part.Part, what: str, cases: Sequence[Case], keep: float) -> None:
    """A row for each case that there is time for."""
    networks: Networks | None = None
    for case in figures.each(what, cases, keep):
        if networks is None or (networks.layers, networks.H) != (case.layers, case.H):
            networks = Networks(case.layers, case.H)
            device.free_memory()
        row = figures.attempt(case._asdict(), partial(measure, case, networks))
        title = "{precision} {layers} layers H={H} N={N} T={T}".format(**row) + (" ragged" if row["ragged"] else "")
        for key in ("forward", "forward+backward"):
            figures.tell(f"{title}, {key}", row if "error" in row else {**row[key], "left_out": row["left_out"]}, "us")


def main(figures: part.Part) -> None:
    """The first cases with a profile of cuDNN, then the grid, as far as time allows."""
    if figures.small:
        races(figures, "cases", small_grid(), 0.0)
        algorithms(figures, "profiles", profiles([(64, 3, 3)]))
        return
    races(figures, "first cases", FIRST, 10.0)
    algorithms(figures, "first profiles", [Profile(who, "bf16", 512, 128, 50, False) for who in ("pytorch", OURS)])
    races(figures, "cases", grid(), 15.0)
    algorithms(figures, "profiles", profiles([(512, 128, 25), (1024, 128, 25), (512, 8, 25)]))


if __name__ == "__main__":
    sys.exit(part.run("lstm", __doc__, main))
