"""Training through its command: the loss falls, the run directory says all, bad gradients change nothing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seq2seq.training.trainer as trainer_module
from minigrad.serialization import from_bytes
from seq2seq import Translator
from seq2seq.decoding.scorers import _prepacked
from seq2seq.models.model import Seq2Seq
from seq2seq.run import checkpoint
from seq2seq.run.cli import command_line
from seq2seq.run.config import Config
from seq2seq.sources import TextSource, load_dataset
from seq2seq.text.codec import TextCodec
from seq2seq.training import memory
from seq2seq.training.progress import ProgressDisplay
from seq2seq.training.validation import evaluate_split

STEP_KEYS = {"step", "epoch", "loss", "src_tokens", "trg_tokens", "seconds", "grad_norm", "lr"}
VALIDATION_KEYS = {"step", "epoch", "val_loss", "ppl_forced", "ppl_free", "bleu", "exact_match", "seconds"}
MANIFEST_KEYS = {
    "versions", "platform", "processor", "device", "blas", "git_commit", "num_parameters", "memory_plan", "data_sha256",
    "run", "files_sha256", "metrics", "sha256",
}  # fmt: skip


def stored(folder: Path, name: str = "last") -> dict[str, Any]:
    return from_bytes(checkpoint.path_of(folder, name).read_bytes())


def stored_weights(folder: Path, name: str = "last") -> dict[str, np.ndarray]:
    return {key: tensor.array for key, tensor in stored(folder, name)["model"].items()}


def train_pairs(corpus: Path) -> list[tuple[str, str]]:
    return load_dataset(str(corpus)).split("train")


def test_the_loss_falls(train, history) -> None:
    records = history(train("run", "--epochs", 8, "--dropout", 0))
    epochs = [[r["loss"] for r in records if r["epoch"] == epoch and "loss" in r] for epoch in range(8)]
    validations = [r["val_loss"] for r in records if "val_loss" in r]
    assert np.mean(epochs[-1]) < np.mean(epochs[0]) - 0.3
    assert validations[-1] < validations[0] - 0.2
    assert epochs[0][0] == pytest.approx(math.log(14), abs=0.1), "the first guess is nearly even over 14 words"


def test_the_run_directory(train, corpus) -> None:
    folder = train("run", "--epochs", 2)
    names = sorted(str(entry.relative_to(folder)) for entry in folder.rglob("*") if entry.is_file())
    checkpoints = ["checkpoints/best.safetensors", "checkpoints/last.safetensors"]
    assert names == [*checkpoints, "config.json", "manifest.json", "metrics.jsonl", "samples.jsonl", "text.json"]
    config = json.loads((folder / "config.json").read_text())
    assert config.keys() == {"version", *Config().as_dict()}
    assert (config["hidden_size"], config["lr"], config["epochs"], config["data"]) == (12, 0.01, 2, str(corpus))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest.keys() == MANIFEST_KEYS
    assert manifest["data_sha256"] == {str(corpus): hashlib.sha256(corpus.read_bytes()).hexdigest()}
    for name in ("config.json", "text.json"):
        assert manifest["files_sha256"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    log = (folder / "metrics.jsonl").read_bytes()
    assert manifest["metrics"] == {"bytes": len(log), "sha256": hashlib.sha256(log).hexdigest()}
    assert manifest["num_parameters"] == sum(array.size for array in stored_weights(folder).values())
    assert manifest["versions"]["numpy"] == np.__version__


def test_the_metrics_of_each_step_and_validation(train, corpus) -> None:
    folder = train("run", "--epochs", 2)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps, validations = ([r for r in records if key in r] for key in ("loss", "val_loss"))
    assert all(record.keys() == STEP_KEYS for record in steps)
    assert all(record.keys() == VALIDATION_KEYS for record in validations)
    assert [record["step"] for record in steps] == list(range(1, 19))
    assert [(record["step"], record["epoch"]) for record in validations] == [(9, 0), (18, 1)]
    pairs = train_pairs(corpus)
    for epoch in range(2):
        mine = [record for record in steps if record["epoch"] == epoch]
        assert sum(record["src_tokens"] for record in mine) == sum(len(src.split()) + 2 for src, _ in pairs)
        assert sum(record["trg_tokens"] for record in mine) == sum(len(trg.split()) + 1 for _, trg in pairs)
    assert {record["lr"] for record in steps} == {0.01}
    assert all(record["grad_norm"] > 0 and record["seconds"] > 0 for record in steps)


def test_the_best_checkpoint_has_the_lowest_validation_loss(train, monkeypatch) -> None:
    evaluate_split, losses = trainer_module.evaluate_split, iter([3.0, 1.0, 2.0, 1.0])
    monkeypatch.setattr(
        trainer_module, "evaluate_split", lambda *arguments: {**evaluate_split(*arguments), "val_loss": next(losses)}
    )
    folder = train("run", "--epochs", 4)
    monkeypatch.undo()
    two_epochs = stored_weights(train("two", "--epochs", 2))
    for name, array in stored_weights(folder, "best").items():
        np.testing.assert_array_equal(array, two_epochs[name])
    assert not np.array_equal(stored_weights(folder)["decoder.fc_out.bias"], two_epochs["decoder.fc_out.bias"])
    assert (stored(folder)["progress"]["best"], stored(folder, "best")["optimizer"]) == (1.0, None)


def test_what_a_validation_prepacks_is_not_kept(train, monkeypatch) -> None:
    release, kept = trainer_module.release_prepacked, []

    def released(model: Seq2Seq) -> None:
        kept.append([half in _prepacked for half in (model.encoder, model.decoder)])
        release(model)
        kept.append([half in _prepacked for half in (model.encoder, model.decoder)])

    monkeypatch.setattr(trainer_module, "release_prepacked", released)
    train("run", "--epochs", 2)
    assert kept == [[True, True], [False, False]] * 4  # of each epoch's validation, and of its samples


def test_the_figures_of_a_validation_are_those_of_the_saved_model(train, corpus, history) -> None:
    folder = train("run", "--epochs", 3)
    found = evaluate_split(Translator.load(folder, "last"), load_dataset(str(corpus)), "valid")
    assert math.isnan(found.pop("bleu"))  # of two sentences of three words
    assert history(folder)[-1]["bleu"] is None
    assert {name: history(folder)[-1][name] for name in found} == pytest.approx(found, rel=1e-5)


def test_runs_without_a_name_are_numbered(run, corpus, monkeypatch, options, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        arguments = [word for word in options(corpus, "unused") if word not in ("--run-dir", "unused")]
        assert run("train", *arguments, "--max-steps", 1).code == 0
        assert (tmp_path / "runs" / f"digits-{number}" / "config.json").exists()


def test_the_same_seed_gives_the_same_run(train, history) -> None:
    first, again, other = (train(name, "--epochs", 2, "--seed", seed) for name, seed in (("a", 7), ("b", 7), ("c", 8)))
    assert history(first) == history(again)
    assert history(first) != history(other)
    for name, array in stored_weights(first).items():
        np.testing.assert_array_equal(stored_weights(again)[name], array)
        assert not np.array_equal(stored_weights(other)[name], array)


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sentences of every training batch, in order."""
    seen: list[tuple[int, ...]] = []
    batch = TextSource.batch

    def recorded(source: TextSource, split: Any, indices: Any) -> Any:
        if len(split) > 9:  # not those of the validation, which has two pairs
            seen.append(tuple(indices.tolist()))
        return batch(source, split, indices)

    monkeypatch.setattr(TextSource, "batch", recorded)
    return seen


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial steps before the first one, which would be seen too."""
    monkeypatch.setattr(memory, "with_steps", lambda plan, *rest: plan)


@pytest.mark.usefixtures("untried")
def test_the_order_of_sentences_is_a_function_of_seed_and_epoch(train, orders, corpus) -> None:
    def order(name: str, *arguments: object) -> list[tuple[int, ...]]:
        orders.clear()
        train(name, *arguments)
        return list(orders)

    first = order("a", "--epochs", 2)
    assert order("b", "--epochs", 2, "--dropout", 0, "--hidden-size", 5, "--teacher-forcing-ratio", 1) == first
    assert order("c", "--epochs", 2, "--seed", 4) != first
    epochs = first[:9], first[9:]
    assert epochs[0] != epochs[1]
    for batches in epochs:
        assert sorted(index for batch in batches for index in batch) == list(range(len(train_pairs(corpus))))


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, np.ndarray]]]:
    """poison(steps): the loss of these steps becomes NaN; the weights seen at the start of each step."""

    def poison(*steps: int) -> list[dict[str, np.ndarray]]:
        seen: list[dict[str, np.ndarray]] = []
        loss = Seq2Seq.loss

        def poisoned(model: Seq2Seq, *arguments: Any) -> Any:
            if model.training:
                seen.append({name: tensor.array.copy() for name, tensor in model.state_dict().items()})
            return loss(model, *arguments) * (math.nan if model.training and len(seen) - 1 in steps else 1.0)

        monkeypatch.setattr(Seq2Seq, "loss", poisoned)
        return seen

    return poison


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> bool:
    return any(not np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.usefixtures("untried")
def test_a_gradient_that_is_not_finite_changes_nothing(train, poison) -> None:
    bad = (0, 3, 4, 5, 6)
    seen = poison(*bad)
    folder = train("run", "--max-steps", 12)
    weights = [*seen, stored_weights(folder)]
    assert len(seen) == 12
    for step in range(12):
        assert changed(weights[step], weights[step + 1]) == (step not in bad), step
    states = stored(folder)["optimizer"]["state"]
    assert {float(state["step"].array) for state in states.values()} == {12 - len(bad)}
    assert all(np.isfinite(state["exp_avg_sq"].array).all() for state in states.values())
    log = (folder / "metrics.jsonl").read_text()
    assert not {"NaN", "Infinity"} & set(log.replace(",", " ").replace("}", " ").split())
    records = [json.loads(line) for line in log.splitlines()]
    skipped = [record["step"] - 1 for record in records if "loss" in record and record["grad_norm"] is None]
    assert skipped == list(bad)


@pytest.mark.usefixtures("untried")
def test_five_such_gradients_in_a_row_stop_the_run(run, corpus, tmp_path, poison, options) -> None:
    seen = poison(*range(11, 99))
    folder = tmp_path / "run"
    result = run("train", *options(corpus, folder), "--epochs", 3)
    assert result.code == 2
    assert result.err.startswith("error: step 16: the gradient was not finite 5 times in a row; try a smaller --lr")
    assert len(seen) == 16
    assert "(the weights are unchanged since step 11; the last checkpoint stands)" in result.err
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 16
    assert stored(folder)["progress"]["step"] == 9
    assert np.isfinite(stored_weights(folder)["decoder.fc_out.bias"]).all()


def test_settings_reach_the_model(train, corpus) -> None:
    folder = train(
        "run", "--epochs", 1, "--precision", "fp64", "--num-layers", 1, "--max-length", 4, "--max-output-length", 2
    )
    weights = stored_weights(folder)
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float64)}
    assert "encoder.rnn.weight_ih_l1" not in weights
    assert all(len(text.split()) <= 2 for text in Translator.load(folder).translate(["1 2 3 4"] * 3, beam_size=2))
    tokens = sum(json.loads(line).get("trg_tokens", 0) for line in (folder / "metrics.jsonl").read_text().splitlines())
    assert tokens == sum(len(trg.split()) + 1 for _, trg in train_pairs(corpus) if len(trg.split()) <= 4)


def test_what_a_run_prints(run, corpus, tmp_path, options) -> None:
    result = run("train", *options(corpus, tmp_path / "run"), "--epochs", 2)
    assert result.err == ""
    assert "68 training pairs, a source vocabulary of 14, a target vocabulary of 14;" in result.out
    assert result.out.count("\nepoch ") == 2
    assert "Sentences it never saw (valid):" in result.out
    assert f"Translate: {command_line('seq2seq.translate', tmp_path / 'run')}\n" in result.out


def test_plain_progress_lines_say_loss_speed_and_time_left(capsys) -> None:
    display = ProgressDisplay(total_steps=10, step=2, interval=0)
    display.update({"step": 3, "loss": 2.0, "src_tokens": 40, "trg_tokens": 60})
    display.update({"step": 4, "loss": 4.0, "src_tokens": 40, "trg_tokens": 20})
    display.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("step 3/10  loss 2.000  ")
    assert second.startswith("step 4/10  loss 2.500  ")
    assert first.endswith(" left")
    assert " tokens/s  0:00" in second


def test_the_loss_that_is_shown_is_that_of_the_last_updates(capsys) -> None:
    """One that was not a number is forgotten."""
    display = ProgressDisplay(total_steps=100, step=0, interval=0)
    for step in range(1, 61):
        loss = math.nan if step == 1 else 9.0 if step <= 10 else 2.0
        display.update({"step": step, "loss": loss, "src_tokens": 4, "trg_tokens": 6})
    display.close()
    lines = capsys.readouterr().out.splitlines()
    assert "  loss nan  " in lines[0]
    assert "  loss 2.000  " in lines[-1]


def test_a_terminal_gets_a_bar(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    display = ProgressDisplay(total_steps=10, step=2)
    display.update({"step": 3, "loss": 2.0, "src_tokens": 40, "trg_tokens": 60})
    display.say("epoch 1")
    display.close()
    out, err = capsys.readouterr()
    assert out == "epoch 1\n"
    assert "3/10" in err
    assert "tok/s" in err


def test_it_learns_to_reverse_digits(run, tmp_path, reversed_digits) -> None:
    pairs = reversed_digits(3800)
    for name, part in (("train", pairs[:3500]), ("test", pairs[3500:])):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{src}\t{trg}\n" for src, trg in part))
    sizes = ["--embedding-size", 32, "--hidden-size", 64, "--num-layers", 1, "--dropout", 0, "--epochs", 12]
    text = ["--src-tokenizer", "space", "--trg-tokenizer", "space", "--min-freq", 1]
    paths = ["--data", tmp_path / "train.tsv", "--test", tmp_path / "test.tsv", "--run-dir", tmp_path / "run"]
    result = run("train", *paths, *text, *sizes, "--batch-size", 64, "--lr", 0.01, "--teacher-forcing-ratio", 1)
    assert result.code == 0, result.err
    for beam_size in (1, 3):
        assert run("evaluate", tmp_path / "run", "--beam-size", beam_size, "--json", tmp_path / "scores.json").code == 0
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert (scores["split"], scores["sentences"], scores["beam_size"]) == ("test", 300, beam_size)
        assert scores["exact_match"] >= 95
        assert scores["bleu_tokens"] >= 95


def test_subwords_of_a_small_text_need_no_size(train) -> None:
    """The usual 8,000 pieces are more than 70 short lines can yield."""
    codec = TextCodec.load(train("run", "--epochs", 1, "--src-tokenizer", "sentencepiece"))
    assert set("0123456789") <= set("".join(codec.source.vocabulary.tokens))
    assert codec.source.tokenizer.detokenize(codec.source.tokenizer.tokenize("3 1 4")) == "3 1 4"
