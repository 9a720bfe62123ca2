"""What to know of a run's tokens and scores before it starts: which rules split the words, and what fits badly.

Contract: nothing is changed here; each note is a line that names the figure and the option that changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from seq2seq.metrics import bleu_caveat, bleu_tokenizer
from seq2seq.run.messages import agreeing
from seq2seq.sources import Dataset, EncodedSplit, Ragged
from seq2seq.text.codec import TextCodec
from seq2seq.text.languages import script_without_blanks
from seq2seq.text.side import TextSide
from seq2seq.text.spacy_rules import INSTALL_SPACY
from seq2seq.text.tokenizers import CharTokenizer, SentencePieceTokenizer, SpaceTokenizer, Tokenizer, WordTokenizer
from seq2seq.text.vocabulary import UNK_ID

_MOST_UNKNOWN = 0.2  # share of the validation tokens
_WORD_LENGTH = {"zh": 2.5, "ja": 2.5}  # characters that a word has at most on average, punctuation among the words
_OTHER_WORD_LENGTH = 8.0
_SAMPLE = 10_000_000  # lengths that are looked at
_LONG, _LONG_FOR_ITS_CORPUS = 100, 10  # tokens; and how many times the median


def advice(dataset: Dataset, codec: TextCodec, encoded: dict[str, EncodedSplit]) -> list[str]:
    """The notes on a run.

    Args:
        dataset: the raw pairs.
        codec: what was learnt of them.
        encoded: the splits, encoded; of "train" what is left to train on.
    """
    sides = (("src", codec.source, encoded["valid"].src), ("trg", codec.target, encoded["valid"].trg))
    texts = [(n, name, side.tokenizer, ids) for n, (name, side, ids) in enumerate(sides) if isinstance(side, TextSide)]
    notes = _rules([tokenizer for _, _, tokenizer, _ in texts])
    for number, name, tokenizer, ids in texts:
        sentences = [pair[number] for pair in dataset.split("valid")]
        notes += _unknown(name, tokenizer, sentences, cast(Ragged, ids))
    return [*notes, *_long(encoded["train"]), *_scores(dataset)]


def _rules(tokenizers: Sequence[Tokenizer]) -> list[str]:
    """Which rules split the words, where words are split."""
    backends = {tokenizer.backend for tokenizer in tokenizers if isinstance(tokenizer, WordTokenizer)}
    notes = {
        "spacy": "words are split by spaCy's rules",
        "moses": "words are split by the Moses rules, since spaCy is not installed; the documented figures and "
        f"vocabularies are of spaCy's: {INSTALL_SPACY}",
    }
    return [notes[backend] for backend in sorted(backends)]


def _unknown(side: str, tokenizer: Tokenizer, sentences: Sequence[str], ids: Ragged) -> list[str]:
    """Whether the validation side is known too little, or its tokens are no words."""
    rate = float((ids.flat == UNK_ID).mean()) if len(ids.flat) else 0.0
    figure = f"{rate:.0%} of the {side} tokens of valid are <unk>"
    if isinstance(tokenizer, SpaceTokenizer | WordTokenizer) and _is_unsplit(sentences, tokenizer, len(ids.flat)):
        name = tokenizer.to_config()["name"]
        return [
            f"{side} text is written without blanks between words, so {name} does not find them ({figure}); "
            f"--{side}-tokenizer char fits, or sentencepiece"
        ]
    return [f"{figure}; {_remedy(side, tokenizer)}"] if rate > _MOST_UNKNOWN else []


def _remedy(side: str, tokenizer: Tokenizer) -> str:
    if isinstance(tokenizer, CharTokenizer):
        return "expected text of the kind of the training text"
    if isinstance(tokenizer, SentencePieceTokenizer):
        return "a smaller --max-vocab-size gives pieces that occur more often"
    return f"--{side}-tokenizer char or sentencepiece, or a smaller --min-freq"


def _is_unsplit(sentences: Sequence[str], tokenizer: SpaceTokenizer | WordTokenizer, num_tokens: int) -> bool:
    """Whether no blanks part the words of a script without them; spaCy has rules for some of its languages."""
    script = script_without_blanks(sentences)
    if script is None:
        return False
    parts = [part for sentence in sentences for part in sentence.split()]
    fewest = sum(map(len, parts)) / _WORD_LENGTH.get(script, _OTHER_WORD_LENGTH)  # words
    by_spacy = isinstance(tokenizer, WordTokenizer) and tokenizer.backend == "spacy"
    return len(parts) < fewest and not (by_spacy and num_tokens >= fewest)


def _long(train: EncodedSplit) -> list[str]:
    """Pairs so long that a few of them decide what all the others cost."""
    step = 1 + len(train) // _SAMPLE
    lengths = np.maximum(train.src.lengths[::step], train.trg.lengths[::step])
    median = int(np.median(lengths))
    limit = max(_LONG, _LONG_FOR_ITS_CORPUS * median)
    number = int((lengths > limit).sum())
    if not number:
        return []
    many = agreeing(number * step, f"have more than {limit:,} tokens on one side")
    return [
        f"{'about ' if step > 1 else ''}{number * step:,} of {len(train):,} training pairs {many}, up to "
        f"{int(lengths.max()):,}, where half have at most {median:,}; that costs memory and time, and "
        f"--max-length {limit} leaves them out"
    ]


def _scores(dataset: Dataset) -> list[str]:
    """What BLEU on the validation split cannot say, and of what it is computed where the language does not tell."""
    references = dataset.references("valid")
    tokenize, choice = bleu_tokenizer(dataset.trg_language, references)
    caveat = bleu_caveat(references, tokenize)
    notes = [f"BLEU of valid: {caveat}"] if caveat else []
    return [*notes, f"BLEU of valid takes tok:{tokenize}: {choice}"] if choice else notes
