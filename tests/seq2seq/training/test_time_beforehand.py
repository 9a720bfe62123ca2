"""The time of a run is told before it starts, a budget is planned for and kept, and a dry run writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seq2seq import train as train_command
from seq2seq.run import entry, manifest
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Dataset
from seq2seq.training import budget, kept_runs, timing
from seq2seq.training.budget import Clock, seconds_of
from seq2seq.training.timing import Pace, duration
from tests.seq2seq.checkpoints import assert_same_checkpoint
from tests.seq2seq.conftest import snapshot

STEPS = 9  # of an epoch


@pytest.fixture
def now(monkeypatch):
    """now[0] is what the clock of a budget says."""
    now = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("text", "seconds"), [("20m", 1200), ("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("1h0m10s", 3610)]
)
def test_times_are_read(text, seconds) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["20", "m", "-5m", "1m1h", "20 m", "0m", "1e3s", "nan", "5d"])
def test_what_is_no_time(text) -> None:
    with pytest.raises(UserError, match=r"^budget is .*; expected a time of 1 s or more, such as 20m, 1h30m or 90s$"):
        seconds_of(text)


def test_durations_for_people() -> None:
    assert [duration(s) for s in (0.04, 59.94, 60, 1230, 7507)] == [
        "0.0 s", "59.9 s", "1:00 minutes", "20:30 minutes", "2:05:07 hours",
    ]  # fmt: skip


def test_the_seconds_of_a_run() -> None:
    pace = Pace(steps=10, update=0.5, validation=2.0)
    assert (pace.epoch, pace.seconds(30), pace.seconds(31)) == (7.0, 21.0, 23.5)
    line = pace.told(100, 0.0, True)
    assert line.startswith(
        "time: about 7.0 s an epoch (5.0 s of training, 2.0 s of validation), 1:10 minutes in all at most"
    )


def test_an_epoch_takes_as_long_as_its_tokens_say() -> None:
    """Of updates whose seconds are those of their tokens, exactly; the first one is not counted."""
    tokens, calls = [100, 900, 300, 500, 700], []

    def update(group) -> float:
        calls.append(tokens[group])
        return tokens[group] * 0.01 if len(calls) > 1 else 1e6

    seconds = timing._of_tokens(update, range(5), tokens, 3)  # type: ignore[arg-type]
    assert seconds == pytest.approx(0.01)
    assert calls == [100, 100, 500, 900]


@pytest.mark.parametrize(("each", "count"), [(0.01, 18), (0.5, 6), (2.0, 3), (8.0, 3), (15.0, 2), (30.0, 1)])
def test_updates_are_measured_while_that_costs_little(each: float, count: int) -> None:
    """Whole rounds, of at most 20 updates here, or until they have taken 3 s; a round of large ones ends after 20 s."""
    calls = []

    def update(group) -> float:
        calls.append(group)
        return each

    assert timing._of_tokens(update, range(5), [1] * 5, 20) == pytest.approx(each)  # type: ignore[arg-type]
    assert len(calls) == 1 + count


@pytest.mark.parametrize(("steps", "count"), [(30, 3), (119, 3), (120, 6), (800, 39), (10**6, 60)])
def test_a_long_run_is_measured_for_longer(monkeypatch: pytest.MonkeyPatch, train, steps: int, count: int) -> None:
    """A twentieth of its updates, in whole rounds."""
    tried = []
    monkeypatch.setattr(timing.Updates, "apply", lambda *_: tried.append(1))
    monkeypatch.setattr(train_command, "total_steps", lambda *_: steps)
    train("run", "--epochs", 1, "--dry-run")
    assert len(tried) == 1 + count


def test_as_much_is_planned_as_fits(now) -> None:
    clock, pace = Clock("100s"), Pace(steps=10, update=1.0, validation=2.0)
    planned = clock.planned(Config(epochs=3, max_steps=5, budget="100s"), pace)  # 95.5 s: 7 * 12 + 9 + 2
    assert (planned.epochs, planned.max_steps, planned.budget) == (8, 79, None)
    now[0] = 2.0  # 93.6 s, and 7 updates are left
    assert clock.planned(Config(), pace).max_steps == 77
    now[0] = 10.0  # 85.8 s: not enough for a tenth of an epoch
    assert (clock.planned(Config(), pace).epochs, clock.planned(Config(), pace).max_steps) == (7, None)
    now[0] = 97.0
    with pytest.raises(
        UserError, match=r"^budget is '100s'; 3.0 s are left, and one update with its validation takes 5.0 s"
    ):
        clock.planned(Config(), pace)
    now[0] = 150.0  # compiling took longer than the budget
    with pytest.raises(UserError, match=r"^budget is '100s'; 0\.\d+ s are left"):
        clock.planned(Config(), pace)


def test_the_clock_keeps_time_for_a_last_validation(now) -> None:
    clock = Clock("100s")
    clock.limit(Pace(steps=10, update=1.0, validation=4.0))
    now[0] = 92.4
    assert not clock.is_up()
    clock.validated(8.0)  # slower than it seemed
    assert clock.is_up()
    now[0] = 0.0
    assert clock.is_up(), "once up it stays so"
    assert not Clock(None).is_up()


def test_the_time_of_a_command_begins_before_anything_is_loaded(now, monkeypatch) -> None:
    monkeypatch.setattr(entry, "_began", [])
    now[0] = 30.0
    assert Clock("100s", 10.0).left == 80.0
    assert entry.began() == 30.0
    monkeypatch.setattr(entry, "_began", [20.0])
    assert [entry.began(), entry.began()] == [20.0, 30.0], "for one command"


def test_what_is_measured_leaves_no_trace(train, run, history, monkeypatch) -> None:
    measured = train("measured", "--epochs", 4)
    monkeypatch.setattr(timing, "FEWEST_STEPS", 1000)
    plain = train("plain", "--epochs", 4)
    assert history(measured) == history(plain)
    for name in ("last", "best"):
        assert_same_checkpoint(measured, plain, name)


def test_a_dry_run_writes_nothing(run, options, corpus, train, tmp_path) -> None:
    folder = train("run", "--epochs", 1)
    before = snapshot(tmp_path)
    result = run("train", *options(corpus, tmp_path / "new" / "run"), "--epochs", 7, "--dry-run")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[-3].endswith("parameters; nothing is written")
    assert lines[-2].startswith("memory: ")
    assert lines[-1].startswith("time: about ")
    result = run("train", "--run-dir", folder, "--resume", "--dry-run", "--lr", 0.5)
    assert (result.code, result.err) == (0, "")
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "new").exists()
    assert run("train", *options(corpus, folder), "--dry-run").err.startswith(
        f"error: run_dir {folder} holds a run already"
    )
    words = ["train", "--run-dir", folder, "--resume", "--accept-changes", "--dry-run"]
    assert run(*words).err.startswith("error: accept_changes: writes the manifest, and dry_run writes nothing")


def test_a_budget_is_planned_and_can_be_repeated_without_a_clock(train, run, history, monkeypatch) -> None:
    monkeypatch.setattr(timing, "measured", lambda *_: Pace(STEPS, 10.0, 5.0))
    monkeypatch.setattr(train_command, "expectations", lambda dataset, config, seconds: [f"expect {seconds:.0f}"])
    folder = train("run", "--budget", "5m", "--lr-schedule", "cosine", "--epochs", 3)
    config = json.loads((folder / "config.json").read_text())  # 289.5 s: 3 * 95 s
    steps = config["max_steps"]  # as many as the time that reading the data took leaves room for
    assert (config["epochs"], config["lr_steps"], config["budget"]) == (3, steps or 3 * STEPS, None)
    assert steps is None or 2 * STEPS < steps <= 2 * STEPS + 8
    given = [
        word for name in ("epochs", "max_steps") for word in (f"--{name.replace('_', '-')}", config[name] or "null")
    ]
    again = train("again", "--lr-schedule", "cosine", *given)
    assert history(again) == history(folder)
    assert_same_checkpoint(again, folder, "last", "model", "optimizer")


def test_a_budget_ends_a_run_whose_plan_was_too_bold(train, run, history, monkeypatch) -> None:
    monkeypatch.setattr(timing, "measured", lambda *_: Pace(STEPS, 0.001, 0.001))
    updated, count = Clock.updated, 0

    def slow(clock: Clock, seconds: float) -> None:
        nonlocal count
        count += 1
        updated(clock, 1e9 if count > 13 else seconds)

    monkeypatch.setattr(Clock, "updated", slow)
    folder = train("run", "--budget", "5m")
    assert history(folder)[-1]["step"] == 13  # the plan made one call
    assert "val_loss" in history(folder)[-1]
    assert manifest.read(folder)["continued"] == {"max_steps": 13}
    monkeypatch.undo()
    assert "nothing is left to do" in run("train", "--run-dir", folder, "--resume").out


def test_a_budget_of_a_resumed_run_limits_what_is_done_now(train, run, history, monkeypatch) -> None:
    monkeypatch.setattr(timing, "measured", lambda *_: Pace(STEPS, 0.001, 0.001))
    folder, updated, whole = train("run", "--epochs", 3, "--max-steps", 7), Clock.updated, train("whole", "--epochs", 3)
    resume = ("train", "--run-dir", folder, "--resume", "--max-steps", "null")
    monkeypatch.setattr(Clock, "updated", lambda clock, seconds: updated(clock, 1e9 if seconds != 0.001 else seconds))
    told = run(*resume, "--budget", "5m").out
    assert "stops after step 8 of 27: the time is up; to go on:" in told
    monkeypatch.setattr(Clock, "limit", lambda clock, pace: updated(clock, 1e9))
    told = run(*resume, "--budget", "5m").out
    assert "nothing is left" not in told
    assert "stops after step 8 of 27: the time is up; to go on:" in told
    monkeypatch.undo()
    assert manifest.read(folder).get("continued", {}).get("max_steps") is None
    assert run(*resume).code == 0
    assert_same_checkpoint(folder, whole, "last", "model", "optimizer")


def test_a_run_that_has_done_nothing_can_go_on(train, run, history, monkeypatch) -> None:
    monkeypatch.setattr(timing, "measured", lambda *_: Pace(STEPS, 0.001, 0.001))
    monkeypatch.setattr(Clock, "planned", lambda clock, config, pace: clock.updated(1e9) or config)
    folder = train("run", "--budget", "5m")
    monkeypatch.undo()
    assert "continued" not in manifest.read(folder)
    assert run("train", "--run-dir", folder, "--resume", "--max-steps", 2).code == 0
    assert history(folder)[-1]["step"] == 2


def test_a_budget_that_is_none(refused, options, corpus, tmp_path) -> None:
    refused("budget is 'soon'; expected a time", "train", *options(corpus, tmp_path / "run"), "--budget", "soon")


def test_what_kept_runs_had_reached(monkeypatch, tmp_path) -> None:
    curve = [[60, 10.0], [120, 30.0], [180, 20.0]]
    runs = [
        {"name": "other", "data_sha256": ["b"], "encoder": "gru", "decoder": "lstm", "processor": "p", "curve": curve},
        {"name": "far", "data_sha256": ["a"], "encoder": "gru", "decoder": "gru", "processor": "p", "curve": curve},
        {"name": "near", "data_sha256": ["a"], "encoder": "lstm", "decoder": "lstm", "processor": "p", "curve": curve},
    ]
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(runs))
    monkeypatch.setattr(kept_runs, "FILE", path)
    dataset = Dataset("name", "de", "en", {}, checksums={"file": "a"})
    assert kept_runs.expectations(dataset, Config(), 200.0) == [
        "expect about: near (the same encoder and decoder) had 30.0 BLEU on valid after 3:20 minutes (p)",
        "expect about: far (gru and gru) had 30.0 BLEU on valid after 3:20 minutes (p)",
    ]
    assert "no validation yet" in kept_runs.expectations(dataset, Config(), 59.0)[0]


def test_the_runs_that_come_along() -> None:
    kept = json.loads(Path(kept_runs.FILE).read_text(encoding="utf-8"))
    assert {"multi30k", "scan"} <= {run["name"] for run in kept}
    assert all(np.all(np.diff([at for at, _ in run["curve"]]) > 0) for run in kept)
