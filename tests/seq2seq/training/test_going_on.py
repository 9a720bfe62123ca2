"""A run goes on otherwise than it began, or starts from the weights of another: what changes is told and kept."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import seq2seq.training.trainer as trainer_module
from minigrad import Tensor
from seq2seq import Translator
from seq2seq.models.model import build_model
from seq2seq.run import config_file, manifest
from seq2seq.run.config import may_change
from seq2seq.text.vocabulary import Vocabulary
from seq2seq.training.starting import copy_weights
from tests.seq2seq.checkpoints import assert_same_checkpoint, stored

STEPS = 9  # of an epoch


def weights(folder: Path, name: str = "last") -> dict[str, np.ndarray]:
    tensors: dict[str, Tensor] = stored(folder, name)["model"]
    return {key: tensor.array for key, tensor in tensors.items()}


# --- settings that change ---------------------------------------------------------------------------------------------
def test_other_rates_are_told_kept_and_gone_by(train, run, history) -> None:
    folder = train("run", "--epochs", 1)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--lr", 0.002, "--dropout", 0.1)
    assert "changed from here on: lr 0.01 -> 0.002\n" in result.out
    assert "changed from here on: dropout 0.5 -> 0.1\n" in result.out
    assert [record["lr"] for record in history(folder) if "lr" in record] == [0.01] * STEPS + [0.002] * STEPS
    assert manifest.read(folder)["changes"] == [
        {"step": STEPS, "settings": {"dropout": [0.5, 0.1], "epochs": [1, 2], "lr": [0.01, 0.002]}, "splits": []}
    ]
    assert config_file.load(folder).lr == 0.002
    again = run("train", "--run-dir", folder, "--resume", "--epochs", 3)
    assert "lr" not in again.out.partition("going on")[0]
    assert history(folder)[-2]["lr"] == 0.002


def test_a_changed_run_is_that_of_a_run_that_was_stopped_elsewhere(train, run, history) -> None:
    """The change counts from a step on: it does not matter how often the run is stopped before and after it."""
    folders = [train(name, "--max-steps", STEPS) for name in ("one", "two")]
    change = ["--lr", 0.003, "--adam-beta1", 0.5, "--weight-decay", 0.01, "--max-steps"]
    assert run("train", "--run-dir", folders[0], "--resume", *change, 14).code == 0
    assert run("train", "--run-dir", folders[1], "--resume", *change, 10).code == 0
    assert run("train", "--run-dir", folders[1], "--resume", "--max-steps", 14).code == 0
    assert_same_checkpoint(*folders, "last", "model", "optimizer")
    plain = train("plain", "--max-steps", 14)
    assert not all(np.array_equal(a, weights(plain)[name]) for name, a in weights(folders[0]).items())


def test_an_epoch_with_other_batches_begins_anew(train, run, history, monkeypatch) -> None:
    folder = train("run", "--epochs", 2, "--max-steps", STEPS + 4)
    result = run("train", "--run-dir", folder, "--resume", "--max-steps", "null", "--batch-size", 16, "--epochs", 3)
    assert "epoch 2 begins anew, since its batches are others now\n" in result.out
    epochs = [record["epoch"] for record in history(folder) if "loss" in record]
    assert epochs == [0] * STEPS + [1] * 4 + [1] * 5 + [2] * 5  # 68 pairs in batches of 16
    update, count = trainer_module.Trainer._update, 0

    def crashing(trainer, *arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise ZeroDivisionError
        return update(trainer, *arguments)

    other = train("other", "--epochs", 2, "--max-steps", STEPS + 4)
    monkeypatch.setattr(trainer_module.Trainer, "_update", crashing)
    with pytest.raises(ZeroDivisionError):
        run("train", "--run-dir", other, "--resume", "--max-steps", "null", "--batch-size", 16, "--epochs", 3)
    monkeypatch.undo()
    assert run("train", "--run-dir", other, "--resume").code == 0
    assert_same_checkpoint(folder, other, "last", "model", "optimizer")


def test_another_schedule_leaves_behind_what_belonged_to_the_former(train, run, history) -> None:
    folder = train("run", "--epochs", 1, "--lr-schedule", "step", "--lr-steps", 5, "--lr-factor", 0.1)
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--lr-schedule", "cosine").code == 0
    config = config_file.load(folder)
    assert (config.lr_schedule, config.lr_steps, config.lr_factor) == ("cosine", 2 * STEPS, 0.5)
    result = run("train", "--run-dir", folder, "--resume", "--lr-schedule", "constant", "--lr-factor", 0.3)
    assert (
        result.err
        == "error: lr_factor belongs to lr_schedule step or exponential or plateau; this run has lr_schedule constant\n"
    )


@pytest.mark.parametrize(("size", "left"), [(16, 5), (4, 17)])
def test_a_cosine_over_other_batches_ends_with_the_run(train, run, history, size: int, left: int) -> None:
    """68 pairs: after an epoch by eights another one by other numbers."""
    folder = train("run", "--epochs", 1)
    more = "--epochs", 2, "--lr-schedule", "cosine", "--batch-size", size
    assert run("train", "--run-dir", folder, "--resume", *more).code == 0
    assert config_file.load(folder).lr_steps == STEPS + left
    rates = [record["lr"] for record in history(folder) if "loss" in record][STEPS:]
    assert len(rates) == left
    assert rates == sorted(rates, reverse=True)
    assert min(rates) > 0


def test_a_cosine_that_is_over_is_told(train, run) -> None:
    folder = train("run", "--epochs", 1, "--lr-schedule", "cosine")
    told = run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--max-steps", STEPS + 1).out
    assert f"the learning rate is 0 from here on: lr_steps = {STEPS} are over and min_lr is 0; --lr-steps says" in told
    told = run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--lr-steps", 3 * STEPS).out
    assert "the learning rate is 0" not in told


def test_a_decay_can_end_though_something_is_left_out_of_it(train, run) -> None:
    folder = train("run", "--epochs", 1, "--weight-decay", 0.1, "--exclude-from-weight-decay", "vectors")
    for more in (["--weight-decay", 0], [], ["--weight-decay", 0.2]):
        result = run("train", "--run-dir", folder, "--resume", *more)
        assert result.code == 0, result.err


def test_settings_that_make_the_model_stay() -> None:
    assert {"lr", "batch_size", "dropout", "noise_drop", "add_data"} <= set(may_change())
    assert not {"hidden_size", "seed", "optimizer", "precision", "src_tokenizer", "decoder"} & set(may_change())


def test_changes_of_a_manifest_are_checked(train, run) -> None:
    folder = train("run", "--epochs", 1)
    content = {**manifest.read(folder), "changes": [{"step": "1", "settings": {}, "other_data": False}]}
    manifest.write(folder, content)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 2)
    assert result.err.startswith(f"error: {folder}/manifest.json: changed since it was written")


# --- more data, other data --------------------------------------------------------------------------------------------
def test_data_are_added(train, run, tmp_path, history, reversed_digits) -> None:
    folder = train("run", "--epochs", 1)
    more = tmp_path / "more.tsv"
    known = [line.split("\t") for line in (tmp_path / "digits.tsv").read_text().splitlines()]
    new = [pair for pair in reversed_digits(40, seed=5) if pair[0] not in {src for src, _ in known}]
    more.write_text("".join(f"{src}\t{trg}\n" for src, trg in [*new, ("7 7", "")]))
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--add-data", more)
    assert result.code == 0
    assert f"changed from here on: add_data null -> {more}\n" in result.out
    assert len([r for r in history(folder) if r["epoch"] == 1 and "loss" in r]) == -(-(68 + len(new)) // 8)
    assert manifest.read(folder)["added_sha256"]
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 3).code == 0
    assert run("evaluate", folder).code == 0
    more.write_text(more.read_text().replace("7", "8"))
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 4)
    assert result.err.startswith(f"error: {more}: changed since the training")
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 4, "--accept-changes")
    assert f"{more}: changed since the training; accepted\n" in result.out


def test_added_pairs_of_held_out_sources_are_left_out(run, options, corpus, tmp_path) -> None:
    more, valid = tmp_path / "more.tsv", tmp_path / "valid.tsv"
    valid.write_text("1 2 3\t3 2 1\n")
    more.write_text("1 2 3\t3 2 1\n9 9 8\t8 9 9\n")
    arguments = [*options(corpus, tmp_path / "run"), "--max-steps", 1, "--valid", valid, "--add-data", more]
    out = run("train", *arguments).out
    assert f"note: {more}: 1 pair is trained on too\n" in out
    assert f"note: {more}: 1 pair with a source of valid or test is left out\n" in out
    more.write_text("1 2 3\t3 2 1\n")
    result = run("train", *options(corpus, tmp_path / "other"), "--valid", valid, "--add-data", more)
    assert result.err == f"error: add_data {more}: no pair with text on both sides is left; expected further pairs\n"
    assert not (tmp_path / "other").exists()


def test_other_data_by_acceptance(train, run, tmp_path, reversed_digits) -> None:
    """Best figures of the former validation say nothing of the new one."""
    folder = train("run", "--epochs", 2)
    other = tmp_path / "other.tsv"
    other.write_text("".join(f"{src}\t{trg}\n" for src, trg in reversed_digits(30, seed=9)))
    words = ["train", "--run-dir", folder, "--resume", "--epochs", 3, "--data", other]
    assert run(*words).err.startswith(f"error: {other}: changed since the training")
    assert run(*words, "--accept-changes").code == 0
    figures = stored(folder, "last")["progress"]["figures"]
    assert figures == [stored(folder, "last")["progress"]["best"]]
    assert config_file.load(folder).data == str(other)
    assert manifest.read(folder)["changes"][0]["splits"] == ["train", "valid"]


# --- the weights of another run ---------------------------------------------------------------------------------------
@pytest.fixture
def base(train: Callable[..., Path]) -> Path:
    return train("base", "--epochs", 2)


def vocabulary(folder: Path) -> list[str]:
    return list(json.loads((folder / "text.json").read_text())["src_vocabulary"]["tokens"])


def test_known_words_keep_their_rows_and_new_ones_are_drawn(base, run, tmp_path) -> None:
    data, folder = tmp_path / "letters.tsv", tmp_path / "fine"
    data.write_text("".join(f"{a} {b} 3\t3 {b} {a}\n" for a in "abcde" for b in "12345"))
    result = run("train", "--data", data, "--init-from", base, "--run-dir", folder, "--min-freq", 1, "--max-steps", 1)
    assert result.code == 0, result.err
    assert f"note: starts from {base}: 20 of 20 tensors copied\n" in result.out
    assert "source vocabulary: 14 known tokens copied, 5 new ones drawn, 0 left out\n" in result.out
    assert vocabulary(folder)[:14] == vocabulary(base)
    assert sorted(vocabulary(folder)[14:]) == list("abcde")
    assert config_file.load(folder).hidden_size == 12
    assert manifest.read(folder)["init_from"]["run"] == manifest.read(base)["run"]


def test_the_start_is_the_former_run_to_the_bit(base, run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trainer_module.Trainer, "_update", lambda *_: signal.raise_signal(signal.SIGINT) or (1.0, 1.0))
    data, folder = tmp_path / "letters.tsv", tmp_path / "fine"
    data.write_text("".join(f"{a} {b} 3\t3 {b} {a}\n" for a in "abcde" for b in "12345"))
    assert run("train", "--data", data, "--init-from", base, "--run-dir", folder, "--min-freq", 1).code == 130
    before, now = weights(base, "best"), weights(folder)
    by_words = {name for name in before if before[name].shape != now[name].shape}
    output = {"decoder.fc_out.weight", "decoder.fc_out.bias"}
    assert by_words == {"encoder.embedding.weight", "decoder.embedding.weight", *output}
    for name, old in before.items():
        np.testing.assert_array_equal(now[name][: len(old)], old)
        assert np.abs(now[name][len(old) :]).sum() > 0 or name not in by_words


def test_a_smaller_vocabulary_and_another_model(base, run, tmp_path, corpus) -> None:
    result = run("train", "--data", corpus, "--init-from", base, "--run-dir", tmp_path / "cut", "--max-vocab-size", 6,
                 "--num-layers", 1, "--max-steps", 1)  # fmt: skip
    assert "source vocabulary: 10 known tokens copied, 0 new ones drawn, 4 left out\n" in result.out
    assert "; left out: " in result.out
    assert vocabulary(tmp_path / "cut") == vocabulary(base)[:10]


def test_shared_weights_and_words_in_another_order(train, run, corpus, tmp_path) -> None:
    """What both sides share is one tensor by words; rows follow their words, not their places."""
    shared = "--share-vocab", "--tie-weights", "all", "--embedding-size", 12
    base = train("shared", "--epochs", 1, *shared)
    start, config = Translator.load(base), config_file.load(base)
    words = start.codec.trg_vocabulary.tokens[4:]
    target = replace(start.codec.target, vocabulary=Vocabulary(["new", *reversed(words)]))
    codec = replace(start.codec, source=target, target=target)
    model = build_model(len(words) + 5, len(words) + 5, replace(config, seed=7))
    drawn = model.decoder.output.weight.detach().numpy()[4].copy()
    copy_weights(start, model, codec, "base")
    before, now = start.model.decoder.output.weight.detach().numpy(), model.decoder.output.weight.detach().numpy()
    np.testing.assert_array_equal(now, np.concatenate([before[:4], [drawn], before[:3:-1]]))
    assert model.encoder.embedding.weight is model.decoder.output.weight


def test_a_model_file_is_a_start_too(base, run, corpus, tmp_path) -> None:
    model, words = tmp_path / "base.seq2seq", ["train", "--data", corpus, "--max-steps", 1, "--init-from"]
    assert run("export", base, "--to", model).code == 0
    for start, folder in ((base, tmp_path / "one"), (model, tmp_path / "two")):
        assert run(*words, start, "--run-dir", folder).code == 0
    assert_same_checkpoint(tmp_path / "one", tmp_path / "two", "last", "model", "optimizer")
    assert set(manifest.read(tmp_path / "two")["init_from"]) == {"sha256"}


def test_a_start_that_is_no_run(refused, options, corpus, tmp_path) -> None:
    refused(f"{tmp_path}/none/config.json: No such file", "train", "--data", corpus, "--init-from", tmp_path / "none")


def test_how_data_were_read_is_not_taken_over(train, run, corpus, tmp_path) -> None:
    """An autoencoder is the start of a translator: of other data, read as they are."""
    words = ["--share-vocab", "true", "--min-freq", 1, "--max-steps", 1]
    base = train("base", "--task", "autoencode", "--noise-drop", 0.3, "--bad-lines", "skip", "--swap", "true", *words)
    result = run("train", "--data", corpus, "--init-from", base, "--run-dir", tmp_path / "tuned", *words)
    assert result.code == 0, result.err
    config = config_file.load(tmp_path / "tuned")
    assert (config.task, config.noise_drop, config.bad_lines, config.swap) == ("translate", 0.0, "refuse", False)
    assert config.hidden_size == config_file.load(base).hidden_size
