"""``python -m seq2seq.score RUN_DIR``: how likely a run thinks given translations, a line a pair."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("score"))

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from seq2seq.decoding import runs
from seq2seq.decoding.pairs import PairScore
from seq2seq.metrics import perplexity
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import check_output, write_output


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.score", description="Say how likely given translations are.")
    parser.add_text("--data", "the pairs, in the forms of --data of seq2seq.train")
    parser.add_text("--src", "text file of the sources, instead of --data")
    parser.add_text("--trg", "text file of their translations")
    parser.add_text("--output", "file to write; - is standard output (default)", "-")
    parser.add_argument("--tokens", action="store_true", help="a line for each token instead, with its log p")
    parser.add_text("--json", "write the figures of all pairs together to this file")
    parser.add_number("--batch-size", "pairs scored together", 64)
    runs.add_reading(parser)
    runs.add_options(parser, "the mean of their probabilities")
    return parser


def score(arguments: Sequence[str] | None = None) -> int:
    """Score as the command line says."""
    options = build_parser().parse_args(arguments)
    check_output(options.output, "output", runs.files(options))
    if options.json is not None:
        check_output(options.json, "json", runs.files(options))
    runs.begin(options)
    form = _form(options)
    translator = runs.translator(options)
    pairs = runs.read_examples(translator.settings, options, *form).pairs
    scores = translator.score_pairs(translator.codec.encode_pairs(pairs), options.batch_size)
    lines = _token_lines(scores) if options.tokens else map(_line, scores)
    write_output(options.output, "".join(f"{line}\n" for line in lines))
    if options.json is not None:
        write_output(options.json, json.dumps(_figures(scores), indent=1) + "\n")
    return 0


def _form(options: Any) -> tuple[str, str]:
    """What says which pairs to score, --data or --src and --trg, and what it says."""
    if options.data is not None and options.src is None and options.trg is None:
        return "--data", options.data
    if options.data is None and options.src is not None and options.trg is not None:
        return "--src, --trg", f"{options.src},{options.trg}"
    raise UserError("data, src, trg: expected --data CORPUS.tsv, or --src FILE and --trg FILE")


def _line(pair: PairScore) -> str:
    """log p, the same for each token, perplexity, number of tokens."""
    count = len(pair.log_probs)
    return f"{pair.log_prob:.4f}\t{pair.log_prob / count:.4f}\t{pair.perplexity:.4f}\t{count}"


def _token_lines(scores: Sequence[PairScore]) -> Iterator[str]:
    """Number of the pair, token, log p."""
    for number, pair in enumerate(scores, start=1):
        for token, log_prob in zip(pair.tokens, pair.log_probs, strict=True):
            yield f"{number}\t{token}\t{log_prob:.4f}"


def _figures(scores: Sequence[PairScore]) -> dict[str, Any]:
    """Sums over all tokens of all pairs; a figure that is not finite is None."""
    total, tokens = math.fsum(pair.log_prob for pair in scores), sum(len(pair.log_probs) for pair in scores)
    figures = {"log_prob": total, "loss": -total / max(tokens, 1), "perplexity": perplexity(-total, tokens)}
    finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}
    return {"pairs": len(scores), "target_tokens": tokens, **finite}


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(score, arguments)
