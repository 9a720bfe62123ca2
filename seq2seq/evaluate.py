"""``python -m seq2seq.evaluate RUN_DIR``: the scores of a run on one split, each with its signature."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("evaluate"))

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq import metrics
from seq2seq.decoding import runs, settings
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.search_errors import search_report
from seq2seq.decoding.translator import Translator
from seq2seq.run import config_file, folder, registry
from seq2seq.run.cli import run_command
from seq2seq.run.config import Config
from seq2seq.run.locking import locked
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import STDOUT, check_output, print_results, write_output
from seq2seq.sources import Dataset, EncodedSplit, Items, Source
from seq2seq.training.validation import is_lowercase, split_losses, target_language


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.evaluate", description="Score a trained run.")
    parser.add_text("--split", "train, valid or test; by default test where there is one, else valid")
    parser.add_text("--data-dir", "folder that holds the data sets, or your files; by default as in training")
    parser.add_text("--data", "where the training files lie now; by default as in training")
    parser.add_text("--valid", "where the validation files lie now; by default as in training")
    parser.add_text("--test", "other files to score: CORPUS.tsv[.gz], or SRC,TRG (plain or .gz)")
    parser.add_argument("--replace-unk", action="store_true", help="<unk> becomes the source token most looked at")
    settings.add_options(parser)
    parser.add_text("--json", "write the figures to this file as well")
    runs.add_options(
        parser, "they translate together",
        "of the matrix products that translate; by default as in training. bf16: also say how it changes BLEU",
    )  # fmt: skip
    return parser


def evaluate(arguments: Sequence[str] | None = None) -> int:
    """Score as the command line says."""
    options = build_parser().parse_args(arguments)
    asked = settings.asked(options) | {"replace_unk": options.replace_unk}
    settings.decoding(**settings.asked(options))
    if options.json is None:
        check_output(STDOUT, "json")
    else:
        check_output(options.json, "json", runs.files(options))
    runs.begin(options)
    first = Path(options.run_dir[0])
    dataset = _dataset(config_file.load(first), options, first)
    split = options.split or ("test" if "test" in dataset.splits else "valid")
    translator = runs.translator(options)
    encoded = translator.codec.encode_pairs(dataset.split(split))
    translator.codec.source.require_known(encoded.src, options.test or f"split {split}")
    result = score(translator, dataset, split, **asked, encoded=encoded)
    if options.precision == "bf16":
        exact = translator.in_precision("fp32")
        result["bleu_fp32"] = _bleu(exact, dataset, split, **asked, encoded=encoded)
    if options.json is not None:
        write_output(options.json, json.dumps(result, indent=1) + "\n")
    print_results("\n".join(_table(result)), options.json)
    return 0


def _dataset(config: Config, options: argparse.Namespace, run_dir: Path) -> Dataset:
    """The data set of the run, or the user's test files; a file that changed since the training is an error."""
    source: Source = registry.build("source", config)
    if options.test:
        src_language, trg_language = config.src_language or "xx", config.trg_language or "xx"
        pairs, references = source.read_examples("test", options.test)
        return Dataset(options.test, src_language, trg_language, {"test": pairs}, {"test": references})
    here = config_file.moved(config, {name: getattr(options, name) for name in ("data", "valid", "data_dir")})
    dataset = source.load(dataclasses.replace(here, data_dir=options.data_dir or config.data_dir))
    with locked(run_dir) if options.accept_changes else nullcontext():
        folder.require_same_data(dataset, run_dir, options.accept_changes)
    return dataset


def score(
    translator: Translator, dataset: Dataset, split: str, beam_size: int, length_penalty: float, batch_size: int,
    encoded: EncodedSplit | None = None, replace_unk: bool = False, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """All figures of one split.

    Args:
        beam_size, length_penalty, batch_size, options: as of ``Translator.search``; replace_unk as of ``translate``.
        encoded: the split in ids, where it has been encoded already.

    Returns:
        loss, ppl_forced, ppl_free; bleu and chrf of detokenised text and bleu_tokens of tokens as the model sees them
        (comparable with the tutorials), each with its signature and perhaps a note; exact_match in percent; how they
        were decoded; of exact search a report. A figure that is not finite, or means nothing, is None.
    """
    codec = translator.codec
    encoded = encoded or codec.encode_pairs(dataset.split(split))
    forced, free, num_tokens = _losses(translator, encoded)
    texts = [src for src, _ in dataset.split(split)]
    sources = translator.codec.source.spoken(encoded.src, texts)
    asked = {"beam_size": beam_size, "length_penalty": length_penalty, "batch_size": batch_size, **options}
    found, hypotheses = _translated(translator, sources, texts, asked, replace_unk)
    tokens = [" ".join(codec.trg_vocabulary.decode(best.ids)) for best in found]
    references, lowercase = dataset.references(split), is_lowercase(codec)
    token_references = [[" ".join(codec.target_tokens(ref)) for ref in refs] for refs in references]
    scores = {
        "bleu": metrics.bleu(hypotheses, references, lowercase, language=target_language(translator, dataset)),
        "chrf": metrics.chrf(hypotheses, references, lowercase),
        "bleu_tokens": metrics.bleu(tokens, token_references, lowercase, tokenize="none"),
    }
    return {
        "data": dataset.name, "split": split, "sentences": len(sources), "target_tokens": num_tokens,
        **_searched(asked, replace_unk), "precision": translator.precision,
        "loss": _finite(forced / max(num_tokens, 1)), "ppl_forced": _finite(metrics.perplexity(forced, num_tokens)),
        "ppl_free": _finite(metrics.perplexity(free, num_tokens)),
        "exact_match": _finite(metrics.exact_match(hypotheses, references, lowercase)),
        **{name: _finite(figure.value) for name, figure in scores.items()},
        "signatures": {name: figure.signature for name, figure in scores.items()},
        "notes": {name: figure.note for name, figure in scores.items() if figure.note},
        "bleu_fp32": None, "exact": _exact_report(translator, sources, found, references, asked),
    }  # fmt: skip


def _losses(translator: Translator, encoded: EncodedSplit) -> tuple[float, float, int]:
    """As ``split_losses``; several models together are not given their own words one by one, so there it is NaN."""
    if len(translator.models) == 1:
        return split_losses(translator, encoded)
    scores = translator.score_pairs(encoded)
    return -math.fsum(pair.log_prob for pair in scores), math.nan, sum(len(pair.log_probs) for pair in scores)


def _translated(
    translator: Translator, sources: Items, texts: Sequence[str], asked: dict[str, Any], replace_unk: bool
) -> tuple[list[Hypothesis], list[str]]:
    """The best hypothesis of each source, and its text."""
    found = [best for best, *_ in translator.search_ids(sources, **asked, alignment=replace_unk)]
    given: Sequence[str | None] = texts if replace_unk else [None] * len(texts)
    return found, [translator.text_of(best, text) for best, text in zip(found, given, strict=True)]


def _searched(asked: dict[str, Any], replace_unk: bool) -> dict[str, Any]:
    """How the translations were found: the strategy, the beam, and what else is not as by default."""
    strategy = settings.decoding(**asked).strategy
    changed = settings.changed(asked) | ({"replace_unk": True} if replace_unk else {})
    beam_size = changed.pop("beam_size", 1)
    has_penalty = hasattr(strategy.options, "length_penalty")
    changed.pop("length_penalty", None)
    return {
        "strategy": strategy.name, "beam_size": beam_size,
        "length_penalty": asked["length_penalty"] if has_penalty else None, "search_options": changed,
    }  # fmt: skip


def _exact_report(
    translator: Translator, sources: Items, found: Sequence[Hypothesis], references: Sequence[Sequence[str]],
    asked: dict[str, Any],
) -> dict[str, Any] | None:  # fmt: skip
    """Of exact search, what beam search with the same options errs in; None of another."""
    if asked.get("strategy") != "exact":
        return None
    others = {name: value for name, value in asked.items() if name != "exact_steps"}
    beams = translator.search_ids(sources, **others | {"strategy": "beam", "length_penalty": 0.0})
    vocabulary, tokens = translator.codec.trg_vocabulary, translator.codec.target_tokens
    right = [{tuple(vocabulary.encode(tokens(reference))) for reference in refs} for refs in references]
    searched = np.flatnonzero(sources.lengths).tolist()  # none is asked for blank sentences
    return search_report([found[n] for n in searched], [beams[n][0] for n in searched], [right[n] for n in searched])


def _finite(value: float) -> float | None:
    """The figure, or None: JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None


def _bleu(
    translator: Translator, dataset: Dataset, split: str, beam_size: int, length_penalty: float, batch_size: int,
    encoded: EncodedSplit, replace_unk: bool = False, **options: Any,
) -> float | None:  # fmt: skip
    """BLEU alone, as in ``score``."""
    texts = [src for src, _ in dataset.split(split)]
    sources = translator.codec.source.spoken(encoded.src, texts)
    asked = {"beam_size": beam_size, "length_penalty": length_penalty, "batch_size": batch_size, **options}
    _, hypotheses = _translated(translator, sources, texts, asked, replace_unk)
    references, lowercase = dataset.references(split), is_lowercase(translator.codec)
    return _finite(metrics.bleu(hypotheses, references, lowercase, language=target_language(translator, dataset)).value)


def _table(result: dict[str, Any]) -> list[str]:
    how = [result["strategy"] + (f" {result['beam_size']}" if result["beam_size"] > 1 else "")]
    how += [f"{name} {value}" for name, value in result["search_options"].items()]
    how += [] if result["precision"] == "fp32" else [result["precision"]]
    lines = [f"{result['data']} {result['split']}: {result['sentences']:,} sentences, {', '.join(how)}"]
    lines += [f"  {name:12} {_cell(result, name)}" for name in ("loss", "ppl_forced", "ppl_free")]
    lines += [f"  {'exact_match':12} {_cell(result, 'exact_match')} %"]
    for name, signature in result["signatures"].items():
        lines += [f"  {name:12} {_cell(result, name)}   {signature}"]
        lines += [f"  {'':22}   ({result['notes'][name]})"] if name in result["notes"] else []
    if result["bleu_fp32"] is not None:
        change = result["bleu"] - result["bleu_fp32"]
        lines += [f"  {'bleu_fp32':12} {_cell(result, 'bleu_fp32')}   bf16 changes it by {change:+.3f}"]
    return lines + ([] if result["exact"] is None else _exact_lines(result["exact"], result["beam_size"]))


def _exact_lines(report: dict[str, Any], beam_size: int) -> list[str]:
    """What exact search says of the beam and of the model."""
    meanings = {
        "search_errors": f"where a beam of {beam_size} missed what the model thinks likeliest",
        "model_errors": "where what the model thinks likeliest is no reference",
        "empty": "where what the model thinks likeliest is empty",
    }
    head = f"  exact search finished {report['proven']:,} of {report['sentences']:,} sentences; of these"
    return [head, *(f"  {name:13} {metrics.shown(report[name], 1):>8} % {text}" for name, text in meanings.items())]


def _cell(result: dict[str, Any], name: str) -> str:
    return f"{metrics.shown(result[name], 3):>9}"


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(evaluate, arguments)
