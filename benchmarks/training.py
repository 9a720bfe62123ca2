"""Training races: the variants, the proof that they compute the same, the figures of a race."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from figures import Figures
from peers.problem import Array, Task, Tokens
from peers.worker import VARIANTS
from racing import (
    OURS,
    Arena,
    Call,
    arena,
    check_ours,
    leave_out,
    parser,
    quartiles,
    race,
    raise_peaks,
    show,
    spared,
    usable,
)  # fmt: skip
from workloads import coins, random_batch

FORCED = ("minigrad", "pytorch", "pytorch-packed", "pytorch-compiled", "jax")
LOOP = ("minigrad", "pytorch", "pytorch-loop", "pytorch-compiled", "jax")
ON_GPU = ("minigrad", "minigrad-graph", "pytorch", "pytorch-graph", "pytorch-packed", "pytorch-loop")

# Adam divides by the root of a gradient's square, so rounding in a gradient near zero moves a weight by up to lr:
# float32 weights agree to 1e-3 of their mean size, not to rounding. bfloat16 rounds to 2**-9 = 0.2 %. In the loop it
# decides near ties among the decoder's own words too: a sentence that goes on otherwise has a loss about a quarter
# apart, and 5 % are two or three of the twelve sentences. (The same loop is held to 1e-3 in float32.)
# On a GPU PyTorch's own losses in bfloat16 are up to 1e-4 from those in float32; wrong gradients move the later ones by
# per cents.
TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2}
ON_DEVICE = {"fp32": 1e-3, "tf32": 2e-3, "bf16": 5e-3}
LOOP_FACTOR = 5


def in_precision(names: Sequence[str], *precisions: str) -> list[str]:
    """Every variant in these precisions."""
    return [name if p == "fp32" else f"{name}-{p}" for p in precisions for name in names]


def on_gpu(precision: str, forcing: float) -> list[str]:
    """Variants on a GPU; own words are the host's business and take no graph, and neither does our float32."""
    graphless = ("minigrad-graph", "pytorch-graph") if forcing != 1 else ("minigrad-graph",) * (precision == "fp32")
    return in_precision([name for name in ON_GPU if name not in graphless], precision)


class Case(NamedTuple):
    """Variants, the model they train, how often the right word is given; first weights and tolerances of the proof."""

    names: Sequence[str]
    task: Task
    forcing: float
    init_range: float = 0.3
    tolerance: dict[str, float] = TOLERANCE


class Race(NamedTuple):
    """The case that is proven, the model and batches that are raced, steps in a row, rounds per --rounds."""

    case: Case
    task: Task
    batches: Sequence[Tokens]
    steps: int = 1
    times: int = 1


class Verified(NamedTuple):
    """The worst relative difference of each variant from ours in float32, and why others are left out."""

    to: dict[str, float]
    left_out: dict[str, str]


def verify(cases: Sequence[Case], threads: int, where: Arena) -> list[Verified]:
    """Compare what all variants compute, for each case; AssertionError if ours, or two frameworks, find otherwise.

    Three steps without dropout, on small batches and the model that is to be timed. Losses of all steps are compared,
    and in float32 all weights. The first weights are drawn from a wider range than in training: else many words would
    be nearly equally likely, and rounding would decide which is the decoder's own.
    """
    right: dict[tuple[int, bool], Any] = {}
    found = [Verified({}, {}) for _ in cases]
    for name in dict.fromkeys([where.reference, *(name for case in cases for name in case.names)]):
        with where.open([name], threads, None) as workers:
            for number, case in enumerate(cases):
                if name == where.reference:
                    right |= {(number, equal): _three_steps(workers[name], case, equal) for equal in (False, True)}
                if name in case.names:
                    with spared(name, found[number].left_out, where.strict):
                        mine = right[number, _pads(name)]
                        result = mine if name == where.reference else _three_steps(workers[name], case, _pads(name))
                        found[number].to[name] = _apart(name, result, mine, _tolerance(name, case))
    for case, verified in zip(cases, found, strict=True):
        if where.strict:
            check_ours(case.names, verified.left_out)
        print(f"verified: {', '.join(f'{name} to {value:.0e}' for name, value in verified.to.items())}", flush=True)
    return found


def _tolerance(name: str, case: Case) -> float:
    precision = VARIANTS[name].precision
    return case.tolerance[precision] * (LOOP_FACTOR if case.forcing != 1 and precision != "fp32" else 1)


def _pads(name: str) -> bool:
    """PyTorch without packing reads the padding: it is the same function only for sources of one length."""
    return VARIANTS[name].peer == "pytorch" and not VARIANTS[name].options.get("packed")


def _apart(
    name: str, found: tuple[Array, dict[str, Array]], right: tuple[Array, dict[str, Array]], tolerance: float
) -> float:
    """The worst relative difference; AssertionError where it is above ``tolerance``, or NaN."""
    differences = [float(np.abs(found[0] / right[0] - 1).max())]
    if VARIANTS[name].precision == "fp32":
        for key, value in right[1].items():
            differences.append(float(np.abs(found[1][key] - value).mean() / np.abs(value).mean()))
    worst = float(np.max(differences))  # unlike max(), keeps a NaN
    assert worst <= tolerance, f"{name} is {worst:.2g} from ours"
    return worst


def _three_steps(worker: Any, case: Case, equal: bool) -> tuple[Array, dict[str, Array]]:
    """Losses and the weights after them; ``equal``: sources of one length. All batches have one padded shape."""
    rng = np.random.default_rng(2)
    batches = [_small_batch(rng, case, equal) for _ in range(3)]
    worker.call("build", dataclasses.replace(case.task, dropout=0.0, init_range=case.init_range))
    losses = [worker.call("step", batch, forced(batch, case.forcing, i))[1] for i, batch in enumerate(batches)]
    return np.array(losses), worker.call("weights")[1]


def _small_batch(rng: np.random.Generator, case: Case, equal: bool) -> Tokens:
    src, trg = rng.integers(2, 9, 12), rng.integers(1, 8, 12)
    src[0], trg[0] = 8, 7
    return random_batch(rng, np.full_like(src, 8) if equal else src, trg, case.task.vocab_sizes)


def forced(batch: Tokens, forcing: float, seed: int) -> Array | None:
    return None if forcing == 1 else coins(len(batch.trg_input), seed)


def main(documentation: str | None, races: Callable[[Any], dict[str, Race]]) -> None:
    """A script's: verify, race, print, write. ``races`` makes them of the options."""
    options_of = parser(documentation, 12)
    options_of.add_argument("--data-dir", help="folder with multi30k/; random words without it")
    options_of.add_argument("--batches", type=int, default=4, help="different batches (default: 4)")
    options_of.add_argument("--batch-size", type=int, default=128)
    options_of.add_argument("--races", type=lambda text: text.split(","), help="only these, by their names in the file")
    options = options_of.parse_args()
    asked = {name: race for name, race in races(options).items() if options.races is None or name in options.races}
    data = "multi30k" if options.data_dir else "random"
    with Figures(options, "races", data=data, matmul_gflops={}) as figures:
        run_races(asked, options, figures)


def run_races(races: dict[str, Race], options: Any, figures: Any) -> None:
    """Verify, race, print, keep; on the processor all is proven first, since a process takes long to start."""
    where = arena(options)
    able = {name: usable(race.case.names, options.variants) for name, race in races.items()}
    races = {name: race for name, race in races.items() if able[name][0]}
    cases = {name: race.case._replace(names=able[name][0]) for name, race in races.items()}

    @functools.cache
    def proven(names: tuple[str, ...]) -> dict[str, Verified]:
        return dict(zip(names, verify([cases[name] for name in names], options.threads, where), strict=True))

    def measured(name: str) -> dict[str, Any]:
        proof = proven(tuple(cases) if where.strict else (name,))[name]
        race = races[name]
        case = cases[name]._replace(names=list(proof.to), task=race.task)
        rounds, peaks = options.rounds * race.times, figures.result["matmul_gflops"]
        found = train(case, race.batches, options, peaks, rounds, race.steps)
        leave_out(found, able[name][1] | proof.left_out)
        return {**found, "verified_to": proof.to}

    for name, found in figures.measure({name: functools.partial(measured, name) for name in races}):
        show(name, found, "us per token")


def train(
    case: Case, batches: Sequence[Tokens], options: Any, peaks: dict[str, float], rounds: int, steps: int = 1
) -> dict[str, Any]:
    """A race with the peak memory of each variant; so many steps in a row at a time, on a GPU as make a sample."""
    where = arena(options)
    with where.open(case.names, options.threads, case.task) as workers:
        found = measure(workers, case, batches, rounds, peaks, steps if where.strict else 0)
        left_out: dict[str, str] = {}
        for name, figures in found["variants"].items():
            with spared(name, left_out, where.strict):
                figures["peak_memory_mb"] = round(workers[name].call("peak_memory")[1])
    leave_out(found, left_out)
    return found


def measure(
    workers: dict[str, Any], case: Case, batches: Sequence[Tokens], rounds: int, peaks: dict[str, float], steps: int = 1
) -> dict[str, Any]:
    """A race over training steps: microseconds per real token, and the arithmetic of real tokens over time; ``peaks``
    are raised if our best kernel is found to be faster now."""
    given = [forced(batch, case.forcing, number) for number, batch in enumerate(batches)]
    tokens = [sum(batch.num_tokens) for batch in batches]
    calls = [Call("step", each, num, steps) for *each, num in zip(batches, given, tokens, strict=True)]
    if steps == 0:  # nothing waits for the device
        calls = [Call("train", (batches, given), sum(tokens), 0)]
    ours = [worker for name, worker in workers.items() if name.startswith(OURS)]
    for worker in ours[:1]:
        raise_peaks(worker, peaks, rounds)
    found = race(workers, calls, rounds, strict=steps > 0)
    for worker in ours[:1]:
        raise_peaks(worker, peaks, rounds)
    work = float(np.mean([case.task.flops(*batch.num_tokens) / sum(batch.num_tokens) for batch in batches]))
    for figures in found["variants"].values():
        figures["gflops"] = work / figures["us"]["median"] / 1e3
    return {"forcing": case.forcing, "tokens": quartiles(np.array(tokens)), **found}
