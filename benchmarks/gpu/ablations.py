"""Where the time of a persistent kernel goes: the same call with one stage taken out of its source at a time.

    python -m gpu.ablations OUT

A kernel without its waits, its products or its copies computes nonsense, and takes less time: the difference is what
that stage costs where nothing hides it. Times per step are the difference of two lengths, so that what a call costs
once does not count. Beside them the other ways to run a layer: a product per step, with and without a graph.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gpu import part, sources, timing
from gpu.layers import Inputs, Networks
from kernels.cuda.runtime.switches import switched, switches


def without(name: str) -> tuple[str, str]:
    """The edit that takes away every call of a function."""
    return rf"\b{name}\([^;{{}}]*\);", ";"


STAGES: dict[str, Sequence[tuple[str, str]]] = {
    "as it is": (),
    "no waits": (without("spin_acquire"), (r"poll16\(([^;]*), error\)", r"load16(\1)")),
    "no products": (without("mma"),),
    "no tiles": (without("copy16"),),
    "no publishing": (without("spin_acquire"), without("red_release")),
    "gates and c not kept": (without("keep"),),
}


class Case(NamedTuple):
    """One call: layers are 1, all sequences equally long."""

    precision: str
    H: int
    N: int
    backward: bool

    @property
    def title(self) -> str:
        return f"{self.precision} H={self.H} N={self.N} {'forward+backward' if self.backward else 'forward'}"


CASES = [
    *(Case("bf16", H, N, backward) for H, N in ((512, 128), (1024, 128), (512, 8)) for backward in (False, True)),
    Case("fp32", 512, 128, True), Case("tf32", 512, 128, True),
]  # fmt: skip


@contextmanager
def stage(edits: Sequence[tuple[str, str]], H: int) -> Iterator[None]:
    """Kernels come from changed sources."""
    with TemporaryDirectory() as name, switched(sources=sources.changed(Path(name), edits, H)):
        yield


def calls_of(case: Case, steps: Sequence[int]) -> list[Callable[[], Any]]:
    """The case at several lengths."""
    networks = Networks(1, case.H)
    return [networks.ours(case.precision, Inputs(T, case.N, case.H, False)).step(case.backward) for T in steps]


def measure(case: Case, steps: tuple[int, int], within: Callable[[], Any]) -> dict[str, Any]:
    """Microseconds of the longer call, and per step by difference."""
    with within():
        short, long = (timing.median(call, rounds=5)["us"] for call in calls_of(case, steps))
    return {"us": long, "us_per_step": (long["median"] - short["median"]) / (steps[1] - steps[0])}


def profiled(case: Case, steps: tuple[int, int], within: Callable[[], Any]) -> dict[str, Any]:
    """The kernels of the longer call."""
    with within():
        return {"steps": steps[1], "kernels": timing.profile(calls_of(case, steps)[1])}


def main(figures: part.Part) -> None:
    """All variants of a call, call by call; at last the single kernels, since a profiler may slow what follows."""
    cases = [Case("bf16", 64, 3, True)] if figures.small else CASES
    stages = {"no products": STAGES["no products"]} if figures.small else STAGES
    steps = (2, 4) if figures.small else (64, 320)
    pairs: list[tuple[Case, str, Callable[[], Any]]] = []
    for case in cases:
        pairs += [(case, name, within) for name, within in ways()]
        if case.precision == "bf16":
            pairs += [(case, name, partial(stage, edits, case.H)) for name, edits in stages.items()]
    for case, name, within in figures.each("variants", pairs, 0.0 if figures.small else 10.0):
        row = figures.attempt({"what": case.title, "variant": name}, partial(measure, case, steps, within))
        time = row.get("error") or f"{row['us_per_step']:8.3f} us per step, {row['us']['median']:8.1f} in all"
        print(f"{case.title:36} {name:22} {time}", flush=True)
    if not switches.step_graphs:
        figures.note("no CUDA graph could be made")
    for case, name, within in figures.each("profiles", pairs):
        figures.attempt({"what": case.title, "variant": name}, partial(profiled, case, steps, within))


def ways() -> list[tuple[str, Callable[[], Any]]]:
    """The ways in which a layer can be run, what it chooses by itself first."""
    return [
        ("chosen by itself", nullcontext),
        ("marked, no flags", partial(switched, marked=True)),
        ("a product per step, in a graph", partial(switched, persistent=False)),
        ("a product per step, no graph", partial(switched, persistent=False, step_graphs=False)),
    ]


if __name__ == "__main__":
    sys.exit(part.run("ablations", __doc__, main))
