"""Whole training steps against PyTorch and cuDNN: the tutorials' model, and the paper's at its own size.

    python -m gpu.training_step OUT [--data-dir DIR]

Equal first: three steps without dropout from the same weights, whose losses, and in float32 all weights, must agree.
Then in turn: ours ("minigrad"), the same as one CUDA graph where the trainer makes one ("minigrad-graph"); PyTorch with
the whole target in one call ("pytorch"), the same as one CUDA graph ("pytorch-graph"), the first with packed sources,
which is the function that ours computes ("pytorch-packed"), and one call per step, as the tutorials write it
("pytorch-loop"). A step is what a user runs: ids from the host, forward, loss, backward, clipping, update; nothing is
read back. A way of PyTorch's that fails is left out, and the row says why.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from paper_scale import PAPER
from peers import minigrad as cpu
from peers.problem import Task, Tokens, shapes
from workloads import coins, fixed, like_multi30k, multi30k, random_batch

from gpu import device, part, timing
from gpu.ours import Ours
from gpu.timing import OURS, Call

# As in ../training.py for float32: Adam turns rounding near a zero gradient into up to lr. PyTorch's own losses in
# bfloat16 are up to 1e-4 from those in float32 here; wrong gradients move the later ones by per cents.
TOLERANCE = {"fp32": 1e-3, "tf32": 2e-3, "bf16": 5e-3}
UPDATE_BYTES = {"adam": 28, "sgd": 12}  # read and written per parameter
VARIANTS: dict[str, dict[str, bool]] = {
    "pytorch": {}, "pytorch-graph": {"graphed": True}, "pytorch-packed": {"packed": True},
    "pytorch-loop": {"packed": True, "step_by_step": True},
}  # fmt: skip


class Contest(NamedTuple):
    """A model on batches; ``precisions`` and shares of right words in the order of what teaches most."""

    name: str
    task: Task
    batches: Sequence[Tokens]
    precisions: Sequence[str]
    forcings: Sequence[float]
    verify_with: Task


def contests(figures: part.Part) -> list[Contest]:
    """Both models, or tiny ones of their kind."""
    if figures.small:
        tutorials = Task(vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        paper = dataclasses.replace(PAPER, vocab_sizes=(60, 50), embedding_size=12, hidden_size=64, num_layers=2)
        return [
            Contest("tutorials", tutorials, like_multi30k(1, 3, (60, 50)), ("bf16", "fp32"), (1.0, 0.5), tutorials),
            Contest("paper", paper, fixed(1, 3, 5, (60, 50)), ("tf32",), (1.0,), paper),
        ]
    tutorials = Task()
    if figures.data_dir:
        batches, vocab_sizes = multi30k(figures.data_dir, 4, 128)
        tutorials = Task(vocab_sizes=vocab_sizes)
    else:
        batches = like_multi30k(4, 128, tutorials.vocab_sizes)
    small_vocabulary = dataclasses.replace(PAPER, vocab_sizes=(300, 200))
    precisions = ("bf16", "tf32", "fp32")
    return [
        Contest("tutorials", tutorials, batches, precisions, (1.0, 0.5), tutorials),
        Contest("paper", PAPER, fixed(1, 128, 30, PAPER.vocab_sizes), precisions, (1.0,), small_vocabulary),
    ]


def verify(task: Task, precisions: Sequence[str], forcing: float) -> dict[str, dict[str, float]]:
    """The worst relative differences of losses, and of weights, from PyTorch in float32, or from ours on the CPU."""
    task = dataclasses.replace(task, dropout=0.0, init_range=min(0.3, 2 * task.hidden_size**-0.5))
    right: Any = peer_of(task)
    if right is None:
        right = cpu.Peer(task, "fp32", 1)
    else:
        right.use("fp32", packed=True)
    batches = three_batches(task)
    losses, weights = three_steps(right, batches, forcing)
    del right
    found = {}
    for precision, in_graphs in [(p, graphs) for p in precisions for graphs in ((), batches)]:
        if in_graphs and (forcing != 1 or precision == "fp32"):
            continue
        device.free_memory()
        ours = Ours(task)
        ours.use(precision, in_graphs)
        try:
            got, after = three_steps(ours, batches, forcing)
        except RuntimeError:
            if not in_graphs:
                raise
            continue  # these steps go without a graph
        apart = [float(np.abs(after[name] - w).mean() / np.abs(w).mean()) for name, w in weights.items()]
        name = f"{precision}-graph" if in_graphs else precision
        found[name] = {"losses": float(np.abs(got / losses - 1).max()), "weights": float(np.max(apart))}
    return found


def three_batches(task: Task) -> list[Tokens]:
    """Small ones."""
    rng = np.random.default_rng(2)
    return [random_batch(rng, rng.integers(2, 9, 12), rng.integers(1, 8, 12), task.vocab_sizes) for _ in range(3)]


def three_steps(trainer: Any, batches: Sequence[Tokens], forcing: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Losses, and the weights after them."""
    losses = [trainer.step(batch, given(batch, forcing, number)) for number, batch in enumerate(batches)]
    return np.array(losses), trainer.weights()


def given(batch: Tokens, forcing: float, seed: int) -> np.ndarray | None:
    return None if forcing == 1 else coins(len(batch.trg_input), seed)


def accepted(precision: str, forcing: float, apart: dict[str, float]) -> bool:
    """Whether a difference is rounding. False for NaN.

    Where the model's own words are given, rounding decides near ties among them, and sentences go on otherwise: in
    16 bits that may move the loss by some per cent.
    """
    tolerance = TOLERANCE[precision] * (1 if forcing == 1 or precision == "fp32" else 5)
    return apart["losses"] <= tolerance and (precision != "fp32" or apart["weights"] <= tolerance)


def peer_of(task: Task) -> Any:
    """PyTorch's contestant, or None."""
    if device.torch() is None:
        return None
    from gpu.peer import Peer

    return Peer(task)


def measure(contest: Contest, trainers: dict[str, Any], precision: str, forcing: float) -> dict[str, Any]:
    """A race over all batches in a row; times are of one step."""
    count, calls = len(contest.batches), contestants(contest, trainers, precision, forcing)
    for trainer in trainers.values():
        trainer.drop_graphs()
    memory, left_out = timing.each_peer(calls, peak_memory)
    found = {"memory_mb": memory, **timing.race({name: calls[name] for name in memory}, 7, 30.0)}
    found["left_out"] |= left_out
    for clock in ("us", "wall_us"):
        found[clock] = {
            name: {key: value / count for key, value in figures.items()} for name, figures in found[clock].items()
        }
    found["tokens"] = sum(sum(batch.num_tokens) for batch in contest.batches) / count
    return {**found, **work(contest)}


def contestants(contest: Contest, trainers: dict[str, Any], precision: str, forcing: float) -> dict[str, Call]:
    """Calls that train on all batches once: ours, and the variants of PyTorch's."""

    def all_batches(trainer: Any, **options: Any) -> None:
        trainer.use(precision, **options)
        for number, batch in enumerate(contest.batches):
            trainer.begin(batch, given(batch, forcing, number))

    calls = {}
    if OURS in trainers:
        calls[OURS] = Call(partial(all_batches, trainers[OURS]))
    if f"{OURS}-graph" in trainers:
        replay = partial(all_batches, trainers[f"{OURS}-graph"], in_graphs=contest.batches)
        calls[f"{OURS}-graph"] = Call(replay)
    if "pytorch" in trainers:
        for name, options in VARIANTS.items():
            if forcing != 1 and options.get("graphed"):
                continue  # own words are the host's business
            calls[name] = Call(partial(all_batches, trainers["pytorch"], **options), "peer")
    return calls


def work(contest: Contest) -> dict[str, float]:
    """What a floor is made of, per step: arithmetic, serial layer-steps, bytes of the update without embeddings."""
    count, task = len(contest.batches), contest.task
    dense = sum(math.prod(shape) for name, shape in shapes(task).items() if "embedding" not in name)
    steps = sum(len(batch.src) + len(batch.trg_input) for batch in contest.batches) / count
    return {
        "flops": sum(task.flops(*batch.num_tokens) for batch in contest.batches) / count,
        "layer_steps": task.num_layers * steps,
        "update_bytes": dense * UPDATE_BYTES[task.optimizer],
    }


def peak_memory(call: Call) -> float:
    """What the library's pool grows to, beginning with what has to stay."""
    device.free_memory()
    call.function()
    device.synchronize()
    return device.reserved_megabytes(call.clock)


def one_model(figures: part.Part, contest: Contest) -> None:
    """Proofs, then races; at last the single kernels, since a profiler may slow what comes after it."""
    proofs = {forcing: proof(figures, contest, forcing) for forcing in contest.forcings}
    device.free_memory()
    trainers = {} if (peer := peer_of(contest.task)) is None else {"pytorch": peer}
    if any(proofs.values()):
        trainers[OURS] = Ours(contest.task)
    pairs = [(precision, forcing) for forcing in contest.forcings for precision in contest.precisions]
    for precision, forcing in figures.each(f"races of the {contest.name} model", pairs):
        row = {"model": contest.name, "forcing": forcing, "precision": precision}
        able = dict(trainers)
        if precision not in proofs[forcing] or not accepted(precision, forcing, proofs[forcing][precision]):
            row["wrong"] = f"apart {proofs[forcing].get(precision)}"
            able.pop(OURS, None)
        in_graph = proofs[forcing].get(f"{precision}-graph")
        if OURS in able and in_graph is not None and accepted(precision, forcing, in_graph):
            able[f"{OURS}-graph"] = able[OURS]
        show(figures.attempt(row, partial(measure, contest, able, precision, forcing)))
    for precision in figures.each(f"profiles of the {contest.name} model", contest.precisions):
        calls = contestants(contest, trainers, precision, 1.0)
        for name in calls.keys() & {OURS, "pytorch"}:
            row = {"model": contest.name, "forcing": 1.0, "precision": precision, "who": name}
            figures.attempt(row, partial(profiled, calls[name].function))


def profiled(function: Callable[[], Any]) -> dict[str, Any]:
    """The single kernels of all batches in a row."""
    return {"kernels": timing.profile(function, 40)}


def proof(figures: part.Part, contest: Contest, forcing: float) -> dict[str, dict[str, float]]:
    """The differences per precision; none where ours fails."""
    row = figures.attempt(
        {"model": contest.name, "forcing": forcing, "what": "verified"},
        lambda: {"apart": verify(contest.verify_with, contest.precisions, forcing)},
    )
    print(f"{contest.name}, forcing {forcing}: {row.get('error') or row['apart']}", flush=True)
    return row.get("apart", {})


def main(figures: part.Part) -> None:
    """Both models."""
    if reason := device.why_no_torch():
        figures.note(f"nothing to compare with: {reason}")
    figures.result["data"] = "multi30k" if figures.data_dir else "random"
    for contest in contests(figures):
        if figures.seconds_left() < 0:
            figures.note(f"time was up: the {contest.name} model left out")
            continue
        one_model(figures, contest)
        device.free_memory()


def show(row: dict[str, Any]) -> None:
    """A line of the log."""
    title = f"{row['model']}, {row['precision']}, forcing {row['forcing']}"
    if "error" in row:
        print(f"{title}: {row['error']}", flush=True)
        return
    times = ", ".join(f"{name} {us['median'] / 1e3:.3f}" for name, us in row["us"].items())
    walls = ", ".join(f"{us['median'] / 1e3:.3f}" for us in row["wall_us"].values())
    print(f"{title}: {row.get('wrong', '')} {times} ms (wall {walls}); MB {row['memory_mb']}", flush=True)
    for name, reason in row["left_out"].items():
        print(f"{title}: {name} left out: {reason}", flush=True)


if __name__ == "__main__":
    sys.exit(part.run("training_step", __doc__, main))
