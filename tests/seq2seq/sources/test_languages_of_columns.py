"""Columns called by the languages of a run, whatever reads them: training, scoring, evaluation, translation."""

from __future__ import annotations

from pathlib import Path

import pytest

from seq2seq.run.config import Config
from seq2seq.sources import adding
from seq2seq.sources.corpus import read_pairs, read_sources
from seq2seq.sources.reading import Reading
from seq2seq.sources.text import TextSource

ROWS = [("one two", "eins zwei"), ("three four", "drei vier"), ("six", "sechs"), ("two one", "zwei eins")]
GERMAN = [german for _, german in ROWS]


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "pairs.csv"
    path.write_text("".join(f"{first},{second}\n" for first, second in [("en", "de"), *ROWS]), encoding="utf-8")
    return str(path)


def test_further_files_are_read_in_the_direction_of_the_run(table: str) -> None:
    source, languages = TextSource(), ("de", "en")
    turned = [(german, english) for english, german in ROWS]
    assert source.read_examples("test", table, languages).pairs == turned
    assert source.read(table, languages) == GERMAN
    assert read_pairs("test", table, Reading(swap=True), ("de", "en")) == turned
    assert read_sources(table, Reading(swap=True), ("de", "en")) == GERMAN
    assert read_pairs("test", table) == ROWS
    assert read_sources(table) == [english for english, _ in ROWS]


def test_added_pairs_are_those_of_the_run(table: str) -> None:
    source = TextSource()
    config = Config(data=table, src_language="de", trg_language="en", add_data=table)
    dataset = source.load(config)
    found, _ = adding.with_added(dataset, source, config)
    assert {src for src, _ in found.split("train")} <= set(GERMAN)


def test_commands_read_what_training_read(run, train, table: str, tmp_path: Path) -> None:
    words = ["--src-language", "de", "--trg-language", "en", "--src-tokenizer", "space", "--trg-tokenizer", "space"]
    folder = train("run", "--data", table, "--valid", table, *words, "--min-freq", 1, "--max-steps", 1)
    columns = ["--src-column", "de", "--trg-column", "en"]
    for command in (["score", folder, "--data", table], ["evaluate", folder, "--test", table],
                    ["translate", folder, "--input", table]):  # fmt: skip
        plain, told = run(*command), run(*command, *columns)
        assert plain.code == told.code == 0, plain.err
        assert plain.out == told.out
