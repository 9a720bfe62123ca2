"""``python -m seq2seq.compare RUN_A RUN_B``: two systems' scores side by side, and whether their difference is luck.

A system is a run, which translates, or a file of translations. Both belong to the same sources: those of the runs'
data, or those that a file of references belongs to.
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("compare"))

import json
import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.decoding import runs
from seq2seq.metrics import METRICS, Comparison, paired_bootstrap, shown
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import STDOUT, check_output, print_results, write_bytes, write_output
from seq2seq.shipping.model_file import begins_as_one
from seq2seq.sources import read_lines
from seq2seq.sources.row_files import targets_of
from seq2seq.sources.specs import suffix_language
from seq2seq.training.validation import is_lowercase, target_language

_DEFAULT = "bleu,chrf,exact_match"


class References(NamedTuple):
    """What translations are compared with: its name, of each sentence the accepted ones, and what metrics must know."""

    name: str
    accepted: list[tuple[str, ...]]
    language: str
    lowercase: bool = False
    split: str | None = None
    sources: list[str] | None = None  # for people


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.compare",
        description="Score two systems side by side, and say how sure their difference is (Koehn, 2004).",
    )
    parser.add_text("systems", "two of: a run's folder, a model file, or a text file of translations", several=True)
    parser.add_text("--metrics", f"of {', '.join(METRICS)}, with commas between them (default: {_DEFAULT})", _DEFAULT)
    parser.add_text("--references", "text file, a line a sentence, of several with tabs between; for files alone")
    parser.add_number("--resamples", "sets of sentences that are drawn", 1000)
    parser.add_text("--json", "write the figures to this file as well")
    parser.add_text("--html", "write a page with both side by side to this file")
    runs.add_scoring(parser)
    runs.add_computing(parser, "of the matrix products that translate; by default as in training")
    return parser


def compare(arguments: Sequence[str] | None = None) -> int:
    """Compare as the command line says."""
    options = build_parser().parse_args(arguments)
    names = runs.metric_names(options.metrics)
    asked = runs.asked(options)
    folders = _folders(options)
    given = [Path(path) for path in (*options.systems, options.references) if path is not None]
    inputs = [*given, *(file for each in folders.values() for file in runs.files(each))]
    if options.json is None:
        check_output(STDOUT, "json")
    for name in ("json", "html"):
        if getattr(options, name) is not None:
            check_output(getattr(options, name), name, inputs)
    references, (first, second) = _outputs(options, folders, asked)
    result = {
        "data": references.name, "split": references.split, "sentences": len(references.accepted),
        "systems": options.systems, **(runs.searched(**asked) if folders else {}), "resamples": options.resamples,
        "metrics": {name: compared(name, first, second, references, options.resamples) for name in names},
    }  # fmt: skip
    if options.json is not None:
        write_output(options.json, json.dumps(result, indent=1) + "\n")
    if options.html is not None:
        from seq2seq.analysis.beside import side_by_side

        language, lowercase = references.language, references.lowercase
        page = side_by_side(result, references.sources, references.accepted, (first, second), language, lowercase)
        write_bytes(options.html, [page])
    print_results("\n".join(_table(result)), options.json)
    return 0


def _folders(options: Namespace) -> dict[str, Namespace]:
    """Of the systems that are runs or model files, the options with which each would be scored alone."""
    if len(options.systems) != 2:
        raise UserError(f"systems: got {len(options.systems)}; expected two, each a run or a file of translations")
    systems = [path for path in options.systems if Path(path).is_dir() or begins_as_one(Path(path))]
    folders = {path: Namespace(**vars(options), run_dir=[path]) for path in systems}
    if not folders and options.references is None:
        raise UserError("references: is missing; expected --references FILE, since neither system is a run")
    if folders and options.references is not None:
        raise UserError(f"references is {options.references!r}; a run has those of its data, or of --test")
    return folders


def _outputs(
    options: Namespace, folders: dict[str, Namespace], asked: dict[str, Any]
) -> tuple[References, list[list[str]]]:
    """What both systems are compared with, and their translations."""
    found = {path: _of_run(folder, asked) for path, folder in folders.items()}
    of_runs = [references for references, _ in found.values()]
    if not of_runs:
        of_runs = [_of_file(options.references)]
    first, last = of_runs[0], of_runs[-1]
    if first.accepted != last.accepted:
        raise UserError(
            f"{options.systems[1]}: its {last.split} sentences are others than those of {options.systems[0]}; "
            "expected two runs on the same data, or --test FILES"
        )
    lowercase = first.lowercase or last.lowercase
    texts = [found[path][1] if path in found else _lines(path, first) for path in options.systems]
    return first._replace(lowercase=lowercase), texts


def _of_run(options: Namespace, asked: dict[str, Any]) -> tuple[References, list[str]]:
    """The references that belong to a run, and its translations."""
    runs.begin(options)
    translator, dataset = runs.with_data(options)
    split = runs.split_of(options, dataset)
    raw = [source for source, _ in dataset.split(split)]
    items = translator.codec.encode_sources(raw)
    translator.codec.source.require_known(items, options.test or f"split {split}")
    _, texts = runs.translated(translator, items, raw, **asked)
    language, lowercase = target_language(translator, dataset), is_lowercase(translator.codec)
    sources = [translator.model.source.label(each) for each in raw]
    return References(dataset.name, dataset.references(split), language, lowercase, split, sources), texts


def _of_file(path: str) -> References:
    return References(path, [targets_of(line) for line in read_lines(path)], suffix_language(path))


def _lines(path: str, references: References) -> list[str]:
    """A file of translations."""
    lines = read_lines(path, may_be_empty=True)
    if len(lines) != len(references.accepted):
        raise UserError(
            f"{path}: has {counted(len(lines), 'line')}; expected {len(references.accepted):,}, a translation of each "
            f"sentence of {references.name}" + (f" {references.split}" if references.split else "")
        )
    return lines


def compared(
    name: str, first: Sequence[str], second: Sequence[str], references: References, resamples: int
) -> dict[str, Any]:
    """A metric of two systems: their figures, the difference, its interval and p, as of ``paired_bootstrap``; None for
    what means nothing; and the signature of the metric, and its note."""
    metric = METRICS[name].suited(references.lowercase, references.language)
    score = metric.score(first, references.accepted)
    found = paired_bootstrap(metric, first, second, references.accepted, resamples)
    if math.isnan(score.value):
        found = Comparison(*[math.nan] * len(found))
    figures = {**found._asdict(), "difference": found.second - found.first}
    finite = {key: value if math.isfinite(value) else None for key, value in figures.items()}
    return {**finite, "higher_is_better": metric.higher_is_better, "signature": score.signature, "note": score.note}


def _table(result: dict[str, Any]) -> list[str]:
    data = " ".join(filter(None, (result["data"], result["split"])))
    searched = f", {runs.how(result)}" if "strategy" in result else ""
    sentences, resamples = counted(result["sentences"], "sentence"), counted(result["resamples"], "resample")
    lines = [f"{data}: {sentences}{searched}, {resamples}"]
    lines += [f"  {which:12} {path}" for which, path in zip(("first", "second"), result["systems"], strict=True)]
    lines += [f"  {'':12} {'first':>9} {'second':>9} {'difference':>10}   {'95 % of differences':19} {'p':>7}"]
    for name, row in result["metrics"].items():
        lines += [f"  {name:12} {_cells(row)}   {row['signature']}"]
        lines += [f"  {'':12}   ({row['note']})"] if row["note"] else []
    return lines


def _cells(row: dict[str, Any]) -> str:
    """The figures of a metric for people."""
    first, second, difference = (shown(row[key], 3) for key in ("first", "second", "difference"))
    low, high = (shown(row[key], 3) for key in ("low", "high"))
    return f"{first:>9} {second:>9} {difference:>10}   {f'{low} to {high}':19} {shown(row['p'], 4):>7}"


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(compare, arguments)
