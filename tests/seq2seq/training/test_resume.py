"""--resume goes on exactly: metrics and weights are those of a run that nothing interrupted, to the bit."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seq2seq.training.trainer as trainer_module
from seq2seq.run import checkpoint
from seq2seq.run.cli import command_line
from seq2seq.run.config_file import load as load_settings
from tests.seq2seq.checkpoints import assert_same_checkpoint, stored

STEPS_PER_EPOCH, EPOCHS = 9, 3


def assert_same_run(one: Path, two: Path, history: Callable[[Path], list]) -> None:
    assert history(one) == history(two)
    for name in ("last", "best"):
        assert_same_checkpoint(one, two, name)


@pytest.fixture
def whole(train) -> Path:
    """An uninterrupted run with dropout and mixed teacher forcing."""
    return train("whole", "--epochs", EPOCHS)


class Crash(BaseException):
    """What nothing catches."""


def crash() -> None:
    raise Crash


@pytest.mark.parametrize("stops", [(1,), (4, 5, 17), (9,), (18, 26)], ids=str)
def test_runs_stopped_by_max_steps(train, run, whole, history, stops) -> None:
    folder = train("parts", "--epochs", EPOCHS, "--max-steps", stops[0])
    for stop in (*stops[1:], 27):
        assert run("train", "--run-dir", folder, "--resume", "--max-steps", stop).code == 0
    # A run also validates where it is stopped; all else is the same.
    extra = [record for record in history(folder) if "val_loss" in record and record["step"] in stops]
    assert [r for r in history(folder) if r not in extra] == [r for r in history(whole) if r not in extra]
    assert_same_checkpoint(folder, whole, "last", "model", "optimizer")


TOGETHER = [
    "--accumulate", 3, "--batch-tokens", 60, "--tie-weights", "all", "--share-vocab", "--embedding-size", 12,
    "--ema-decay", 0.8, "--keep-best", 2, "--output-dropout", 0.2, "--src-word-dropout", 0.1, "--label-smoothing", 0.1,
    "--embedding-dropout", 0.1, "--exclude-from-weight-decay", "vectors",
]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_options_of_training_all_at_once(train, run, history, interrupt, optimizer) -> None:
    """Several batches an update, batches by tokens, shared weights and a mean of them: stopped within epochs, where a
    part of an epoch's batches is left, and crashed."""
    more = {"adamw": ["--lr-schedule", "cosine", "--warmup-steps", 3], "sgd": ["--momentum", 0.9]}[optimizer]
    options = [*TOGETHER, "--optimizer", optimizer, "--weight-decay", 0.01, *more, "--epochs", EPOCHS]
    whole = train("whole", *options)
    ends = [record["step"] for record in history(whole) if "val_loss" in record]
    assert ends[0] > 2, "an epoch has several updates"
    interrupt(lambda: signal.raise_signal(signal.SIGINT), 1, ends[0] + 1)
    folder = train("parts", *options, "--save-every", 1, code=130)
    assert run("train", "--run-dir", folder, "--resume").code == 130
    interrupt(crash, ends[2] - ends[0] - 3)
    with pytest.raises(Crash):
        run("train", "--run-dir", folder, "--resume")
    assert run("train", "--run-dir", folder, "--resume").code == 0
    assert history(folder) == history(whole)
    for name in ("last", "best", *(f"epoch-{epoch}" for epoch in checkpoint.epochs_kept(whole))):
        assert_same_checkpoint(folder, whole, name)
    assert checkpoint.epochs_kept(folder) == checkpoint.epochs_kept(whole)
    assert len(checkpoint.epochs_kept(whole)) == 2


def test_more_epochs(train, run, whole, history) -> None:
    folder = train("parts", "--epochs", 1)
    assert run("train", "--run-dir", folder, "--resume", "--epochs", EPOCHS).code == 0
    assert_same_run(folder, whole, history)


def test_interrupted_in_mid_epoch(train, run, whole, history, interrupt) -> None:
    interrupt(lambda: signal.raise_signal(signal.SIGINT), 0, 4, 11, 14, 20)
    folder = train("parts", "--epochs", EPOCHS, code=130)
    stops = [json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"]]
    while run("train", "--run-dir", folder, "--resume").code == 130:
        stops.append(history(folder)[-1]["step"])
    assert stops == [1, 5, 12, 15, 21]
    assert_same_run(folder, whole, history)


def test_interrupted_at_the_last_step_of_an_epoch(train, run, whole, history, interrupt) -> None:
    interrupt(lambda: signal.raise_signal(signal.SIGTERM), STEPS_PER_EPOCH - 1)
    folder = train("parts", "--epochs", EPOCHS, code=130)
    assert run("train", "--run-dir", folder, "--resume").code == 0
    assert_same_run(folder, whole, history)


def test_stopped_in_the_very_last_step(train, run, history, interrupt) -> None:
    """The validation after it is not lost, nor the weights that it finds to be the best."""
    options = "--max-steps", 5, "--lr-schedule", "cosine"
    whole = train("whole", *options)
    interrupt(lambda: signal.raise_signal(signal.SIGTERM), 4)
    folder = train("parts", *options, code=130)
    result = run("train", "--run-dir", folder, "--resume")
    assert result.code == 0
    assert "nothing is left to do" not in result.out
    assert_same_run(folder, whole, history)
    assert "nothing is left to do" in run("train", "--run-dir", folder, "--resume").out
    assert_same_run(folder, whole, history)


@pytest.mark.parametrize("save_every", [1, 4, 100])
@pytest.mark.parametrize("crash_at", [13, 26])
def test_crashed_between_two_saves(train, run, whole, history, interrupt, save_every, crash_at) -> None:
    interrupt(crash, crash_at)
    with pytest.raises(Crash):
        train("parts", "--epochs", EPOCHS, "--save-every", save_every)
    assert run("train", "--run-dir", whole.with_name("parts"), "--resume").code == 0
    assert_same_run(whole.with_name("parts"), whole, history)


@pytest.mark.parametrize("failing", ["best", "last"])
@pytest.mark.parametrize("save_every", [1, 3, 100])
def test_disk_full_while_an_epoch_is_saved(train, run, whole, history, monkeypatch, failing, save_every) -> None:
    save, validations = trainer_module.checkpoint.save, 0

    def full(path: Path, *arguments: Any) -> None:
        if path.stem == failing and validations == 2:
            raise OSError(28, "No space left on device", str(path))
        save(path, *arguments)

    def validated(*arguments: Any) -> dict[str, float]:
        nonlocal validations
        validations += 1
        return evaluate_split(*arguments)

    evaluate_split = trainer_module.evaluate_split
    monkeypatch.setattr(trainer_module.checkpoint, "save", full)
    monkeypatch.setattr(trainer_module, "evaluate_split", validated)
    folder = train("parts", "--epochs", EPOCHS, "--save-every", save_every, code=2)
    monkeypatch.undo()
    assert run("train", "--run-dir", folder, "--resume").code == 0
    assert_same_run(folder, whole, history)


def wait_for_steps(folder: Path, count: int, child: subprocess.Popen[str]) -> None:
    """Until the log has so many lines; fails if the process ends before."""
    for _ in range(3000):
        log = folder / "metrics.jsonl"
        if log.exists() and log.read_text().count("\n") >= count:
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    pytest.fail("the process makes no progress")


def go_on_and_compare(run, train, folder: Path, whole_name: str, history, *options: object) -> None:
    """Resume for some steps, and compare with a new run of as many."""
    stop = history(folder)[-1]["step"] + 12
    result = run("train", "--run-dir", folder, "--resume", "--max-steps", stop)
    assert result.code == 0, result.err
    assert_same_run(folder, train(whole_name, "--epochs", 900, "--max-steps", stop, *options), history)


def test_ctrl_c_says_how_to_resume(spawn, options, corpus, tmp_path, run, train, history) -> None:
    folder = tmp_path / "parts"
    child = spawn("train", *options(corpus, folder), "--epochs", 900)
    wait_for_steps(folder, 15, child)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "")
    step = stored(folder, "last")["progress"]["step"]
    assert out.endswith(
        f"interrupted after step {step}, saved; to go on:\n"
        f"  {command_line('seq2seq.train', '--run-dir', folder, '--resume')}\n"
    )
    go_on_and_compare(run, train, folder, "whole", history)


@pytest.mark.timeout(3600)  # for many MINIGRAD_ROUNDS
def test_killed_at_any_moment(spawn, options, corpus, tmp_path, run, train, history, rounds) -> None:
    rng = random.Random(1)
    for attempt in range(2 * rounds):
        folder = tmp_path / f"parts-{attempt}"
        child = spawn("train", *options(corpus, folder), "--epochs", 900, "--save-every", 2)
        wait_for_steps(folder, rng.randrange(8, 25), child)
        time.sleep(rng.uniform(0, 0.02))
        child.kill()
        child.communicate()
        go_on_and_compare(run, train, folder, f"whole-{attempt}", history, "--save-every", 2)


def test_resuming_a_finished_run_changes_nothing(train, run, history) -> None:
    folder = train("run", "--epochs", 1)
    before = history(folder), checkpoint.path_of(folder, "last").read_bytes()
    assert run("train", "--run-dir", folder, "--resume").code == 0
    assert (history(folder), checkpoint.path_of(folder, "last").read_bytes()) == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--init-range", 0.5, "resume: init_range is 0.5; the run was started with 0.08 and goes on only with that"),
        ("--hidden-size", 9, "resume: hidden_size is 9; the run was started with 12"),
        ("--seed", 3, "resume: seed is 3; the run was started with 1234"),
        ("--data", "numbers", "data is 'numbers'; the run was started with"),
    ],
)
def test_another_setting_is_refused(train, run, option, value, message) -> None:
    folder = train("run", "--epochs", 1)
    before = checkpoint.path_of(folder, "last").read_bytes()
    result = run("train", "--run-dir", folder, "--resume", option, value)
    assert result.code == 2
    assert result.err.startswith(f"error: {message}")
    assert result.err.count("\n") == 1
    assert checkpoint.path_of(folder, "last").read_bytes() == before


def test_changed_training_data_is_refused(train, run, corpus) -> None:
    folder = train("run", "--epochs", 1)
    corpus.write_text(corpus.read_text() + "1 2 3\t3 2 1\n")
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 2)
    assert result.code == 2
    assert result.err.startswith(f"error: {corpus}: changed since the training")


def test_a_run_is_not_overwritten(train, run, corpus, options) -> None:
    folder = train("run", "--epochs", 1)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = run("train", *options(corpus, folder), "--epochs", 1)
    assert result.code == 2
    assert (
        result.err
        == f"error: run_dir {folder} holds a run already; pass --resume to go on with it, or another --run-dir\n"
    )
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_that_died_in_its_first_epoch_can_be_resumed(train, run, whole, history, interrupt) -> None:
    interrupt(crash, 3)
    with pytest.raises(Crash):
        train("parts", "--epochs", EPOCHS)
    assert run("train", "--run-dir", whole.with_name("parts"), "--resume").code == 0
    assert_same_run(whole.with_name("parts"), whole, history)


def test_there_must_be_something_to_resume(train, run, tmp_path) -> None:
    result = run("train", "--run-dir", tmp_path / "none", "--resume")
    assert result.err.startswith(f"error: {tmp_path / 'none' / 'config.json'}: No such file or directory; expected")
    assert not (tmp_path / "none").exists()
    folder = train("run", "--epochs", 1)
    checkpoint.path_of(folder, "last").unlink()
    result = run("train", "--run-dir", folder, "--resume")
    assert result.err == f"error: {checkpoint.path_of(folder, 'last')}: missing; there is nothing to resume\n"
    assert run("train", "--resume").err.startswith("error: resume: --run-dir is missing")


def test_a_broken_last_line_of_the_log_is_dropped(train, run, whole, history) -> None:
    folder = train("parts", "--epochs", 2)
    with open(folder / "metrics.jsonl", "a") as log:
        log.write('{"step": 19, "epo')
    assert run("train", "--run-dir", folder, "--resume", "--epochs", EPOCHS).code == 0
    assert_same_run(folder, whole, history)


def test_a_later_end_is_remembered_and_an_earlier_one_is_not(train, run) -> None:
    folder = train("run", "--epochs", 1)
    written = (folder / "config.json").read_bytes()
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 3, "--max-steps", 12).code == 0
    assert (load_settings(folder).epochs, load_settings(folder).max_steps) == (3, None)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 1)
    assert "going on after step 12 of 12\nnothing is left to do; raise --epochs or --max-steps" in result.out
    assert "going on after step 12 of 27" in run("train", "--run-dir", folder, "--resume").out
    assert (folder / "config.json").read_bytes() == written


def test_an_end_by_steps_can_be_put_off_and_lifted(train, run) -> None:
    folder = train("run", "--epochs", EPOCHS, "--max-steps", 2)
    for given, kept in ((3, 3), (1, 3), (5, 5), ("null", None), (7, None)):
        assert run("train", "--run-dir", folder, "--resume", "--max-steps", given, "--threads", 1).code == 0
        assert load_settings(folder).max_steps == kept
    assert load_settings(folder).threads is None


def test_a_reader_that_goes_away_does_not_stop_a_training(spawn, options, corpus, tmp_path) -> None:
    reader, writer = os.pipe()
    child = spawn("train", *options(corpus, tmp_path / "run"), "--epochs", 2, stdout=writer)
    os.close(writer)
    os.close(reader)
    assert child.communicate(timeout=60)[1] == ""
    assert child.returncode == 0
    assert checkpoint.path_of(tmp_path / "run", "last").exists()


def test_a_bar_goes_on_when_the_reader_of_its_lines_has_gone(spawn, options, corpus, tmp_path) -> None:
    """Standard error is a terminal, standard output a pipe whose reader takes one line, as ``head -1`` does."""
    terminal, error_side = pty.openpty()
    child = spawn("train", *options(corpus, tmp_path / "run"), "--epochs", 2, stderr=error_side)
    os.close(error_side)
    assert any("training pairs" in line for line in iter(child.stdout.readline, ""))
    child.stdout.close()
    assert child.wait(timeout=60) == 0
    os.close(terminal)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 2 * STEPS_PER_EPOCH
