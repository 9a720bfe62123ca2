"""``python -m seq2seq.convert FILE --to MODEL.seq2seq``: weights of another framework, ready to translate here."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("convert"))

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import Tensor
from seq2seq.conversion.files import read_weights
from seq2seq.conversion.layouts import LAYOUTS, SHAPES, Layout, recognised
from seq2seq.conversion.words import NEVER, Words, as_characters, read_tokens
from seq2seq.decoding.translator import Translator
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import checkpoint
from seq2seq.run.cli import run_command
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import check_output, print_results, say
from seq2seq.shipping import model_file
from seq2seq.sources import EncodedSplit, Ragged
from seq2seq.sources.text import MARKS
from seq2seq.text.codec import TextCodec
from seq2seq.text.side import TextSide
from seq2seq.text.tokenizers import build_tokenizer
from seq2seq.text.vocabulary import EOS_ID, SOS_ID, SPECIALS

TOKENIZERS = ("word", "space", "char")
TRIALS = 20  # pairs of random words by which a conversion is proven
CLOSE = 1e-4  # of log-probabilities: sums of a few thousand float32 products, against float64
SOURCE, TARGET, OUTPUT = "encoder.embedding.weight", "decoder.embedding.weight", "decoder.fc_out.weight"
DATA = "elsewhere.tsv"  # in place of training data that nobody knows of


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.convert",
        description="Turn weights of another framework into a model file, and prove that it computes the same.",
    )
    parser.add_text("file", "weights: a file of torch.save, numpy.savez, safetensors or Keras; nothing in it is run")
    parser.add_text("--to", "model file to write, such as model.seq2seq")
    parser.add_text("--src-vocab", "the source's tokens: a list in the order of their ids, or a dictionary of them")
    parser.add_text("--trg-vocab", "the target's")
    parser.add_argument("--layout", choices=tuple(LAYOUTS), help="what wrote the weights; by default what fits them")
    for side, noun in (("src", "source"), ("trg", "target")):
        parser.add_text(f"--{side}-language", f"code of the {noun}'s language", "en")
        parser.add_argument(
            f"--{side}-tokenizer", choices=TOKENIZERS, default="word", help=f"what splits the {noun} (default: word)"
        )
    parser.add_argument("--lower", action="store_true", help="the words are lower-case: lower-case all text")
    parser.add_argument("--reverse-source", action="store_true", help="the model was trained on reversed sources")
    parser.add_number("--max-output-length", "tokens after which a translation is cut", 100)
    return parser


def convert(arguments: Sequence[str] | None = None) -> int:
    """Convert as the command line says."""
    options = build_parser().parse_args(arguments)
    if options.to is None:
        raise UserError("to is missing; expected --to FILE")
    lists = [Path(path) for path in (options.src_vocab, options.trg_vocab) if path is not None]
    check_output(options.to, "to", [Path(options.file), *lists])
    arrays, kept = read_weights(Path(options.file))
    try:
        layout, settings = recognised(arrays, options.layout)
    except UserError as error:
        raise UserError(f"{options.file}: {error}") from None
    src, trg = _words(options, layout, settings, kept)
    try:
        weights = layout.weights()
        settings |= tying(weights, src, trg)
        weights = in_our_order(weights, layout, src, trg, settings.get("tie_weights", "none"))
    except UserError as error:
        raise UserError(f"{options.file}: {error}") from None
    except SHAPES:
        raise UserError(f"{options.file}: its arrays have names of layout {layout.name}, but not its shapes") from None
    codec = _codec(options, src, trg)
    config = _config(options, settings)
    model = _model(weights, codec, config, Path(options.file))
    apart = difference(layout, Translator(model, codec, config), src, trg)
    if not apart <= CLOSE:
        raise UserError(
            f"{options.file}: its log-probabilities here are {apart:.1e} from those of {layout.name}; "
            "expected a model of that layout"
        )
    model_file.write(Path(options.to), model, codec, config)
    print_results(
        f"{options.to}: {layout.name}, {_told(settings)}\n"
        f"log-probabilities of {TRIALS} pairs of random words are those of the layout's own equations, to {apart:.0e}",
        options.to,
    )
    return 0


def _words(
    options: Namespace, layout: Layout, settings: dict[str, Any], kept: dict[str, list[str]]
) -> tuple[Words, Words]:
    """Of both sides, from the files that the command names, or from that of the weights."""
    sides = []
    for side, name in (("src", "src"), ("trg", "tgt")):
        path = getattr(options, f"{side}_vocab")
        if path is None and name not in kept:
            raise UserError(f"{side}_vocab is missing; expected --{side}-vocab FILE")
        tokens, where = (kept[name], options.file) if path is None else (read_tokens(path, layout.tokens), path)
        if getattr(options, f"{side}_tokenizer") == "char":
            tokens = as_characters(tokens)
        sides.append((layout.fitted(tokens, side), where))
        if len(sides[-1][0]) != len(tokens):
            say(f"{where}: {counted(len(tokens), 'word')}; the model has rows for {len(sides[-1][0]):,}")
    before, behind = MARKS[settings.get("source_marks", "both")]
    needed = {EOS_ID, EOS_ID if layout.reads_first is None else layout.reads_first}
    (src, _), (trg, _) = sides
    # One list for both sides has one order of words, whichever mark a side begins with.
    first = layout.reads_first if src == trg and SOS_ID not in before else SOS_ID
    return Words(*sides[0], before + behind, first), Words(*sides[1], needed, layout.reads_first)


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def tying(weights: dict[str, np.ndarray], src: Words, trg: Words) -> dict[str, Any]:
    """The settings for tables that are the same in the file, so that they are one here too.

    Of a mark that a table has no row for, what another has in its place does no harm: it is never written, since the
    output layer's bias forbids it.
    """
    table = weights[TARGET]
    if not np.array_equal(table, weights.get(OUTPUT, table)):
        return {}
    if np.array_equal(table, weights[SOURCE]) and src.vocabulary.tokens == trg.vocabulary.tokens:
        return {"tie_weights": "all", "share_vocab": True}
    return {"tie_weights": "decoder"}


def in_our_order(
    weights: dict[str, np.ndarray], layout: Layout, src: Words, trg: Words, tied: str
) -> dict[str, np.ndarray]:
    """A layout's weights with the rows of words in the order of our vocabularies, tables that are tied once."""
    twice = {"none": (), "decoder": (OUTPUT,), "all": (TARGET, OUTPUT)}[tied]
    weights = {name: array for name, array in weights.items() if name not in twice}
    for words, tables, missing in (
        (src, layout.source_tables, 0.0), (trg, layout.target_tables, 0.0), (trg, layout.target_biases, NEVER),
    ):  # fmt: skip
        present = [name for name in tables if name in weights]  # a shared table is there once
        weights |= {name: words.rows(weights[name], name, missing, "embedding" in name) for name in present}
    return weights


def _codec(options: Namespace, src: Words, trg: Words) -> TextCodec:
    """Tokenizers and words of both sides."""
    source, target = (
        TextSide(build_tokenizer(tokenizer, language, [], lower=options.lower), words.vocabulary)
        for words, tokenizer, language in (
            (src, options.src_tokenizer, options.src_language), (trg, options.trg_tokenizer, options.trg_language),
        )
    )  # fmt: skip
    return TextCodec(source, target, options.max_output_length)


def _config(options: Namespace, settings: dict[str, Any]) -> Config:
    """Settings that make the model, and that say how its text is split."""
    text = {name: getattr(options, name) for name in ("src_language", "trg_language", "lower")}
    text |= {name: getattr(options, name) for name in ("src_tokenizer", "trg_tokenizer", "max_output_length")}
    return Config(data=DATA, reverse_source=options.reverse_source, **text, **settings)


def _model(weights: dict[str, np.ndarray], codec: TextCodec, config: Config, path: Path) -> Seq2Seq:
    model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), config)
    tensors: dict[str, Any] = {name: Tensor(array) for name, array in weights.items()}
    checkpoint.check_weights(path, tensors, model, "layout")
    model.load_state_dict(tensors, strict=False)  # a shared tensor is there once
    return model


def difference(layout: Layout, translator: Translator, src: Words, trg: Words) -> float:
    """The largest one between log-probabilities of the engine and of the layout, for pairs of random words."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, (TRIALS, 2))
    sources, targets = (
        [rng.integers(len(SPECIALS), len(words.vocabulary), length).tolist() for length in lengths[:, side]]
        for side, words in enumerate((src, trg))
    )
    found = translator.score_pairs(EncodedSplit(Ragged(sources), Ragged(targets)))
    worst = 0.0
    for source, target, score in zip(sources, targets, found, strict=True):
        before, behind = MARKS[translator.settings.options["source_marks"]]
        read = [*before, *(source[::-1] if translator.settings.options["reverse_source"] else source), *behind]
        own = layout.log_probs(src.file_ids(read), trg.file_ids([SOS_ID, *target]))
        right = own[np.arange(len(target) + 1), trg.file_ids([*target, EOS_ID])]
        worst = max(worst, float(np.abs(right - score.log_probs).max()))
    return worst


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(convert, arguments)
