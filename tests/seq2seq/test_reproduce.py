"""Recipes: what each file says, and a run that is held against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seq2seq.evaluate import KNOWN
from seq2seq.reproduce import compared, listed
from seq2seq.run import recipes
from seq2seq.run.errors import UserError
from seq2seq.run.recipes import Goal, Recipe, recipe

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corpus: Path) -> Any:
    """digits(expected): a recipe of that name, for a tiny run, with this loss expected of what is asked."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setattr(recipes, "FOLDER", folder)

    def write(expected: float, evaluate: str = "--beam-size 2", **more: int) -> None:
        settings = {
            "data": str(corpus), "epochs": 1, "batch_size": 8, "min_freq": 1, "src_tokenizer": "space",
            "trg_tokenizer": "space", "embedding_size": 5, "hidden_size": 6, "num_layers": 1,
            **more,
        }  # fmt: skip
        goals = [{"figure": "loss", "expected": expected, "within": 0.5, "published": "none", "evaluate": evaluate}]
        stored = {"about": "digits", "minutes": "0.1", "goals": goals, "settings": settings}
        (folder / "digits.yaml").write_text(json.dumps(stored))

    return write


def test_a_run_is_held_against_what_is_expected(run, digits, tmp_path: Path) -> None:
    digits(2.6)
    arguments = "digits", "--run-dir", tmp_path / "run", "--seed", 3
    found = run("reproduce", *arguments)
    assert found.code == 0, found.err
    assert "loss --beam-size 2" in found.out
    assert "as expected; published: none" in found.out
    value = json.loads((tmp_path / "run-0.json").read_text())["loss"]
    digits(value + 0.6)
    found = run("reproduce", *arguments)  # what stands goes on, and is scored again
    assert found.code == 1
    assert f"loss --beam-size 2 {value:.2f}, expected {value + 0.6:.2f} ± 0.50: NOT as expected" in found.out


def test_the_mean_of_the_best_epochs_is_made_where_a_goal_is_of_it(run, digits, tmp_path: Path) -> None:
    digits(2.6, "--checkpoint average", epochs=3, keep_best=2)
    found = run("reproduce", "digits", "--run-dir", tmp_path / "run", "--seed", 3)
    assert found.code == 0, found.err
    assert "average.safetensors: the mean of epochs 2, 3; its scores:\n" in found.out
    assert "loss --checkpoint average" in found.out


def test_recipes_are_listed(run) -> None:
    found = run("reproduce", "--list")
    assert found.code == 0
    for name in recipes.names():
        assert f"{name}: {recipe(name).about}" in found.out
    assert found.out.splitlines() == [line for name in recipes.names() for line in listed(recipe(name))]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_whole_and_expects_what_its_run_gave(name: str) -> None:
    chosen = recipe(name)
    assert chosen.about
    assert float(chosen.minutes.split()[0]) > 0
    assert chosen.goals
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS / name).glob("test*.json")]
    for goal in chosen.goals:
        assert goal.figure in {*KNOWN, "loss", "ppl_forced", "ppl_free"}
        assert goal.published
        assert goal.within > 0
        found = [scores[goal.figure] for scores in kept if scores[goal.figure] is not None]
        assert any(abs(figure - goal.expected) < 0.005 for figure in found), (goal, found)


def test_a_figure_that_is_none_meets_no_goal() -> None:
    goal = Goal("bleu", 30.0, 1.0, "none")
    assert goal.is_met(29.0)
    assert not goal.is_met(28.9)
    assert not goal.is_met(None)
    lines = compared(Recipe("name", "about", "1", (goal,), {}), [None])
    assert lines[1] == "  bleu no figure, expected 30.00 ± 1.00: NOT as expected; published: none"


def test_mistakes(refused, tmp_path: Path) -> None:
    refused("recipe: is missing; expected cmudict", "reproduce")
    refused("recipe is 'multi30k-atention'; did you mean", "reproduce", "multi30k-atention")
    with pytest.raises(UserError, match="recipe is 'x'"):
        recipe("x")
