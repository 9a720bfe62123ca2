"""Training steps against PyTorch and JAX: equal first, then timed in turn; memory of each process with them.

    python benchmarks/training_step.py --data-dir DIR --json benchmarks/results/training_step.json
    python benchmarks/training_step.py --device cuda OUT [--seconds 110] [--data-dir DIR]

Three races, each over variants of every peer, in float32 and bfloat16: the tutorials' model on batches of Multi30k from
--data-dir (or random words with like lengths) with the right word always given; the same with the tutorials' loop,
which gives the right word to half of the steps; a small model. First all take three steps with dropout off from the
same weights, and losses and weights must agree. A peer's batches are compiled for beforehand, which is reported
as the time of the first calls; its memory includes that.

On a GPU the tutorials' model and the paper's at its own size race against PyTorch and cuDNN, in every precision, with
and without CUDA graphs. A step is what a user runs: ids from the host, forward, loss, backward, clipping, update;
nothing is read back. A result of ours that is wrong is not timed, and its row says so. Memory is what a library's pool
grew to.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from paper_scale import PAPER
from peers.problem import Task, Tokens, shapes
from racing import OURS, Call, leave_out, machine, parser, run, show, usable, write
from training import FORCED, LOOP, Case, forced, train, verify, with_bf16
from workloads import fixed, like_multi30k, multi30k


class Row(NamedTuple):
    """A race: its key in the file, model, batches, forcing, variants, steps at a time, rounds per --rounds."""

    name: str
    task: Task
    batches: Sequence[Tokens]
    forcing: float
    variants: list[str]
    steps: int = 1
    times: int = 1


def rows(options: Any) -> list[Row]:
    """The races of a full or of a quick run."""
    small = Task(vocab_sizes=(100, 100), embedding_size=64, hidden_size=128, num_layers=1, dropout=0.0)
    steps = Row("small model", small, fixed(2, 32, 15, small.vocab_sizes), 1.0, list(FORCED), 20, 3)
    if options.quick:
        tiny = Task(vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        batches = like_multi30k(1, 4, tiny.vocab_sizes)
        return [
            Row("forcing 1.0", tiny, batches, 1.0, with_bf16(FORCED)),
            Row("forcing 0.5", tiny, batches, 0.5, with_bf16(LOOP)),
        ]
    task = Task()
    if options.data_dir:
        batches, vocab_sizes = multi30k(options.data_dir, options.batches, options.batch_size)
        task = Task(vocab_sizes=vocab_sizes)
    else:
        batches = like_multi30k(options.batches, options.batch_size, task.vocab_sizes)
    return [
        Row("forcing 1.0", task, batches, 1.0, with_bf16(FORCED)),
        Row("forcing 0.5", task, batches, 0.5, with_bf16(LOOP)),
        steps,
    ]


def main() -> None:
    """Verify, race, print, write."""
    options_of = parser(__doc__, 12, "tiny models, for a test of this script")
    options_of.add_argument("--data-dir", help="folder with multi30k/; random words without it")
    options_of.add_argument("--batches", type=int, default=4, help="different batches (default: 4)")
    options_of.add_argument("--batch-size", type=int, default=128)
    options_of.add_argument("--races", type=lambda text: text.split(","), help="only these, for example 'small model'")
    options = options_of.parse_args()
    result: dict[str, Any] = {"data": "multi30k" if options.data_dir else "random", **machine(options)}
    result["races"] = {}
    races = [row for row in rows(options) if options.races is None or row.name in options.races]
    able = [usable(row.variants, options.variants) for row in races]
    cases = [Case(names, row.task, row.forcing) for row, (names, _) in zip(races, able, strict=True)]
    proofs = verify(cases, options.threads)
    for row, case, (_, missing), verified in zip(races, cases, able, proofs, strict=True):
        rounds, peaks = options.rounds * row.times, result["matmul_gflops"]
        found = train(verified.able(case), row.batches, options.threads, rounds, peaks, row.steps)
        leave_out(found, missing | verified.left_out)
        result["races"][row.name] = {**found, "verified_to": verified.to}
        show(row.name, found, "us per token")
        write(options.json, result)


# --- on a GPU ---------------------------------------------------------------------------------------------------------
# PyTorch's own losses in bfloat16 are up to 1e-4 from those in float32 here; wrong gradients move the later ones by per
# cents.
TOLERANCE = {"fp32": 1e-3, "tf32": 2e-3, "bf16": 5e-3}
UPDATE_BYTES = {"adam": 28, "sgd": 12}  # read and written per parameter
GRAPHS = ("minigrad-graph", "pytorch-graph")
WAYS = ("minigrad", "minigrad-graph", "pytorch", "pytorch-graph", "pytorch-packed", "pytorch-loop")


class Contest(NamedTuple):
    """A model on batches; precisions and shares of right words in the order of what teaches most."""

    name: str
    task: Task
    batches: Sequence[Tokens]
    precisions: Sequence[str]
    forcings: Sequence[float]
    verify_with: Task

    def variants(self, precision: str, forcing: float, ways: Sequence[str] = WAYS) -> list[str]:
        """Names of those that can take part; own words are the host's business, and so is our float32 in a graph."""
        from gpu.contestants import variants

        no_graph = GRAPHS if forcing != 1 else GRAPHS[:1] if precision == "fp32" else ()
        return variants([way for way in ways if way not in no_graph], precision)

    def step(self, forcing: float) -> Call:
        """All batches in a row; its unit is one of them."""
        given = [forced(batch, forcing, number) for number, batch in enumerate(self.batches)]
        return Call("train", (self.batches, given), len(self.batches))


def contests(small: bool, data_dir: str | None) -> list[Contest]:
    """Both models, or tiny ones of their kind."""
    if small:
        tutorials = Task(vocab_sizes=(60, 50), embedding_size=8, hidden_size=16)
        paper = dataclasses.replace(PAPER, vocab_sizes=(60, 50), embedding_size=12, hidden_size=64, num_layers=2)
        return [
            Contest("tutorials", tutorials, like_multi30k(1, 3, (60, 50)), ("bf16", "fp32"), (1.0, 0.5), tutorials),
            Contest("paper", paper, fixed(1, 3, 5, (60, 50)), ("tf32",), (1.0,), paper),
        ]
    task = Task()
    batches, sizes = (
        multi30k(data_dir, 4, 128) if data_dir else (like_multi30k(4, 128, task.vocab_sizes), task.vocab_sizes)
    )
    task, small_vocabulary = Task(vocab_sizes=sizes), dataclasses.replace(PAPER, vocab_sizes=(300, 200))
    precisions = ("bf16", "tf32", "fp32")
    return [
        Contest("tutorials", task, batches, precisions, (1.0, 0.5), task),
        Contest("paper", PAPER, fixed(1, 128, 30, PAPER.vocab_sizes), precisions, (1.0,), small_vocabulary),
    ]


def work(contest: Contest) -> dict[str, float]:
    """What a floor is made of, per step: arithmetic, serial layer-steps, bytes of the update without embeddings."""
    count, task = len(contest.batches), contest.task
    dense = sum(math.prod(shape) for name, shape in shapes(task).items() if "embedding" not in name)
    steps = sum(len(batch.src) + len(batch.trg_input) for batch in contest.batches) / count
    return {
        "tokens": sum(sum(batch.num_tokens) for batch in contest.batches) / count,
        "flops": sum(task.flops(*batch.num_tokens) for batch in contest.batches) / count,
        "layer_steps": task.num_layers * steps,
        "update_bytes": dense * UPDATE_BYTES[task.optimizer],
    }


def race_on_device(contest: Contest, precision: str, forcing: float) -> dict[str, Any]:
    """Proof and race of one row; times are of one step."""
    from gpu import contestants, timing

    arena, task = contestants.arena(), contest.verify_with
    init_range = min(0.3, 2 * task.hidden_size**-0.5)
    case = Case(contest.variants(precision, forcing), task, forcing, init_range, TOLERANCE)
    (verified,) = verify([case], 1, arena)
    with arena.open(list(verified.to), 1, contest.task) as able:
        found = timing.race(able, [contest.step(forcing)])
    leave_out(found, verified.left_out)
    return {**found, "verified_to": verified.to, **work(contest)}


def profile_on_device(contest: Contest, precision: str, way: str) -> dict[str, Any]:
    """The single kernels of all batches in a row."""
    from gpu import contestants, timing

    call = contest.step(1.0)
    with contestants.open_here(contest.variants(precision, 1.0, [way]), 1, contest.task) as able:
        calls = [partial(one.call, call.method, *call.arguments) for one in able.values()]
        return {"kernels": [kernel for each in calls for kernel in timing.profile(each, 40)]}


def on_device(figures: Any) -> None:
    """Races of both models; behind each its single kernels, since a profiler may slow what comes after it."""
    for contest in contests(figures.small, figures.data_dir):
        rows = [(precision, forcing) for forcing in contest.forcings for precision in contest.precisions]
        for precision, forcing in figures.each(f"races of the {contest.name} model", rows):
            row = {"model": contest.name, "forcing": forcing, "precision": precision}
            row = figures.attempt(row, partial(race_on_device, contest, precision, forcing))
            figures.tell(f"{contest.name}, {precision}, forcing {forcing}", row, "us per step")
        profiles = [
            (p, way) for p in contest.precisions for way in (OURS, "pytorch") if contest.variants(p, 1.0, [way])
        ]
        for precision, way in figures.each(f"profiles of the {contest.name} model", profiles):
            row = {"model": contest.name, "forcing": 1.0, "precision": precision, "who": way}
            figures.attempt(row, partial(profile_on_device, contest, precision, way))


if __name__ == "__main__":
    run(main, __doc__, on_device)
