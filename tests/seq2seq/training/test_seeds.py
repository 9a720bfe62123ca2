"""Several seeds: a run for each, their mean and spread, and an interruption among them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

import seq2seq.training.trainer as trainer_module
from seq2seq.seeds import summarised
from tests.seq2seq.checkpoints import assert_same_checkpoint


def test_a_run_for_each_seed_and_their_mean(run, options, train, corpus: Path, tmp_path: Path) -> None:
    arguments = [*options(corpus, tmp_path / "all"), "--seeds", "3,5", "--epochs", 1]
    result = run("seeds", *arguments)
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "all" / "seeds.json").read_text())
    scores = [json.loads((tmp_path / "all" / f"seed-{seed}.json").read_text()) for seed in (3, 5)]
    assert summary["seeds"] == [3, 5]
    values = [one["loss"] for one in scores]
    assert values[0] != values[1]
    figure = {"mean": statistics.fmean(values), "std": statistics.stdev(values), "values": values}
    assert summary["figures"]["loss"] == figure
    assert "sentences" not in summary["figures"]
    assert f"  loss         {figure['mean']:>9.3f} ± {figure['std']:.3f}\n" in result.out
    assert_same_checkpoint(tmp_path / "all" / "seed-5", train("alone", "--epochs", 1, "--seed", 5), "last", "model")
    assert run("seeds", *arguments).code == 0, "what stands is gone on with"
    assert json.loads((tmp_path / "all" / "seeds.json").read_text()) == summary


def test_an_interruption_goes_on_with_the_same_command(
    run, options, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*options(corpus, tmp_path / "all"), "--seeds", "1,2", "--epochs", 1]
    update, count = trainer_module.Trainer._update, [0]

    def interrupted(trainer: trainer_module.Trainer, *rest: object) -> tuple[float, float]:
        count[0] += 1
        if count[0] == 13:
            trainer.interrupted = True
        return update(trainer, *rest)

    monkeypatch.setattr(trainer_module.Trainer, "_update", interrupted)
    assert run("seeds", *arguments).code == 130
    assert not (tmp_path / "all" / "seeds.json").exists()
    assert run("seeds", *arguments).code == 0
    assert count == [18]


def test_the_weights_of_another_run_are_named_from_where_one_stands(
    run, options, train, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("base", "--epochs", 1)
    monkeypatch.chdir(tmp_path)
    arguments = [*options(corpus, tmp_path / "all"), "--seeds", "3", "--epochs", 1, "--init-from", "base"]
    assert run("seeds", *arguments).code == 0
    again = run("seeds", *arguments)
    assert again.code == 0, again.err


def test_a_recipe_that_names_a_seed(run, tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    given.write_text("seed: 7\ndata: numbers\nmax_steps: 1\n")
    result = run("seeds", "--config", given, "--seeds", "3", "--run-dir", tmp_path / "all", "--dry-run")
    assert (result.code, result.err) == (0, "")


def test_changes_are_accepted_of_runs_that_stand(run, options, corpus: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.tsv"
    test.write_text("1 2\t2 1\n" * 3)
    words = [*options(corpus, tmp_path / "all"), "--epochs", 1, "--test", test]
    assert run("seeds", *words, "--seeds", "3").code == 0
    test.write_text("1 2 3\t3 2 1\n" * 3)
    result = run("seeds", *words, "--seeds", "3,4")
    assert "pass --accept-changes" in result.err
    result = run("seeds", *words, "--seeds", "3,4", "--accept-changes")
    assert result.code == 0, result.err


def test_a_dry_run_is_of_the_first_seed(run, options, corpus: Path, tmp_path: Path) -> None:
    result = run("seeds", *options(corpus, tmp_path / "all"), "--seeds", "3,5", "--epochs", 1, "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert "nothing is written" in result.out
    assert not (tmp_path / "all").exists()


def test_mistakes(refused: Callable[..., None], corpus: Path, tmp_path: Path) -> None:
    refused("seeds: is missing; expected --seeds and --run-dir", "seeds", "--data", corpus)
    refused("run_dir: is missing", "seeds", "--seeds", "1,2")
    for seeds, message in (("1,x", "seed is 'x'; expected an integer"), ("1,1", "seeds is '1,1'; expected each once")):
        refused(message, "seeds", "--seeds", seeds, "--run-dir", tmp_path / "all")
    both = "--seeds", "1", "--seed", 4, "--run-dir", tmp_path / "all"
    refused("seed is 4; expected --seeds alone to say of which seeds there are runs", "seeds", *both)
    refused("unrecognized arguments: --epoch", "seeds", "--seeds", "1", "--run-dir", tmp_path / "all", "--epoch", 1)


def test_one_seed_has_no_spread() -> None:
    scores = {"data": "d", "split": "test", "sentences": 3, "loss": 2.5, "bleu": None, "notes": {}}
    found = summarised([7], [scores])
    assert found["figures"] == {"loss": {"mean": 2.5, "std": None, "values": [2.5]}}
