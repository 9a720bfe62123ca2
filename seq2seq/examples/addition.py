"""Sums of numbers, digit by digit: the task of Keras' example "addition_rnn" (Chollet, 2015).

    python -m seq2seq.examples.addition FOLDER --digits 3

The generator: two numbers of 1 to --digits digits each, all numbers of digits equally likely; a source is "12+345", fed
backwards (Zaremba and Sutskever, "Learning to execute", 2014), the target "357", both of characters. There are as many
questions as Keras has, 50,000 of three digits, of which the last tenth is for validation, and 1,000 more for test. No
two questions have the same numbers, in either order. The model is one layer of 128 units on both sides, without
attention, as there.

A sum counts where all of its digits are right. Keras counts characters of answers that are filled up with blanks, and
counts these too.
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("examples.addition"))

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seq2seq.examples import running
from seq2seq.examples.running import Counts
from seq2seq.run.cli import run_command
from seq2seq.run.parser import OneLineParser

COUNTS = {  # by the number of digits
    2: Counts(3600, 400, 1000), 3: Counts(45_000, 5_000, 1000), 4: Counts(360_000, 40_000, 1000),
    5: Counts(495_000, 55_000, 1000),
}  # fmt: skip
SETTINGS = {
    "encoder": "lstm", "decoder": "lstm", "embedding_size": 32, "hidden_size": 128, "num_layers": 1, "dropout": 0.0,
    "init_range": 0.2, "src_tokenizer": "char", "trg_tokenizer": "char", "min_freq": 1, "reverse_source": True,
    "teacher_forcing_ratio": 1.0, "batch_size": 128, "lr": 0.005, "lr_schedule": "cosine", "epochs": 12,
    "best_metric": "exact_match",
}  # fmt: skip
SCORING = {"metrics": "exact_match,cer"}


def questions(rng: np.random.Generator, digits: int, count: int) -> list[tuple[str, str]]:
    """Questions and answers, in random order."""
    known: dict[tuple[int, int], tuple[str, str]] = {}
    while len(known) < count:
        first, second = (int(rng.integers(10 ** int(rng.integers(1, digits + 1)))) for _ in range(2))
        known.setdefault((min(first, second), max(first, second)), (f"{first}+{second}", str(first + second)))
    return list(known.values())


def write_data(folder: Path, digits: int, counts: Counts) -> dict[str, str]:
    """Write the questions of each split; the settings that name the files."""
    splits = running.cut(questions(np.random.default_rng(0), digits, sum(counts)), counts)
    named = zip(("data", "valid", "test"), splits, strict=True)
    return {name: running.write_pairs(folder / f"{name}.tsv", split) for name, split in named}


def build_parser() -> OneLineParser:
    parser = running.build_parser("addition", "Add numbers that are written down.")
    told = f"digits of the numbers: {', '.join(map(str, COUNTS))} (default: 3)"
    parser.add_argument("--digits", type=int, choices=COUNTS, default=3, metavar="NUMBER", help=told)
    return parser


def addition(arguments: Sequence[str] | None = None, counts: Counts | None = None) -> int:
    """Make data, train and score as the command line says."""
    task = running.begin(build_parser(), SETTINGS, arguments)
    files = write_data(task.folder, task.options.digits, counts or COUNTS[task.options.digits])
    running.scored(running.trained(task, files), SCORING)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(addition, arguments)
