"""A run goes on with other data of a split: what that makes void, and what it does not."""

from __future__ import annotations

import math
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from minigrad.serialization import to_bytes
from seq2seq.run import manifest
from seq2seq.sources import load_dataset
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

    def run_of_files(*arguments: object, code: int = 0) -> Path:
        return train("run", "--valid", files("valid", 5), "--test", files("test", 6), *arguments, code=code)

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


def test_a_change_counts_once(run_of_files, run: Run, files, interrupt) -> None:
    """Also where the validation on the new data is that of the step at which they came."""
    interrupt(lambda: signal.raise_signal(signal.SIGTERM), 17)
    folder = run_of_files("--epochs", 2, code=130)
    files("valid", 8)
    assert run("train", "--run-dir", folder, "--resume", "--accept-changes").code == 0
    before = progress_of(folder)
    assert before["figures"] == [before["best"]]
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 3, "--lr", 10).code == 0
    after = progress_of(folder)
    assert after["figures"][0] == before["best"]
    assert after["best"] == before["best"]


def test_a_change_that_nothing_was_made_of_is_not_lost(run_of_files, run: Run, files, interrupt) -> None:
    folder = run_of_files("--epochs", 2)
    files("valid", 8)

    def crash() -> None:
        raise ZeroDivisionError

    interrupt(crash, 3)
    with pytest.raises(ZeroDivisionError):
        run("train", "--run-dir", folder, "--resume", "--epochs", 3, "--accept-changes")
    assert len(progress_of(folder)["figures"]) == 2
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 3).code == 0
    assert len(progress_of(folder)["figures"]) == 1


def test_a_checkpoint_of_a_former_version_goes_by_the_step(run_of_files, run: Run, files) -> None:
    folder = run_of_files("--epochs", 1)
    content = stored(folder, "last")
    for name in ("falls", "validated", "changes"):
        del content["progress"][name]
    (folder / "checkpoints" / "last.safetensors").write_bytes(to_bytes(content))
    files("valid", 8)
    words = "train", "--run-dir", folder, "--resume", "--accept-changes", "--epochs"
    assert run(*words, 2).code == 0
    assert len(progress_of(folder)["figures"]) == 1
    assert progress_of(folder)["changes"] == 1


def test_training_data_that_are_also_a_test_set_count_as_both(train: Train, run: Run, corpus, reversed_digits) -> None:
    folder = train("run", "--max-steps", 12, "--test", corpus)
    corpus.write_text("".join(f"{src}\t{trg}\n" for src, trg in reversed_digits(90, seed=7)))
    result = run("train", "--run-dir", folder, "--resume", "--max-steps", 13, "--accept-changes")
    assert "epoch 2 begins anew" in result.out
    assert manifest.read(folder)["changes"][0]["splits"] == ["test", "train", "valid"]


def test_training_data_beside_validation_data_leave_the_figures(
    run_of_files, run: Run, corpus, reversed_digits
) -> None:
    folder = run_of_files("--max-steps", 12)
    before = progress_of(folder)["figures"]
    corpus.write_text("".join(f"{src}\t{trg}\n" for src, trg in reversed_digits(90, seed=7)))
    result = run("train", "--run-dir", folder, "--resume", "--max-steps", 13, "--accept-changes")
    assert f"{corpus}: changed since the training; accepted\n" in result.out
    assert "epoch 2 begins anew" in result.out
    assert manifest.read(folder)["changes"][0]["splits"] == ["train"]
    assert progress_of(folder)["figures"] == before


def test_a_test_set_where_there_was_none_changes_nothing(train: Train, run: Run, files) -> None:
    folder = train("run", "--max-steps", 12, "--valid", files("valid", 5))
    before = progress_of(folder)
    test = files("test", 6)
    words = "train", "--run-dir", folder, "--resume", "--max-steps", 13, "--test", test, "--accept-changes"
    result = run(*words)
    assert result.code == 0, result.err
    assert f"{test}: changed since the training; accepted\n" in result.out
    assert manifest.read(folder)["changes"][0]["splits"] == ["test"]
    assert progress_of(folder)["figures"] == before["figures"]


@pytest.mark.parametrize("changed", ["test", "valid", "train"])
def test_the_parts_of_an_archive_or_a_folder(tmp_path: Path, files, changed: str) -> None:
    """An archive is one file; in a folder each file counts for itself."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for seed, name in enumerate(("train", "valid", "test"), start=5):
        files(name, seed).rename(folder / f"{name}.tsv")
    found = load_dataset(str(folder))
    assert found.parts[str(folder / f"{changed}.tsv")] == {changed}
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        archive.write(folder / f"{changed}.tsv", "part.tsv")
    given = {"test": {"test"}, "valid": {"valid"}, "train": {"train", "valid"}}[changed]
    data = {"train": f"{tmp_path}/own.zip/part.tsv"}.get(changed, str(folder / "train.tsv"))
    more = {} if changed == "train" else {changed: f"{tmp_path}/own.zip/part.tsv"}
    assert load_dataset(data, **more).parts[f"{tmp_path}/own.zip"] == given


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


def test_epochs_whose_weights_are_gone_take_no_place(run_of_files, run: Run, files) -> None:
    folder = run_of_files("--epochs", 5, "--keep-best", 2, "--best-metric", "exact_match", "--lr", 1e-8)
    names = sorted(path.stem for path in (folder / "checkpoints").glob("epoch-*"))
    assert names == ["epoch-1", "epoch-2"]
    files("valid", 8)
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 6, "--accept-changes").code == 0
    names = sorted(path.stem for path in (folder / "checkpoints").glob("epoch-*"))
    assert names == ["epoch-2", "epoch-6"]
