"""``python -m seq2seq.evaluate RUN_DIR``: the scores of a run on one split, each with its signature."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("evaluate"))

import json
import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seq2seq.decoding import runs
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.search_errors import search_report
from seq2seq.decoding.translator import Translator
from seq2seq.metrics import METRICS, Score, bleu, exact_match, perplexity, shown
from seq2seq.run.cli import run_command
from seq2seq.run.messages import counted
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import STDOUT, check_output, check_output_folder, print_results, write_output
from seq2seq.shipping.model_file import is_model_file
from seq2seq.shipping.quantise import NARROW
from seq2seq.sources import Dataset, EncodedSplit, Items
from seq2seq.training.validation import is_lowercase, split_losses, target_language

_TOKENS = "bleu_tokens"  # BLEU of tokens as the model sees them, which needs a model
_DEFAULT = ("bleu", "chrf", _TOKENS)
KNOWN = (*METRICS, _TOKENS)


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.evaluate", description="Score a trained run.")
    runs.add_scoring(parser)
    parser.add_text(
        "--metrics", f"of {', '.join(KNOWN)}, with commas between them; by default exact_match, bleu, chrf, bleu_tokens"
    )
    parser.add_text("--json", "write the figures to this file as well")
    parser.add_text("--output", "write every sentence with its translation and scores to this folder")
    parser.add_text("--html", "write a page on what goes wrong to this file")
    runs.add_options(
        parser, "they translate together",
        "of the matrix products that translate, or form of the weights; by default as in training. Of bf16, f16 and "
        "int8: also say how it changes BLEU",
    )  # fmt: skip
    return parser


def evaluate(arguments: Sequence[str] | None = None) -> int:
    """Score as the command line says."""
    options = build_parser().parse_args(arguments)
    asked = runs.asked(options)
    names = None if options.metrics is None else runs.metric_names(options.metrics, KNOWN)
    _check_outputs(options)
    runs.begin(options)
    translator, dataset = runs.with_data(options)
    split = runs.split_of(options, dataset)
    encoded = translator.codec.encode_pairs(dataset.split(split))
    translator.codec.source.require_known(encoded.src, options.test or f"split {split}")
    result, found = scored(translator, dataset, split, **asked, encoded=encoded, metrics=names)
    if options.precision in ("bf16", *NARROW) and "bleu" in result:
        exact = _in_fp32(translator, options)
        result["bleu_fp32"] = None if exact is None else _bleu(exact, dataset, split, encoded, **asked)
    if options.json is not None:
        write_output(options.json, json.dumps(result, indent=1) + "\n")
    if options.output is not None or options.html is not None:
        from seq2seq.analysis import of_run

        of_run.write(translator, dataset, split, encoded, result, found, options.output, options.html)
    print_results("\n".join(_table(result)), options.json)
    return 0


def _in_fp32(translator: Translator, options: Namespace) -> Translator | None:
    """The same as trained; None where but the rounded weights are there."""
    if options.precision == "bf16":
        return translator.in_precision("fp32")
    if any(map(is_model_file, map(Path, options.run_dir))):
        return None
    return runs.translator(Namespace(**{**vars(options), "precision": "fp32"}))


def _check_outputs(options: Namespace) -> None:
    """UserError where what is asked for could not be written: said before the work."""
    if options.json is None:
        check_output(STDOUT, "json")
    for name in ("json", "html"):
        if getattr(options, name) is not None:
            check_output(getattr(options, name), name, runs.files(options))
    if options.output is not None:
        check_output_folder(options.output, "output")


def score(translator: Translator, dataset: Dataset, split: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    """All figures of one split; arguments, figures and errors as of ``scored``."""
    return scored(translator, dataset, split, *arguments, **options)[0]


class Found(NamedTuple):
    """What was found for a split, and the text that it gives."""

    best: list[Hypothesis]
    texts: list[str]


def scored(
    translator: Translator, dataset: Dataset, split: str, beam_size: int, length_penalty: float, batch_size: int,
    encoded: EncodedSplit | None = None, replace_unk: bool = False, metrics: Sequence[str] | None = None,
    **options: Any,
) -> tuple[dict[str, Any], Found]:  # fmt: skip
    """All figures of one split, and what they are of.

    Args:
        beam_size, length_penalty, batch_size, options: as of ``Translator.search``; replace_unk as of ``translate``.
        encoded: the split in ids, where it has been encoded already.
        metrics: names of those in ``seq2seq.metrics``, and "bleu_tokens"; without it those below.

    Returns:
        loss, ppl_forced, ppl_free; bleu and chrf of detokenised text and bleu_tokens of tokens as the model sees them
        (comparable with the tutorials), each with its signature and perhaps a note; exact_match in percent; how they
        were decoded; of exact search a report. A figure that is not finite, or means nothing, is None.

    Raises:
        UserError: an unknown metric, or as of ``Translator.search``.
    """
    names = _DEFAULT if metrics is None else runs.metric_names(metrics, KNOWN)
    codec = translator.codec
    encoded = encoded or codec.encode_pairs(dataset.split(split))
    forced, free, num_tokens = _losses(translator, encoded)
    raw = [src for src, _ in dataset.split(split)]
    asked = {"beam_size": beam_size, "length_penalty": length_penalty, "batch_size": batch_size, **options}
    found, hypotheses = runs.translated(translator, encoded.src, raw, replace_unk, **asked)
    sources, references = codec.source.spoken(encoded.src, raw), dataset.references(split)
    scores = {name: _figure(name, translator, dataset, split, found, hypotheses) for name in names}
    hits = {} if metrics is not None else {"exact_match": exact_match(hypotheses, references, is_lowercase(codec))}
    values = hits | {name: figure.value for name, figure in scores.items()}
    result = {
        "data": dataset.name, "split": split, "models": len(translator.models),
        "sentences": len(sources), "target_tokens": num_tokens,
        **runs.searched(replace_unk, **asked), "precision": translator.precision,
        "loss": _finite(forced / max(num_tokens, 1)), "ppl_forced": _finite(perplexity(forced, num_tokens)),
        "ppl_free": _finite(perplexity(free, num_tokens)),
        **{name: _finite(value) for name, value in values.items()},
        "signatures": {name: figure.signature for name, figure in scores.items()},
        "notes": {name: figure.note for name, figure in scores.items() if figure.note},
        "bleu_fp32": None, "exact": _exact_report(translator, sources, found, references, asked),
    }  # fmt: skip
    return result, Found(found, hypotheses)


def _figure(
    name: str, translator: Translator, dataset: Dataset, split: str, found: Sequence[Hypothesis],
    hypotheses: Sequence[str],
) -> Score:  # fmt: skip
    """A metric of what was found for a split, and of the text that it gives."""
    codec, references = translator.codec, dataset.references(split)
    if name != _TOKENS:
        metric = METRICS[name].suited(is_lowercase(codec), target_language(translator, dataset))
        return metric.score(hypotheses, references)
    tokens = [" ".join(codec.trg_vocabulary.decode(best.ids)) for best in found]
    token_references = [[" ".join(codec.target_tokens(ref)) for ref in refs] for refs in references]
    return bleu(tokens, token_references, is_lowercase(codec), tokenize="none")


def _losses(translator: Translator, encoded: EncodedSplit) -> tuple[float, float, int]:
    """As ``split_losses``; several models together are not given their own words one by one, so there it is NaN."""
    if len(translator.models) == 1:
        return split_losses(translator, encoded)
    scores = translator.score_pairs(encoded)
    return -math.fsum(pair.log_prob for pair in scores), math.nan, sum(len(pair.log_probs) for pair in scores)


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


def _bleu(translator: Translator, dataset: Dataset, split: str, encoded: EncodedSplit, **asked: Any) -> float | None:
    """BLEU alone, as in ``score``."""
    raw = [src for src, _ in dataset.split(split)]
    found, hypotheses = runs.translated(translator, encoded.src, raw, **asked)
    return _finite(_figure("bleu", translator, dataset, split, found, hypotheses).value)


def _table(result: dict[str, Any]) -> list[str]:
    how = runs.how(result) + ("" if result["precision"] == "fp32" else f", {result['precision']}")
    how += f", {counted(result['models'], 'model')} together" if result["models"] > 1 else ""
    lines = [f"{result['data']} {result['split']}: {counted(result['sentences'], 'sentence')}, {how}"]
    lines += [f"  {name:12} {_cell(result, name)}" for name in ("loss", "ppl_forced", "ppl_free")]
    if "exact_match" in result.keys() - result["signatures"].keys():
        lines += [f"  {'exact_match':12} {_cell(result, 'exact_match')} %"]
    for name, signature in result["signatures"].items():
        lines += [f"  {name:12} {_cell(result, name)}   {signature}"]
        lines += [f"  {'':22}   ({result['notes'][name]})"] if name in result["notes"] else []
    if result["bleu_fp32"] is not None:
        change = f"{result['precision']} changes it by {result['bleu'] - result['bleu_fp32']:+.3f}"
        lines += [f"  {'bleu_fp32':12} {_cell(result, 'bleu_fp32')}   {change}"]
    return lines + ([] if result["exact"] is None else _exact_lines(result["exact"], result["beam_size"]))


def _exact_lines(report: dict[str, Any], beam_size: int) -> list[str]:
    """What exact search says of the beam and of the model."""
    meanings = {
        "search_errors": f"where a beam of {beam_size} missed what the model thinks likeliest",
        "model_errors": "where what the model thinks likeliest is no reference",
        "empty": "where what the model thinks likeliest is empty",
    }
    head = f"  exact search finished {report['proven']:,} of {counted(report['sentences'], 'sentence')}; of these"
    return [head, *(f"  {name:13} {shown(report[name], 1):>8} % {text}" for name, text in meanings.items())]


def _cell(result: dict[str, Any], name: str) -> str:
    return f"{shown(result[name], 3):>9}"


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(evaluate, arguments)
