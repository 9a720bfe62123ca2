"""Files of numbers with text beside them as a data set: what sources of rows share, each with a file form of its own.

Line k of the text belongs to example k. Several targets of one example stand in its line with tabs between them: in
training each is a pair, elsewhere they are the references of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.registry import option
from seq2seq.sources.batches import IntArray
from seq2seq.sources.contract import Examples, Source
from seq2seq.sources.corpus import HELD_OUT_LIMIT, HELD_OUT_SHARE
from seq2seq.sources.dataset import DEFAULTS, Dataset, Languages, Pair, held_out, parts_of_files
from seq2seq.sources.files import read_lines, sha256_of, unchanged
from seq2seq.sources.rows import RowItems, RowLearner, Rows, RowSide
from seq2seq.sources.specs import split_spec, suffix_language


@dataclass(frozen=True)
class RowOptions:
    """How rows of numbers are read."""

    standardize: bool = option(True, "bring each number of a row to mean 0 and deviation 1 over the training data")


class Example(NamedTuple):
    """Rows, and the sentences that may stand for them, one or more."""

    rows: Rows
    targets: tuple[str, ...]


class RowSource(Source):
    """A source of rows; a subclass says of which files.

    Attributes:
        form: how its files are written, in a message.
    """

    Options = RowOptions
    keys = ("mean", "scale")
    form: ClassVar[str]

    def read_rows(self, path: str) -> list[Rows]:
        """The examples of a file, views of it or copies: float32, finite, of equal F, one row each or more."""
        raise NotImplementedError

    def load(self, config: Config) -> Dataset:
        for name in ("src_language", "src_tokenizer"):
            if getattr(config, name) is not None:
                raise UserError(f"{name} is {getattr(config, name)!r}; source {self.name} has no text on that side")
        files = {"train": self._paths("data", config.data)}
        files |= {name: self._paths(name, spec) for name in ("valid", "test") if (spec := getattr(config, name))}
        paths = [path for both in files.values() for path in both]
        with unchanged(paths):
            found = {split: self._read(both) for split, both in files.items()}
            checksums = {path: sha256_of(path) for path in paths}
        if config.valid is None:
            found["valid"], found["train"] = _hold_out(found["train"])
        pairs = [(rows, target) for rows, targets in found.pop("train") for target in targets if target.strip()]
        if not pairs:
            raise UserError(f"{config.data}: no two examples that differ, with text; expected more, or a valid file")
        return Dataset(
            name=config.data,
            src_language="xx",
            trg_language=config.trg_language or suffix_language(files["train"][1]),
            splits={"train": pairs, **{split: _first_pairs(examples) for split, examples in found.items()}},
            alternatives={split: [example.targets for example in examples] for split, examples in found.items()},
            defaults=dict(DEFAULTS),
            checksums=checksums,
            parts=parts_of_files(files),
        )

    def read_examples(self, argument: str, spec: str, languages: Languages = (None, None)) -> Examples:
        paths = self._paths(argument, spec)
        with unchanged(paths):
            examples = self._read(paths)
        return Examples(_first_pairs(examples), [example.targets for example in examples])

    def read(self, path: str, languages: Languages = (None, None)) -> list[Rows]:
        if path == "-":
            raise UserError(f"standard input: source {self.name} reads {self.form}; name a file with --input")
        return self.read_rows(path)

    def label(self, raw: Rows) -> str:
        count, size = raw.shape
        return f"{counted(count, 'row')} of {counted(size, 'number')}, {raw[0, 0]:.3g} the first"

    def learner(self, dataset: Dataset, config: Config) -> RowLearner:
        return RowLearner(dataset, self.options.standardize)

    def restored(self, stored: dict[str, Any]) -> RowSide:
        return RowSide.restored(stored)

    def collate(self, items: Sequence[Rows]) -> tuple[np.ndarray, IntArray]:
        """N examples (P, F) -> (S, N, F) float32, filled up with zeros, and their rows (N,)."""
        lengths = np.array([len(rows) for rows in items], np.int64)
        size = items[0].shape[1] if len(items) else 0
        padded = np.zeros((int(lengths.max(initial=0)), len(items), size), np.float32)
        for number, rows in enumerate(items):
            padded[: len(rows), number] = rows
        return padded, lengths

    def random_items(self, rng: np.random.Generator, lengths: Sequence[int], num_inputs: int) -> RowItems:
        return RowItems([rng.standard_normal((length, num_inputs), np.float32) for length in lengths])

    def _paths(self, argument: str, spec: str) -> list[str]:
        """The file of numbers and the file of text."""
        try:
            paths = split_spec(argument, spec)
        except UserError:
            paths = []
        if len(paths) != 2:
            raise UserError(f"{argument} is {spec!r}; expected {self.form},TEXT.txt for source {self.name}")
        return paths

    def _read(self, paths: Sequence[str]) -> list[Example]:
        """The examples of two files."""
        rows, lines = self.read_rows(paths[0]), read_lines(paths[1])
        if len(rows) != len(lines):
            raise UserError(
                f"{paths[0]} has {counted(len(rows), 'example')}, {paths[1]} has "
                f"{counted(len(lines), 'line')}; expected equal numbers"
            )
        return [Example(one, targets_of(line)) for one, line in zip(rows, lines, strict=True)]


def targets_of(line: str) -> tuple[str, ...]:
    """What stands between the tabs of a line; of a blank line one empty target."""
    return tuple(filter(str.strip, line.split("\t"))) or ("",)


def _first_pairs(examples: Sequence[Example]) -> list[Pair]:
    """A pair for each example, with the first of its targets."""
    return [(rows, targets[0]) for rows, targets in examples]


def _hold_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Examples for validation, and those that are left for training; equal ones stay together."""
    digests = [hashlib.sha256(rows.tobytes()).digest() for rows, _ in examples]
    valid, train = held_out(digests, (HELD_OUT_SHARE,), HELD_OUT_LIMIT)
    return [examples[number] for number in valid], [examples[number] for number in train]
