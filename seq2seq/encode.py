"""``python -m seq2seq.encode RUN_DIR FILE --output FILE.npy``: a vector for each sentence."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("encode"))

import io
from collections.abc import Iterator, Sequence

import numpy as np

from seq2seq.decoding import runs
from seq2seq.decoding.translator import Translator
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import STDOUT, check_output, write_bytes
from seq2seq.sources import Items

_TOGETHER = 16_384  # sentences whose vectors are there at a time


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.encode", description="Write what the encoder makes of sentences.")
    parser.add_text("run_dir", "folder of a training run")
    parser.add_text("input", "text file, plain or .gz, or a table; - reads standard input")
    parser.add_text("--output", "file to write: float32 (sentences, D), as np.load reads it")
    parser.add_number("--batch-size", "sentences encoded together", 64)
    runs.add_reading(parser)
    runs.add_computing(parser, "of the matrix products; by default as in training")
    return parser


def encode(arguments: Sequence[str] | None = None) -> int:
    """Encode as the command line says."""
    options = build_parser().parse_args(arguments)
    options.run_dir = [options.run_dir]
    if options.output in (None, STDOUT):
        raise UserError(f"output is {options.output or 'missing'}; expected --output FILE.npy")
    check_output(options.output, "output", runs.files(options))
    runs.begin(options)
    translator = runs.translator(options)
    source = translator.codec.source
    items = source.encode(runs.read(translator.settings, options, options.input))
    if items.lengths.any():
        source.require_known(items, "standard input" if options.input == "-" else options.input)
    write_bytes(options.output, _array(translator, items, options.batch_size))
    return 0


def _array(translator: Translator, items: Items, batch_size: int) -> Iterator[bytes]:
    """A .npy of the vectors, head first."""
    shape = len(items), translator.model.encoder.vector_size
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    yield head.getvalue()
    for start in range(0, len(items), _TOGETHER):
        part = items.part(start, min(start + _TOGETHER, len(items)))
        yield translator.encode_ids(part, batch_size).astype("<f4").tobytes()


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(encode, arguments)
