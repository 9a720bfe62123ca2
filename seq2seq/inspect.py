"""``python -m seq2seq.inspect DATA``: what is in a corpus, what is wrong with it, and which settings suit it."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("inspect"))

import dataclasses
import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from seq2seq.inspection.contract import Corpus, Finding, Item, examine
from seq2seq.inspection.figures import SIDES, figures
from seq2seq.inspection.page import page
from seq2seq.inspection.suggestions import Suggestion, suggestions
from seq2seq.run.cli import run_command
from seq2seq.run.messages import counted, one_line
from seq2seq.run.parser import OneLineParser
from seq2seq.run.settings import add_setting
from seq2seq.run.streams import check_output, print_results, write_bytes, write_output
from seq2seq.sources import Reading, load_dataset
from seq2seq.sources.corpus import read_files
from seq2seq.sources.named import is_named
from seq2seq.sources.specs import files_named

_SHOWN = 2  # examples of a finding that are printed
_MOST_CHARACTERS = 70  # of a side of them


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.inspect",
        description="Look through the pairs of a corpus, which is held in memory: a million pairs take some 1.1 GB.",
    )
    parser.add_text("data", "the corpus, in the forms of --data of seq2seq.train")
    parser.add_text("--valid", "validation files; by default a folder's own, or none")
    parser.add_text("--test", "test files; by default a folder's own, or none")
    parser.add_text("--data-dir", "folder that holds the public data sets; by default they are downloaded and checked")
    parser.add_text("--src-language", "code of the source's language; by default as the names of the files say")
    parser.add_text("--trg-language", "the same for the target")
    for field in dataclasses.fields(Reading):
        add_setting(parser, field.name, field.metadata["help"], default=field.default)
    parser.add_text("--html", "write all of it to this file, as a page")
    parser.add_text("--json", "write all of it to this file")
    return parser


def inspect(arguments: Sequence[str] | None = None) -> int:
    """Look through a corpus as the command line says."""
    options = build_parser().parse_args(arguments)
    for name in ("html", "json"):
        if getattr(options, name) is not None:
            check_output(getattr(options, name), name, files_named(options.data, options.valid, options.test))
    corpus, notes = _read(options)
    found = figures(corpus)
    findings = list(examine(corpus))
    settings = suggestions(corpus, found, findings)
    if options.html is not None:
        write_bytes(options.html, [page(corpus.name, found, findings, settings)])
    if options.json is not None:
        write_output(options.json, json.dumps(_as_json(found, findings, settings), indent=1, ensure_ascii=False) + "\n")
    print_results("\n".join([*notes, *_figures(found), *_findings(findings), *_settings(settings)]))
    return 0


def _read(options: Namespace) -> tuple[Corpus, list[str]]:
    """The pairs that are asked for, as they are in their files, and what is to be told of the reading."""
    reading = Reading(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Reading)})
    reading.check()
    languages = (options.src_language, options.trg_language)
    items: list[Item] = []
    if is_named(options.data):
        dataset = load_dataset(
            options.data, data_dir=options.data_dir, src_language=languages[0], trg_language=languages[1],
            valid=options.valid, test=options.test, reading=reading,
        )  # fmt: skip
        for split, pairs in dataset.splits.items():
            items += [
                Item(src, trg, split, f"{dataset.name} {split}", n) for n, (src, trg) in enumerate(pairs, start=1)
            ]
        return Corpus(dataset.name, dataset.src_language, dataset.trg_language, items), []
    found = read_files(options.data, languages, options.valid, options.test, reading=reading)
    skipped = 0
    for split, tables in found.tables.items():
        for name, table in tables:
            skipped += table.unreadable
            items += [Item(*pair, split, name, line) for pair, line in zip(table.pairs, table.lines, strict=True)]
    notes = [counted(skipped, "line", "cannot be read, and are left out")] if skipped else []
    return Corpus(options.data, *found.languages, items), notes


def _figures(found: dict[str, Any]) -> list[str]:
    splits = ", ".join(counted(count, f"pair of {split}") for split, count in found["pairs"].items())
    lines = [f"{one_line(found['name'])} {'-'.join(found['languages'])}: {splits}"]
    for name in SIDES:
        words, vocabulary = found[name]["words"], found[name]["vocabulary"]
        lines.append(
            f"  {name}: {counted(words['number'], 'word')}; a line has {words['median']} (median), {words['q99']} "
            f"(99 %), {words['longest']:,} (longest); {vocabulary['distinct']:,} distinct, "
            f"{vocabulary['once']:,} of them once"
        )
    return lines


def _findings(findings: Sequence[Finding]) -> list[str]:
    lines = [f"findings: {len(findings)}" if findings else "findings: none"]
    for finding in findings:
        lines.append(
            f"  {finding.level}: {counted(finding.count, 'pair', finding.message)}; {finding.advice} [{finding.name}]"
        )
        lines += [f"    {_example(item)}" for item in finding.examples[:_SHOWN]]
    return lines


def _example(item: Item) -> str:
    src, trg = (text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + " ..." for text in item[:2])
    return one_line(f"{item.file}:{item.line}: {src!r} | {trg!r}")


def _settings(settings: Sequence[Suggestion]) -> list[str]:
    return ["settings that suit:", *(f"  {one.options}: {one.reason}" for one in settings)] if settings else []


def _as_json(found: dict[str, Any], findings: Sequence[Finding], settings: Sequence[Suggestion]) -> dict[str, Any]:
    return {
        **found,
        "findings": [
            {**dataclasses.asdict(finding), "examples": [item._asdict() for item in finding.examples]}
            for finding in findings
        ],
        "settings": [one._asdict() for one in settings],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(inspect, arguments)
