"""A run goes on with other data of a split: what that makes void, and what it does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq.run import manifest
from seq2seq.training import memory
from tests.seq2seq.checkpoints import stored
from tests.seq2seq.conftest import Result

Train, Run = Callable[..., Path], Callable[..., Result]


@pytest.fixture
def files(tmp_path: Path, reversed_digits: Callable[..., list[tuple[str, str]]]) -> Callable[..., Path]:
    """files("valid", seed): a table of 20 reversals."""

    def files(name: str, seed: int) -> Path:
        path = tmp_path / f"{name}.tsv"
        path.write_text("".join(f"{src}\t{trg}\n" for src, trg in reversed_digits(20, seed=seed)))
        return path

    return files


@pytest.fixture
def run_of_files(train: Train, files: Callable[..., Path]) -> Callable[..., Path]:
    """A run whose validation and test have files of their own."""

    def run_of_files(*arguments: object) -> Path:
        return train("run", "--valid", files("valid", 5), "--test", files("test", 6), *arguments)

    return run_of_files


def progress_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = stored(folder, "last")["progress"]
    return found


def test_another_test_set_changes_nothing(run_of_files, run: Run, files, history) -> None:
    folder = run_of_files("--max-steps", 12)
    before = progress_of(folder)
    files("test", 8)
    result = run("train", "--run-dir", folder, "--resume", "--max-steps", 13, "--accept-changes")
    assert result.code == 0, result.err
    assert "begins anew" not in result.out
    assert manifest.read(folder)["changes"][0]["splits"] == ["test"]
    after = progress_of(folder)
    assert after["figures"] == before["figures"]
    assert [record["epoch"] for record in history(folder) if "loss" in record] == [0] * 9 + [1] * 4


def test_other_validation_data_make_the_figures_void_and_no_epoch(run_of_files, run: Run, files, history) -> None:
    folder = run_of_files("--max-steps", 13)
    files("valid", 8)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--max-steps", "null", "--accept-changes")
    assert result.code == 0, result.err
    assert "begins anew" not in result.out
    after = progress_of(folder)
    assert after["figures"] == [after["best"]]
    assert len([record for record in history(folder) if record["epoch"] == 1 and "loss" in record]) == 9


def test_more_training_data_leave_the_best_figure(train: Train, run: Run, files, history) -> None:
    folder = train("run", "--epochs", 2, "--add-data", files("more", 5))
    before = progress_of(folder)["best"]
    files("more", 8)
    words = "train", "--run-dir", folder, "--resume", "--epochs", 3, "--lr", 1e-8, "--accept-changes"
    assert run(*words).code == 0
    after = progress_of(folder)
    assert len(after["figures"]) == 3
    assert after["best"] == min(before, after["figures"][2])


def test_a_rate_that_has_fallen_stays_so(run_of_files, run: Run, files, history) -> None:
    """At plateaus of the former validation data."""
    plateau = "--lr-schedule", "plateau", "--lr-patience", 0, "--best-metric", "bleu", "--lr", 1e-6
    folder = run_of_files("--epochs", 4, *plateau)
    fallen = [record["lr"] for record in history(folder) if "lr" in record][-1]
    assert fallen < 1e-6
    falls = round(math.log2(1e-6 / fallen))
    files("valid", 8)
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 5, "--accept-changes").code == 0
    last = [record["lr"] for record in history(folder) if "lr" in record][-1]
    assert round(math.log2(1e-6 / last)) in (falls, falls + 1)
    assert progress_of(folder)["falls"] in (falls, falls + 1)


def test_the_best_epochs_of_former_validation_data_stay_where_there_is_room(run_of_files, run: Run, files) -> None:
    folder = run_of_files("--epochs", 2, "--keep-best", 3)
    files("valid", 8)
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 3, "--accept-changes").code == 0
    kept = sorted(path.stem for path in (folder / "checkpoints").glob("epoch-*"))
    assert kept == ["epoch-1", "epoch-2", "epoch-3"]
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 4).code == 0
    kept = sorted(path.stem for path in (folder / "checkpoints").glob("epoch-*"))
    assert kept == ["epoch-2", "epoch-3", "epoch-4"]


def test_a_start_that_fails_accepts_nothing(run_of_files, run: Run, files, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_of_files("--epochs", 1)
    before = (folder / "manifest.json").read_bytes()
    files("valid", 8)

    def full(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(memory, "require_fit", full)
        with pytest.raises(ZeroDivisionError):
            run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--accept-changes")
    assert (folder / "manifest.json").read_bytes() == before
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--accept-changes").code == 0
    assert len(progress_of(folder)["figures"]) == 1


def test_scores_on_other_data_do_not_become_those_of_the_training(run_of_files, run: Run, files, refused) -> None:
    folder = run_of_files("--epochs", 1)
    before = (folder / "manifest.json").read_bytes()
    path = files("test", 8)
    refused(f"{path}: changed since the training", "evaluate", folder)
    result = run("evaluate", folder, "--accept-changes")
    assert result.code == 0, result.err
    assert "changed since the training; accepted\n" in result.out
    assert (folder / "manifest.json").read_bytes() == before
