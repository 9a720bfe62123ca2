"""``python -m seq2seq.plot RUN... --output FILE``: curves of runs, maps of attention, BLEU by length, vectors."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("plot"))

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.analysis.lengths import Scored
from seq2seq.decoding import runs
from seq2seq.plots import attention, curves, drawing, lengths, vectors
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import STDOUT, check_output, write_bytes
from seq2seq.sources.specs import files_named
from seq2seq.training.validation import is_lowercase, target_language


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.plot",
        description="Draw the learning curves of runs, or what is asked for instead of them.",
    )
    parser.add_text("run_dir", "folder of a training run; of several, all are on one page", several=True)
    parser.add_text("--output", f"file to write, which ends in {', '.join(drawing.FORMS)}")
    parser.add_text("--over", f"curves over {', '.join(curves.OVER)} (default: steps)", "steps")
    parser.add_text("--attention", "instead: what the translations of this file's lines attend to; - is standard input")
    parser.add_argument("--lengths", action="store_true", help="instead: BLEU by the length of the source")
    parser.add_text("--vectors", "instead: the vectors of this file's lines in a plane; - is standard input")
    runs.add_scoring(parser)
    runs.add_computing(parser, "of the matrix products that translate; by default as in training")
    return parser


def plot(arguments: Sequence[str] | None = None) -> int:
    """Draw as the command line says."""
    options = build_parser().parse_args(arguments)
    if options.output in (None, STDOUT):
        raise UserError(f"output is {options.output or 'missing'}; expected --output FILE.png, .svg or .html")
    drawing.require_form(options.output)
    drawing.require_matplotlib()
    read = [*runs.files(options), *files_named(options.attention, options.vectors)]
    check_output(options.output, "output", read)
    figure, title = _figure(options)
    write_bytes(options.output, [drawing.as_bytes(figure, Path(options.output).suffix.lower(), title)])
    return 0


def _figure(options: Namespace) -> tuple[Any, str]:
    """What is asked for, and its title."""
    asked = [name for name in ("attention", "lengths", "vectors") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)} are given; expected one of them")
    if not asked:
        histories = {name: curves.history_of(Path(name)) for name in options.run_dir}
        return curves.curves(histories, options.over), "Learning curves"
    if asked == ["lengths"]:
        names = dict.fromkeys(options.run_dir)
        return lengths.lengths_figure({name: _scored(options, name) for name in names}), "BLEU by length of the source"
    if len(options.run_dir) > 1:
        raise UserError(f"{asked[0]}: there are {len(options.run_dir)} runs; expected one")
    runs.begin(options)
    translator = runs.translator(options)
    raw = runs.read(translator.settings, options, getattr(options, asked[0]))
    if asked == ["vectors"]:
        labels = [translator.model.source.label(each) for each in raw]
        return vectors.plane(translator.encode(raw, options.batch_size), labels), "Vectors of sentences"
    searched = runs.asked(options)
    searched.pop("replace_unk")
    return attention.maps(attention.attended(translator, raw, **searched)), "Attention"


def _scored(options: Namespace, run_dir: str) -> Scored:
    """The translations of a run's split, by which it is scored."""
    alone = Namespace(**{**vars(options), "run_dir": [run_dir]})
    asked = runs.asked(alone)
    runs.begin(alone)
    translator, dataset = runs.with_data(alone)
    split = runs.split_of(alone, dataset)
    raw = [source for source, _ in dataset.split(split)]
    items = translator.codec.encode_sources(raw)
    _, texts = runs.translated(translator, items, raw, **asked)
    language, lowercase = target_language(translator, dataset), is_lowercase(translator.codec)
    return Scored(items.lengths, texts, dataset.references(split), language, lowercase)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(plot, arguments)
