"""``python -m seq2seq.translate RUN_DIR``: a line in, a line out."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("translate"))

from collections.abc import Sequence
from pathlib import Path

from seq2seq.decoding.translator import Translator
from seq2seq.run import folder
from seq2seq.run.cli import limit_threads, run_command
from seq2seq.run.devices import DEVICES, PRECISIONS
from seq2seq.run.options import check_decoding
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import check_output, write_output


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.translate", description="Translate sentences, one a line.")
    parser.add_text("run_dir", "folder of a training run")
    parser.add_text("--input", "text file, plain or .gz; - reads standard input (default)", "-")
    parser.add_text("--output", "file to write; - is standard output (default)", "-")
    parser.add_number("--beam-size", "hypotheses kept at each step; 1 is greedy", 1)
    parser.add_number("--n-best", "translations of each line, with scores if more than 1", 1)
    parser.add_number("--length-penalty", "scores are divided by length to this power", 1.0)
    parser.add_number("--batch-size", "sentences decoded together", 64)
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the matrix products; by default as in training")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute (default: cpu)")
    parser.add_number("--threads", "processor threads; by default all")
    parser.add_argument("--accept-changes", action="store_true", help=folder.ACCEPT_HELP)
    return parser


def translate(arguments: Sequence[str] | None = None) -> int:
    """Translate as the command line says."""
    options = build_parser().parse_args(arguments)
    check_decoding(options.beam_size, options.n_best, options.length_penalty, options.batch_size)
    run_dir = Path(options.run_dir)
    check_output(options.output, "output", folder.files_of(run_dir))
    if options.accept_changes:
        folder.accept_changes(run_dir)
    limit_threads(options.threads)
    translator = Translator.load(options.run_dir, options.checkpoint, options.precision, options.device)
    codec = translator.codec
    sources = codec.encode_sources(translator.model.source.read(options.input))
    if sources.lengths.any():
        codec.source.require_known(sources, "standard input" if options.input == "-" else options.input)
    decoding = options.beam_size, options.length_penalty, options.n_best, options.batch_size
    found = translator.search_ids(sources, *decoding)
    lines = []
    for number, hypotheses in enumerate(found, start=1):
        for hypothesis in hypotheses:
            sentence = codec.decode(hypothesis.ids)
            lines.append(sentence if options.n_best == 1 else f"{number}\t{hypothesis.score:.4f}\t{sentence}")
    write_output(options.output, "".join(f"{line}\n" for line in lines))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(translate, arguments)
