"""Sentence pairs, wherever they come from: a public data set, a generated one, or the user's files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from seq2seq.run.errors import UserError
from seq2seq.sources.corpus import load_files
from seq2seq.sources.dataset import Dataset
from seq2seq.sources.named import is_named, load_named
from seq2seq.sources.numbers import load_numbers
from seq2seq.sources.reading import PLAIN, Reading


def load_dataset(
    data: str,
    *,
    data_dir: str | Path | None = None,
    src_language: str | None = None,
    trg_language: str | None = None,
    valid: str | None = None,
    test: str | None = None,
    seed: int = 1234,
    one_sided: bool = False,
    reading: Reading = PLAIN,
) -> Dataset:
    """Sentence pairs by the name of a set or from files.

    Args:
        data: "numbers", "multi30k", "spa-eng", "scan", "scan:length", "scan:addprim", "cmudict", "cmudict:stress" or
            "cmudict:index"; or files: a table (`CORPUS.tsv`, .csv, .jsonl, .txt with tabs), two parallel files as
            `SRC,TRG`, each plain or .gz, a folder or .zip of them, or several with commas between. Training pairs
            without text on both sides are left out.
        data_dir: for the public sets, a folder that already holds them; None downloads them once.
        src_language, trg_language: language codes; None takes the set's usual ones, or for files the two-letter suffix
            as in train.de, else "xx" (any language).
        valid, test: for files only, further files of the same form. Without `valid`, 2 % of the train sources, at most
            1,000 and chosen by a hash, are held out; without `test` there is no such split.
        seed: for "numbers", chooses the numbers.
        one_sided: files may also be one text, whose lines are their own targets.
        reading: how files are read.

    Raises:
        UserError: the name is unknown, an argument does not apply, or a file is at fault.
    """
    name = data.partition(":")[0]
    if not is_named(data):
        return load_files(data, src_language, trg_language, valid, test, one_sided, reading)
    for argument, value in (("valid", valid), ("test", test)):
        if value is not None:
            raise UserError(f"{argument} is {value!r}; expected none: {data} has its own splits")
    changed = next((f.name for f in fields(reading) if getattr(reading, f.name) != f.default), None)
    if changed not in (None, "header"):  # which runs have that are older than the option
        raise UserError(f"{changed} is {getattr(reading, str(changed))!r}; it is for files, and {data} is none")
    if name != "numbers":
        return load_named(data, src_language, trg_language, data_dir)
    if data != name:
        raise UserError(f"data is {data!r}; expected numbers without a variant")
    return load_numbers(src_language or "en", trg_language or "fr", seed)
