"""What the examples share: a folder for data and a run, and the toolkit's own commands, printed before they start."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seq2seq import evaluate, train
from seq2seq.run import settings
from seq2seq.run.cli import command_line
from seq2seq.run.errors import UserError
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import say

T = TypeVar("T")


class Counts(NamedTuple):
    """Examples of each split."""

    train: int
    valid: int
    test: int


class Task(NamedTuple):
    """What a command line asks of an example: the folder, the example's own options, the settings of training."""

    folder: Path
    options: Namespace
    words: list[str]


def build_parser(name: str, description: str) -> OneLineParser:
    """The parser of an example: a folder, and settings of training behind it."""
    parser = OneLineParser(
        prog=f"python -m seq2seq.examples.{name}",
        description=f"{description} All other options are those of seq2seq.train, and replace the example's own.",
    )
    parser.add_text("folder", "a new or an empty folder for the data and the run")
    return parser


def begin(parser: OneLineParser, defaults: Mapping[str, Any], arguments: Sequence[str] | None) -> Task:
    """Check a command line, whose settings replace ``defaults``, and make the folder.

    Raises:
        UserError: a wrong setting, or a folder that holds something, or is none.
    """
    options, others = parser.parse_known_args(arguments)
    words = [*_words(defaults), *others]
    settings.parse(words)
    return Task(new_folder(options.folder), options, words)


def new_folder(path: str) -> Path:
    """The folder of an example, made; UserError where it holds something, or is none."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; expected a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cut(items: Sequence[T], counts: Counts) -> list[list[T]]:
    """As many items for each split, one after the other."""
    return [list(items[start:end]) for start, end in pairwise(accumulate(counts, initial=0))]


def write_lines(path: Path, lines: Iterable[str]) -> str:
    """Write lines of text; the path as text."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> str:
    """Write a source TAB target a line; the path as text."""
    return write_lines(path, ("\t".join(pair) for pair in pairs))


def trained(task: Task, files: Mapping[str, str]) -> Path:
    """Train on files, named as settings; the folder of the run.

    Raises:
        KeyboardInterrupt: the training was interrupted; it has saved, and said how to go on.
    """
    run_dir = task.folder / "run"
    words = [*task.words, *_words(files), "--run-dir", str(run_dir)]
    say(command_line("seq2seq.train", *words))
    if train.train(words):
        raise KeyboardInterrupt
    return run_dir


def scored(run_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Score a run, print its figures, and give those of ``--json``, which is written beside the run."""
    path = run_dir.with_name("scores.json")
    words = [str(run_dir), *_words(options), "--json", str(path)]
    say(command_line("seq2seq.evaluate", *words))
    evaluate.evaluate(words)
    scores: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return scores


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as the words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
