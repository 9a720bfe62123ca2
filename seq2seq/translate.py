"""``python -m seq2seq.translate RUN_DIR``: a line in, a line out."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("translate"))

from collections.abc import Sequence
from typing import Any

from seq2seq.decoding import runs, settings
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import check_output, write_output
from seq2seq.sources import read_lines


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.translate", description="Translate sentences, one a line.")
    parser.add_text("--input", "text file, plain or .gz, or a table; - reads standard input (default)", "-")
    parser.add_text("--output", "file to write; - is standard output (default)", "-")
    parser.add_number("--n-best", "translations of each line, with scores if more than 1", 1)
    parser.add_text("--prefix", "text file: what the translation of each line starts with; an empty line is nothing")
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
    runs.begin(options)
    translator = runs.translator(options)
    raw = runs.source_of(translator.settings, options).read(options.input)
    write_output(options.output, "".join(f"{line}\n" for line in _translated(translator, raw, options, asked)))
    return 0


def _translated(translator: Translator, raw: list[Any], options: Any, asked: dict[str, Any]) -> list[str]:
    """The lines of the output."""
    codec = translator.codec
    sources = codec.encode_sources(raw)
    if sources.lengths.any():
        codec.source.require_known(sources, "standard input" if options.input == "-" else options.input)
    prefixes = _read_prefixes(options.prefix, len(raw))
    found = translator.search_ids(sources, **asked, prefixes=prefixes, alignment=options.replace_unk)

    def line(number: int, hypothesis: Hypothesis) -> str:
        text = translator.text_of(hypothesis, raw[number - 1] if options.replace_unk else None)
        return text if options.n_best == 1 else f"{number}\t{hypothesis.score:.4f}\t{text}"

    return [line(number, one) for number, hypotheses in enumerate(found, start=1) for one in hypotheses]


def _read_prefixes(path: str | None, count: int) -> list[str] | None:
    """The lines of a file of prefixes, if there is one."""
    if path is None:
        return None
    lines = read_lines(path, may_be_empty=True)
    if len(lines) != count:
        raise UserError(f"prefix {path}: has {len(lines)} lines; expected {count}, as the input has")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(translate, arguments)
