"""The examples: what their generators promise, and each from data to figures on a handful of pairs."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from seq2seq.examples import addition, captions, dialogue, running, summaries, tones
from seq2seq.examples.running import Counts

FEW = Counts(40, 6, 8)


@pytest.mark.parametrize("name", ["addition", "captions", "dialogue", "summaries"])  # others: test_learning.py
def test_from_data_to_figures(tmp_path, capsys, name) -> None:
    example, folder = importlib.import_module(f"seq2seq.examples.{name}"), tmp_path / "folder"
    sizes = ["--hidden-size", "8", "--embedding-size", "4", "--max-steps", "2"]
    assert getattr(example, name)([str(folder), *sizes], FEW) == 0
    out = capsys.readouterr().out
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["hidden_size"] == 8
    assert {key: config[key] for key in ("lr", "decoder")} == {key: example.SETTINGS[key] for key in ("lr", "decoder")}
    if name == "dialogue":
        assert "  sampled " in out
    else:
        scores = json.loads((folder / "scores.json").read_text())
        assert scores["sentences"] == FEW.test
        assert list(scores["signatures"]) == example.SCORING["metrics"].split(",")
        assert all(f"  {metric} " in out for metric in scores["signatures"])


def test_a_mistake_is_told_before_anything_is_written(tmp_path, capsys) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    for words, message in (
        ([full], f"{full}: is there already; expected a new or an empty folder"),
        ([tmp_path / "new", "--epochs", "0"], "epochs is 0; expected 1 to 1000000"),
        ([tmp_path / "new", "--decoder", "pointer-gen"], "decoder is 'pointer-gen'; did you mean pointer-generator?"),
    ):
        assert tones.main([str(word) for word in words]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_sums_are_right_and_asked_once() -> None:
    found = addition.questions(np.random.default_rng(0), 3, 500)
    numbers = [tuple(sorted(map(int, question.split("+")))) for question, _ in found]
    assert [sum(both) for both in numbers] == [int(answer) for _, answer in found]
    assert len(set(numbers)) == 500
    assert {len(str(number)) for both in numbers for number in both} == {1, 2, 3}


def test_scenes_are_in_one_split_and_their_features_are_sums() -> None:
    rng = np.random.default_rng(0)
    splits = captions.scenes(rng, FEW)
    assert [len(split) for split in splits] == list(FEW)
    assert len({scene for split in splits for scene in split}) == sum(FEW)
    directions = [rng.standard_normal((len(names), captions.SIZE), np.float32) for names in captions.PARTS]
    scene = splits[0][0]
    colour, thing, relation, place = (each[number] for each, number in zip(directions, scene, strict=True))
    whole = captions.features(rng, [scene], directions, regions=False)[0]
    assert whole.min() == 0
    assert np.corrcoef(whole, colour + thing + relation + place)[0, 1] > 0.6
    regions = captions.features(rng, [scene] * 9, directions, regions=True)
    assert regions.shape == (9, 3, captions.SIZE)
    likeness = [[np.corrcoef(row, pair)[0, 1] for row in rows] for rows in regions for pair in (colour + thing,)]
    assert (np.sort(likeness, axis=1)[:, -1] > 0.5).all()
    assert len({int(np.argmax(row)) for row in likeness}) > 1, "the order of regions says nothing"
    assert captions.captions_of((0, 1, 2, 3)).split("\t")[0] == "a red cat behind a house"


def test_the_loudest_band_of_a_tone_is_that_of_its_pitch() -> None:
    rng = np.random.default_rng(1)
    middles = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42)[1:-1] / 2595) - 1)
    for tone in range(12):
        heard = np.exp(tones.frames(rng, (tone,)))
        assert heard.shape[1] == 40
        pitch = 523.25 * 2 ** (tone / 12)
        loudest = np.abs(middles - pitch * np.arange(1, 5)[:, None]).argmin(1)
        assert heard.sum(0).argmax() in {band + near for band in loudest.tolist() for near in (-1, 0, 1)}


def test_replies_are_true() -> None:
    """What a guest was told can be read off what was said."""
    train, *others = dialogue.draw(Counts(30, 30, 30))
    assert not {one.said for one in train} & {one.said for split in others for one in split}
    questions = {question: topic for topic, ways in dialogue.QUESTIONS.items() for question in ways}
    seen = 0
    for one in (one for split in (train, *others) for one in split):
        *before, last = one.context(99).split(" | ")
        if last not in questions:
            continue
        words = dialogue.TOPICS[questions[last]]
        told = [word for turn in before[::2] for word in turn.split() if word in words]
        assert one.answerable(99)
        assert one.context(1) == last
        assert one.answerable(1) == (not told), "a question alone never answers itself"
        answers = dialogue.ANSWERS[questions[last]] if told else dialogue.UNKNOWN
        assert one.replies == tuple(way.format(*told[:1]) for way in answers)
        seen += bool(told)
    assert seen > 20


def test_a_headline_is_news_of_the_first_tokens() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        text, headline = summaries.article(rng)
        beginning = text.split()[: summaries.SETTINGS["truncate_source"]]
        assert set(headline.split()) <= {*beginning, "in"}
        assert len(text.split()) > len(beginning)


def test_an_interruption_is_one(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(running.train, "train", lambda words: 130)
    assert summaries.main([str(tmp_path / "new")]) == 130
    assert capsys.readouterr().err == "interrupted\n"
