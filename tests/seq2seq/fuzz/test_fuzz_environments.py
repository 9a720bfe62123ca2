"""Random surroundings of a process: what a command needs it has, or it says in a line what it lacks."""

from __future__ import annotations

import random

import pytest
from environments import draw_place, run_there
from rounds import Round, draw
from sandbox import TINY, Sandbox
from verdict import faults_of_files, faults_of_text

SEEDS = 20
pytestmark = pytest.mark.timeout(400, method="thread")
GOOD = (
    ("train", ["--data", "digits.tsv", "--run-dir", "new", *TINY]), ("translate", ["run"]), ("evaluate", ["run"]),
    ("translate", ["run", "--input", "input.txt", "--output", "out.txt"]), ("evaluate", ["run", "--json", "out.json"]),
    ("train", ["--run-dir", "run", "--resume", "--epochs", "2", "--max-steps", "4"]), ("train", ["--help"]),
    ("gradcheck", ["--hidden-size", "2", "--embedding-size", "2", "--num-layers", "1"]),
)  # fmt: skip
WITHOUT_KERNELS = (
    ("train", ["--data", "missing.tsv"]), ("translate", ["missing"]), ("evaluate", ["run", "--split", "x"]),
    ("train", ["--help"]), ("gradcheck", ["--hidden-size", "0"]), ("translate", ["run", "--input", "missing"]),
)  # fmt: skip


def draw_round(sandbox: Sandbox, rng: random.Random, compiles: bool) -> Round:
    """Mostly a good command; a random one may hold nothing that a process cannot be given."""
    if not compiles:
        return Round(*rng.choice(WITHOUT_KERNELS))
    drawn = draw(sandbox, rng)
    words = "".join(drawn.arguments)
    if rng.random() < 0.7 or "\0" in words or "\ud800" in words or len(words) > 50_000:
        return Round(*rng.choice(GOOD), stdin=b"1 2 3\n4 5\n")
    return drawn


def test_wherever_it_runs_it_ends_in_peace(sandbox, fuzz_seed) -> None:
    rng = random.Random(f"place {fuzz_seed}")
    place = draw_place(rng)
    drawn = draw_round(sandbox, rng, place.compiles)
    before = sandbox.snapshot()
    outcome = run_there(place, sandbox, drawn.command, drawn.arguments, drawn.stdin)
    found = faults_of_text(drawn.command, outcome, place.heard)
    found += faults_of_files(drawn.command, drawn.arguments, outcome, sandbox, before)
    assert not found, f"seed {fuzz_seed}: {found}\n{place}\n{drawn}\nexit code {outcome.code}\n{outcome.err[:3000]}"
