"""Models with a learned vector for each position: what is too long for them is told before the work, by its place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.shipping import decode, model_file
from tests.seq2seq.tiny_translators import translator

PARTS = {"encoder": "transformer", "decoder": "transformer", "hidden_size": 12, "num_heads": 2}
EIGHT = "expected at most 8, the positions of transformer"


def tiny(**settings: Any) -> Translator:
    return translator("transformer", "transformer", hidden_size=12, num_heads=2, num_layers=1, **settings)


def test_training_ends_before_it_begins_where_a_pair_is_too_long(refused, options, tmp_path: Path) -> None:
    short, long = "a b c\tc b a\n" * 40, "a b\tc b a c b a c b\n"
    for name, lines in (("train", short), ("valid", long)):
        (tmp_path / f"{name}.tsv").write_text(lines)
    given = options(tmp_path / "train.tsv", tmp_path / "run", {**PARTS, "learned_positions": 8})
    message = f"split valid: the longest target has 9 positions with its specials; {EIGHT}"
    refused(message, "train", *given, "--valid", tmp_path / "valid.tsv")


def test_a_run_translates_no_further_than_its_decoder_can(train, corpus, refused) -> None:
    """By itself one is cut after half as many tokens again as the longest target has."""
    trained = train("run", "--max-steps", 2, settings={**PARTS, "learned_positions": 8})
    assert Translator.load(trained).codec.max_output_length == 8
    message = f"max_output_length: the longest translation has 9 positions with its specials; {EIGHT}"
    refused(message, "translate", trained, "--input", corpus, "--max-output-length", 9)


def test_a_stream_names_the_sentence_by_its_number(train, run, monkeypatch) -> None:
    trained = train("run", "--max-steps", 2, settings={**PARTS, "learned_positions": 8})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1 2\n3 4\n" + b"1 " * 20 + b"\n")))
    result = run("translate", trained, "--stream")
    assert result.out.count("\n") == 2
    assert result.err.startswith("error: sentence 3 has ")


def test_a_longer_output_than_the_positions_is_not_asked_for(refused, options, corpus, tmp_path: Path) -> None:
    given = options(corpus, tmp_path / "run", {**PARTS, "learned_positions": 8, "max_output_length": 9})
    refused(f"max_output_length: the longest translation has 9 positions with its specials; {EIGHT}", "train", *given)


def test_the_sentence_that_is_too_long_is_named() -> None:
    short, long = "w1 w2", " ".join(["w1"] * 9)
    ours = tiny(learned_positions=10)
    for ask in (ours.translate, ours.search, ours.encode):
        with pytest.raises(UserError, match=r"^sentence 2 has 11 positions with its specials; expected at most 10"):
            ask([short, long])
    assert len(ours.translate([short, "w1 " * 8])) == 2
    assert ours.translate([]) == []


def test_the_shipped_reader_says_it_too(tmp_path: Path) -> None:
    ours, source = tiny(learned_positions=10), tmp_path / "long.txt"
    path = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, ours.codec, ours.settings)
    source.write_text("w1 " * 9 + "\n")
    with pytest.raises(SystemExit, match="a sequence of 11 positions; expected at most 10"):
        list(decode.translations(str(path), str(source)))
