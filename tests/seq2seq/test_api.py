"""Runs from Python are those of the commands, to the bit; mistakes raise the line that a command would print."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seq2seq
from seq2seq.run.errors import UserError
from tests.seq2seq.checkpoints import assert_same_checkpoint
from tests.seq2seq.conftest import TINY, snapshot


@pytest.fixture
def settings(corpus, tmp_path) -> dict[str, Any]:
    """Those of the fixture ``train``, as keyword arguments."""
    return {
        "data": corpus, "run_dir": tmp_path / "mine", "batch_size": 8, "lr": 0.01, "min_freq": 1,
        "src_tokenizer": "space", "trg_tokenizer": "space", "epochs": 1, **TINY,
    }  # fmt: skip


def test_a_run_is_that_of_the_command(train, run, settings, history, tmp_path, capsys) -> None:
    folder = train("command", "--epochs", 2)
    capsys.readouterr()
    mine = seq2seq.train_run(**settings, quiet=True)
    assert mine.resume(epochs=2, quiet=True).path == mine.path == tmp_path / "mine"
    assert capsys.readouterr() == ("", "")
    assert_same_checkpoint(mine.path, folder, "last", "model", "optimizer", "progress")
    assert [{k: v for k, v in record.items() if k != "seconds"} for record in mine.history] == history(folder)
    assert [record["step"] for record in mine.validations] == [record["step"] for record in mine.samples] == [9, 18]
    scores = tmp_path / "scores.json"
    assert run("evaluate", folder, "--json", scores, "--beam-size", 2).code == 0
    assert mine.evaluate(beam_size=2) == json.loads(scores.read_text()) | {"data": str(settings["data"])}
    assert mine.evaluate("train", metrics=["ter"])["ter"] > 0
    words = ["1 2 3", "", "9 9"]
    assert mine.translate(words) == seq2seq.Translator.load(folder).translate(words)
    assert seq2seq.load_run(str(folder)).config.hidden_size == 12
    assert repr(mine) == f"Run({str(mine.path)!r})"


def test_new_weights_are_loaded(settings) -> None:
    mine = seq2seq.train_run(**settings, quiet=True)
    first = mine.translator("last")
    assert mine.translator("last") is first
    mine.resume(epochs=2, quiet=True)
    assert mine.translator("last") is not first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "'epoch' is no setting; did you mean epochs?"),
        ({"epochs": 0}, "epochs is 0; expected 1 to 1000000"),
        ({"lower": 3}, "lower is 3; expected true or false"),
        ({"recipe": "none"}, "recipe is 'none'; expected "),
        ({"accept_changes": True}, "accept_changes: goes with resume"),
        ({"decoder": "lstn"}, "decoder is 'lstn'; did you mean lstm?"),
        ({"dry_run": True}, "dry_run: there is no run to give then; expected python -m seq2seq.train --dry-run"),
    ],
)
def test_mistakes(settings, tmp_path, given, message) -> None:
    before = snapshot(tmp_path)
    with pytest.raises(UserError) as caught:
        seq2seq.train_run(**(settings | given))
    assert str(caught.value).startswith(message)
    assert snapshot(tmp_path) == before


def test_mistakes_with_a_run(settings, tmp_path) -> None:
    mine = seq2seq.train_run(**settings, quiet=True)
    before = snapshot(tmp_path)
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: mine.translator("average"), f"{mine.path}/checkpoints/average.safetensors: No such file"),
        (lambda: mine.translator("bset"), "name is 'bset'; expected best, last or average"),
        (lambda: mine.evaluate(checkpoint="bset"), "name is 'bset'; expected best, last or average"),
        (lambda: mine.resume(run_dir=tmp_path, quiet=True), "resume: run_dir is given; it is this run that goes on"),
        (lambda: mine.resume(resume=True), "resume: resume is given; it is this run that goes on"),
    ]
    for call, message in calls:
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value).startswith(message)
    assert snapshot(tmp_path) == before


def test_no_run(tmp_path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}/config.json: No such file"):
        seq2seq.load_run(tmp_path)


def test_curves_in_a_notebook(settings, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    mine = seq2seq.train_run(**settings, quiet=True)
    shutil.copytree(mine.path, tmp_path / "other")
    figure = mine.plot(tmp_path / "curves.svg", over="epochs", beside=[seq2seq.load_run(tmp_path / "other")])
    assert len(figure.axes[0].lines) == 2
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
    with pytest.raises(UserError, match=r"^output .*curves.svg: No such file or directory; expected a file to write$"):
        mine.plot(tmp_path / "no" / "curves.svg")
    for wrong in (mine, str(tmp_path / "other"), [str(tmp_path / "other")]):
        with pytest.raises(UserError, match=r"^beside is .*; expected a list of runs, as load_run gives them$"):
            mine.plot(beside=wrong)  # type: ignore[arg-type]


def test_the_module_of_the_command_is_what_it_was() -> None:
    assert callable(seq2seq.train_run)
    module = importlib.import_module("seq2seq.train")
    assert seq2seq.train is module is sys.modules["seq2seq.train"]
    assert Path(str(module.__file__)).name == "train.py"
