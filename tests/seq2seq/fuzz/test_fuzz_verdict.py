"""The checkers of the random tests can find what they look for, and a round can be had again."""

from __future__ import annotations

import random

import pytest
from bounded import run_here
from rounds import draw
from verdict import Outcome, faults_of_files, faults_of_text

GOOD = [Outcome(0, ""), Outcome(130, "interrupted\n"), Outcome(2, "error: beam_size is 0; expected 1 to 1000\n")]
BAD = [
    Outcome(1, ""), Outcome(-11, ""), Outcome(None, ""), Outcome(0, "", hung=True), Outcome(2, ""),
    Outcome(2, "beam_size is 0\n"), Outcome(2, "error: a\nb\n"), Outcome(2, "error: a"), Outcome(2, "error: a\x85b\n"),
    Outcome(2, "error: 'NoneType' object has no attribute 'x'\n"), Outcome(2, "error: <x object at 0x7f>\n"),
    Outcome(0, "Traceback (most recent call last):\n"), Outcome(0, "x.py:3: RuntimeWarning: overflow\n"),
]  # fmt: skip
RUN = ["--run-dir", "run", "--resume"]


@pytest.mark.parametrize("outcome", GOOD)
def test_good_outcomes_have_no_fault(outcome) -> None:
    assert faults_of_text("train", outcome) == []


@pytest.mark.parametrize("outcome", BAD)
def test_bad_outcomes_have_some(outcome) -> None:
    assert faults_of_text("train", outcome) != []


def test_only_a_gradient_check_may_end_with_1() -> None:
    assert faults_of_text("gradcheck", Outcome(1, "")) == []


@pytest.mark.parametrize(
    ("command", "arguments", "code", "path", "allowed"),
    [
        ("train", ["--run-dir", "new/run"], 0, "new/run/config.json", True),
        ("train", ["--run-dir=new/run"], 0, "new/other", False),
        ("train", ["--run-dir", "new/run"], 2, "new/run/config.json", False),
        ("train", RUN, 2, "run/checkpoints/last.safetensors", True),
        ("train", RUN, 0, "other/config.json", False),
        ("translate", ["run", "--output", "out.txt"], 0, "out.txt", True),
        ("translate", ["run", "--output", "out.txt"], 0, ".out.txt.tmp", False),
        ("translate", ["run"], 0, "run/manifest.json", False),
        ("translate", ["run", "--accept-changes"], 0, "run/manifest.json", True),
        ("evaluate", ["run", "--json", "f.json"], 0, "../outside/kept.txt", False),
        ("gradcheck", ["--run-dir", "new"], 0, "new", False),
    ],
)
def test_changes_are_seen_and_judged(sandbox, command, arguments, code, path, allowed) -> None:
    before = sandbox.snapshot()
    changed = sandbox.work / path
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_text("changed")
    assert (faults_of_files(command, arguments, Outcome(code, ""), sandbox, before) == []) == allowed


def test_modes_and_links_are_seen(sandbox) -> None:
    before = sandbox.snapshot()
    (sandbox.work / "digits.tsv").chmod(0o600)
    (sandbox.work / "dangling").unlink()
    (sandbox.work / "dangling").symlink_to("elsewhere")
    found = faults_of_files("evaluate", ["run"], Outcome(0, ""), sandbox, before)
    assert found == ["changed 'work/dangling'", "changed 'work/digits.tsv'"]


def test_what_waits_for_ever_is_stopped(sandbox, monkeypatch) -> None:
    import seq2seq.translate

    monkeypatch.setattr(seq2seq.translate, "main", lambda arguments: (sandbox.work / "fifo").read_bytes())
    outcome = run_here("translate", [], limit=0.2)
    assert outcome.hung
    assert outcome.code is None


def test_a_round_is_a_function_of_its_seed(sandbox) -> None:
    for seed in range(30):
        drawn = []
        for _ in range(2):
            sandbox.reset()
            drawn.append((draw(sandbox, random.Random(seed)), sandbox.snapshot()))
        assert drawn[0] == drawn[1]
