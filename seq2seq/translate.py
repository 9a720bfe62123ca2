"""``python -m seq2seq.translate RUN_DIR``: a line in, a line out."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("translate"))

import sys
from collections.abc import Sequence
from typing import Any

from seq2seq.decoding import runs, settings
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import STDOUT, check_output, write_bytes, write_output
from seq2seq.sources import read_lines


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.translate", description="Translate sentences, one a line.")
    parser.add_text("--input", "text file, plain or .gz, or a table; - reads standard input (default)", "-")
    parser.add_text("--output", "file to write; - is standard output (default)", "-")
    parser.add_number("--n-best", "translations of each line, with scores if more than 1", 1)
    parser.add_text("--prefix", "text file: what the translation of each line starts with; an empty line is nothing")
    parser.add_text("--explain", "write a page to this file: the beam's lattice, attention, gates over time")
    parser.add_argument(
        "--stream", action="store_true",
        help="translate each line of standard input as it comes; where that is a terminal it is done anyway",
    )  # fmt: skip
    parser.add_argument("--replace-unk", action="store_true", help="<unk> becomes the source token most looked at")
    settings.add_options(parser)
    runs.add_reading(parser)
    runs.add_options(parser, "they translate together")
    return parser


def translate(arguments: Sequence[str] | None = None) -> int:
    """Translate as the command line says."""
    options = build_parser().parse_args(arguments)
    asked = settings.asked(options)
    settings.decoding(**asked)
    check_output(options.output, "output", runs.files(options))
    if options.explain is not None:
        check_output(options.explain, "explain", runs.files(options))
    runs.begin(options)
    translator = runs.translator(options)
    if _streams(options):
        for number, sentence in enumerate(translator.model.source.stream(), start=1):
            lines = _lines(translator, [sentence], options, asked, number)
            write_output(STDOUT, "".join(f"{line}\n" for line in lines))
        return 0
    raw = runs.read(translator.settings, options, options.input)
    lines = _translated(translator, raw, options, asked)
    if options.explain is not None:
        from seq2seq.analysis.explaining import explained

        write_bytes(options.explain, [explained(translator, raw, **asked)])
    write_output(options.output, "".join(f"{line}\n" for line in lines))
    return 0


def _streams(options: Any) -> bool:
    """Whether each line is translated as it comes.

    Raises:
        UserError: that is asked for beside something that needs all lines, or a file.
    """
    plain = options.input == STDOUT == options.output and options.prefix is options.explain is None
    if options.stream and not plain:
        others = "--input, --output, --prefix, --explain"
        raise UserError(f"stream: reads standard input and writes standard output; expected no {others}")
    return options.stream or (plain and sys.stdin is not None and sys.stdin.isatty())


def _translated(translator: Translator, raw: list[Any], options: Any, asked: dict[str, Any]) -> list[str]:
    """The lines of the output."""
    codec = translator.codec
    sources = codec.encode_sources(raw)
    if sources.lengths.any():
        codec.source.require_known(sources, "standard input" if options.input == "-" else options.input)
    with runs.watched(translator, sources):
        return _lines(translator, raw, options, asked | {"prefixes": _read_prefixes(options.prefix, len(raw))})


def _lines(translator: Translator, raw: list[Any], options: Any, asked: dict[str, Any], first: int = 1) -> list[str]:
    """The lines of some sentences, of which the ``first`` has this number."""
    sources = translator.codec.encode_sources(raw)
    found = translator.search_ids(sources, **asked, alignment=options.replace_unk, first=first)
    runs.tell_of_none(best for best, *_ in found)

    def line(number: int, hypothesis: Hypothesis) -> str:
        text = translator.text_of(hypothesis, raw[number - first] if options.replace_unk else None)
        return text if options.n_best == 1 else f"{number}\t{hypothesis.score:.4f}\t{text}"

    return [line(number, one) for number, hypotheses in enumerate(found, start=first) for one in hypotheses]


def _read_prefixes(path: str | None, count: int) -> list[str] | None:
    """The lines of a file of prefixes, if there is one."""
    if path is None:
        return None
    lines = read_lines(path, may_be_empty=True)
    if len(lines) != count:
        raise UserError(f"prefix {path}: has {counted(len(lines), 'line')}; expected {count:,}, as the input has")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(translate, arguments)
