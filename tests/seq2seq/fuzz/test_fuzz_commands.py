"""Random command lines, settings, texts and damaged runs: every one ends as the contract says."""

from __future__ import annotations

import random

import pytest
from bounded import run_here
from rounds import draw
from verdict import faults_of_files, faults_of_text

SEEDS = 160  # of a round each; some 20 seconds
pytestmark = pytest.mark.timeout(300, method="thread")  # the alarm is the rounds' own


def test_whatever_is_asked_ends_in_peace(sandbox, fuzz_seed) -> None:
    drawn = draw(sandbox, random.Random(fuzz_seed))
    before = sandbox.snapshot()
    outcome = run_here(drawn.command, drawn.arguments, drawn.stdin)
    found = faults_of_text(drawn.command, outcome)
    found += faults_of_files(drawn.command, drawn.arguments, outcome, sandbox, before)
    assert not found, f"seed {fuzz_seed}: {found}\n{drawn}\nexit code {outcome.code}\n{outcome.err[:3000]}"
