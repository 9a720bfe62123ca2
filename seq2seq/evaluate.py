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

from seq2seq import metrics
from seq2seq.decoding.translator import Translator
from seq2seq.run import config_file, folder, registry
from seq2seq.run.cli import limit_threads, run_command
from seq2seq.run.config import Config
from seq2seq.run.devices import DEVICES, PRECISIONS
from seq2seq.run.locking import locked
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import STDOUT, check_output, print_results, write_output
from seq2seq.sources import Dataset, EncodedSplit, Source
from seq2seq.training.validation import is_lowercase, split_losses, target_language


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.evaluate", description="Score a trained run.")
    parser.add_text("run_dir", "folder of a training run")
    parser.add_text("--split", "train, valid or test; by default test where there is one, else valid")
    parser.add_text("--data-dir", "folder that holds the data sets, or your files; by default as in training")
    parser.add_text("--data", "where the training files lie now; by default as in training")
    parser.add_text("--valid", "where the validation files lie now; by default as in training")
    parser.add_text("--test", "other files to score: CORPUS.tsv[.gz], or SRC,TRG (plain or .gz)")
    parser.add_number("--beam-size", "hypotheses kept at each step; 1 is greedy", 1)
    parser.add_number("--length-penalty", "scores are divided by length to this power", 1.0)
    parser.add_number("--batch-size", "sentences decoded together", 64)
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument(
        "--precision", choices=PRECISIONS,
        help="of the matrix products that translate; by default as in training. bf16: also say how it changes BLEU",
    )  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute (default: cpu)")
    parser.add_text("--json", "write the figures to this file as well")
    parser.add_number("--threads", "processor threads; by default all")
    parser.add_argument("--accept-changes", action="store_true", help=folder.ACCEPT_HELP)
    return parser


def evaluate(arguments: Sequence[str] | None = None) -> int:
    """Score as the command line says."""
    options = build_parser().parse_args(arguments)
    run_dir = Path(options.run_dir)
    if options.json is None:
        check_output(STDOUT, "json")
    else:
        check_output(options.json, "json", folder.files_of(run_dir))
    limit_threads(options.threads)
    if options.accept_changes:
        folder.accept_changes(run_dir)
    config = config_file.load(run_dir)
    dataset = _dataset(config, options, run_dir)
    split = options.split or ("test" if "test" in dataset.splits else "valid")
    translator = Translator.load(run_dir, options.checkpoint, options.precision, options.device)
    encoded = translator.codec.encode_pairs(dataset.split(split))
    translator.codec.source.require_known(encoded.src, options.test or f"split {split}")
    decoding = options.beam_size, options.length_penalty, options.batch_size
    result = score(translator, dataset, split, *decoding, encoded)
    if options.precision == "bf16":
        exact = Translator(translator.model, translator.codec, config, "fp32")
        result["bleu_fp32"] = _bleu(exact, dataset, split, *decoding, encoded)
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
    encoded: EncodedSplit | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All figures of one split; ``encoded`` is the split in ids, where it has been encoded already.

    Returns:
        loss, ppl_forced, ppl_free; bleu and chrf of detokenised text and bleu_tokens of tokens as the model sees them
        (comparable with the tutorials), each with its signature and perhaps a note; exact_match in percent; how they
        were decoded. A figure that is not finite, or means nothing, is None.
    """
    codec = translator.codec
    encoded = encoded or codec.encode_pairs(dataset.split(split))
    forced, free, num_tokens = split_losses(translator, encoded)
    sources = translator.codec.source.spoken(encoded.src, [src for src, _ in dataset.split(split)])
    found = translator.search_ids(sources, beam_size, length_penalty, 1, batch_size)
    hypotheses = [codec.decode(best[0].ids) for best in found]
    tokens = [" ".join(codec.trg_vocabulary.decode(best[0].ids)) for best in found]
    references, lowercase = dataset.references(split), is_lowercase(codec)
    token_references = [[" ".join(codec.target_tokens(ref)) for ref in refs] for refs in references]
    scores = {
        "bleu": metrics.bleu(hypotheses, references, lowercase, language=target_language(translator, dataset)),
        "chrf": metrics.chrf(hypotheses, references, lowercase),
        "bleu_tokens": metrics.bleu(tokens, token_references, lowercase, tokenize="none"),
    }
    return {
        "data": dataset.name, "split": split, "sentences": len(sources), "target_tokens": num_tokens,
        "beam_size": beam_size, "length_penalty": length_penalty if beam_size > 1 else None,
        "precision": translator.precision,
        "loss": _finite(forced / max(num_tokens, 1)), "ppl_forced": _finite(metrics.perplexity(forced, num_tokens)),
        "ppl_free": _finite(metrics.perplexity(free, num_tokens)),
        "exact_match": _finite(metrics.exact_match(hypotheses, references, lowercase)),
        **{name: _finite(figure.value) for name, figure in scores.items()},
        "signatures": {name: figure.signature for name, figure in scores.items()},
        "notes": {name: figure.note for name, figure in scores.items() if figure.note},
        "bleu_fp32": None,
    }  # fmt: skip


def _finite(value: float) -> float | None:
    """The figure, or None: JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None


def _bleu(
    translator: Translator, dataset: Dataset, split: str, beam_size: int, length_penalty: float, batch_size: int,
    encoded: EncodedSplit,
) -> float | None:  # fmt: skip
    """BLEU alone, as in ``score``."""
    sources = translator.codec.source.spoken(encoded.src, [src for src, _ in dataset.split(split)])
    hypotheses = translator.translate_ids(sources, beam_size, length_penalty, batch_size)
    references, lowercase = dataset.references(split), is_lowercase(translator.codec)
    return _finite(metrics.bleu(hypotheses, references, lowercase, language=target_language(translator, dataset)).value)


def _table(result: dict[str, Any]) -> list[str]:
    decoder = "greedy" if result["beam_size"] == 1 else f"beam {result['beam_size']}"
    decoder += "" if result["precision"] == "fp32" else f", {result['precision']}"
    lines = [f"{result['data']} {result['split']}: {result['sentences']:,} sentences, {decoder}"]
    lines += [f"  {name:12} {_cell(result, name)}" for name in ("loss", "ppl_forced", "ppl_free")]
    lines += [f"  {'exact_match':12} {_cell(result, 'exact_match')} %"]
    for name, signature in result["signatures"].items():
        lines += [f"  {name:12} {_cell(result, name)}   {signature}"]
        lines += [f"  {'':22}   ({result['notes'][name]})"] if name in result["notes"] else []
    if result["bleu_fp32"] is not None:
        change = result["bleu"] - result["bleu_fp32"]
        lines += [f"  {'bleu_fp32':12} {_cell(result, 'bleu_fp32')}   bf16 changes it by {change:+.3f}"]
    return lines


def _cell(result: dict[str, Any], name: str) -> str:
    return f"{metrics.shown(result[name], 3):>9}"


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(evaluate, arguments)
