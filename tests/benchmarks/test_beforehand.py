"""What trainings tell of their time is read right and held against what they take."""

from __future__ import annotations

import json
from pathlib import Path

import beforehand
import pytest
import tables

from seq2seq.run import settings
from seq2seq.training.budget import seconds_of
from seq2seq.training.timing import Pace


@pytest.mark.parametrize("seconds", [7.0, 61.0, 4000.0])
def test_the_line_of_a_training_is_read(seconds: float) -> None:
    pace = Pace(steps=10, update=seconds / 10, validation=0.0)
    assert beforehand.told(pace.told(10, 0.0, False)) == pytest.approx(seconds)
    assert beforehand.told(pace.told(10, 0.0, True)) == pytest.approx(seconds)
    assert beforehand.told("step 12/6810  loss 8.708  2,190 tokens/s  1:40:52 left") is None


@pytest.mark.parametrize("name", beforehand.RUNS)
def test_every_run_has_settings_that_fit(name: str) -> None:
    words = [*beforehand.ALL.split(), *beforehand.RUNS[name].split()]
    assert settings.parse(words, "train").batch_size == 64


def test_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def trained(words: list[str], threads: int) -> tuple[float, float, float]:
        asked.append(words)
        return 50.0, 55.0, 60.0

    monkeypatch.setattr(beforehand, "trained", trained)
    found = beforehand.runs(["--data", "x"], tmp_path, "", 1)
    assert len(found) == 10
    assert found["Bahdanau"] == {"told_s": 50.0, "took_s": 55.0, "took_over_told": 1.1}
    budgets = beforehand.budgets(["--data", "x"], tmp_path, 1)
    assert {name: row["took_over_budget"] for name, row in budgets.items()} == {
        name: 60 / seconds_of(name) for name in beforehand.BUDGETS
    }
    for words, budget in zip(asked[-3:], beforehand.BUDGETS, strict=True):
        assert words[words.index("--budget") + 1] == budget
        assert "--epochs" not in words


def test_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert beforehand.tables() == ""
    result = {
        "processor": {"name": "P"}, "threads": 2,
        "runs": {"LSTM": {"told_s": 50.0, "took_s": 55.04, "took_over_told": 1.1008}},
        "budgets": {"2m": {"took_s": 117.0, "took_over_budget": 0.975}},
    }  # fmt: skip
    (tmp_path / "beforehand.json").write_text(json.dumps(result), encoding="utf-8")
    *_, told, given = beforehand.tables().splitlines()
    assert told == "| LSTM | 50.0 s | 55.0 s | 1.10 |"
    assert given == "| `--budget 2m` | 120.0 s | 117.0 s | 0.97 |"
