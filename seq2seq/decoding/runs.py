"""What the commands that use trained runs share: which runs, which of their weights, and where to compute."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from seq2seq.decoding.translator import Translator
from seq2seq.run import checkpoint, folder
from seq2seq.run.cli import limit_threads
from seq2seq.run.devices import DEVICES, PRECISIONS
from seq2seq.run.parser import OneLineParser


def add_options(
    parser: OneLineParser, several: str, precision: str = "of the matrix products; by default as in training"
) -> None:
    """The folders of runs, and the options below; ``several`` says what several runs do together."""
    parser.add_text("run_dir", f"folder of a training run; of several, {several}", several=True)
    parser.add_argument("--checkpoint", choices=checkpoint.NAMES, default="best")
    parser.add_argument("--precision", choices=PRECISIONS, help=precision)
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute (default: cpu)")
    parser.add_number("--threads", "processor threads; by default all")
    parser.add_argument("--accept-changes", action="store_true", help=folder.ACCEPT_HELP)


def files(options: Namespace) -> list[Path]:
    """Those of the runs, none of which may be an output."""
    return [file for run_dir in options.run_dir for file in folder.files_of(Path(run_dir))]


def begin(options: Namespace) -> None:
    """Accept changes of the runs, where that is asked for, and compute on so many threads from now on."""
    if options.accept_changes:
        for run_dir in options.run_dir:
            folder.accept_changes(Path(run_dir))
    limit_threads(options.threads)


def translator(options: Namespace) -> Translator:
    """That of the runs together."""
    return Translator.load_all(options.run_dir, options.checkpoint, options.precision, options.device)
