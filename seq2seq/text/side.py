"""One side of sentence pairs, source or target: its tokenizer and vocabulary, and how both are learnt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.options import texts
from seq2seq.sources.batches import IntArray, NumberedTokens, Ragged
from seq2seq.sources.contract import Learner, SourceSide
from seq2seq.sources.dataset import Dataset
from seq2seq.text import sampling
from seq2seq.text.sampling import DrawnSentences, Subwords
from seq2seq.text.tokenizers import SentencePieceTokenizer, Tokenizer, build_tokenizer, tokenizer_from_config
from seq2seq.text.vocabulary import SPECIALS, UNK_ID, OpenVocabulary, Vocabulary

_AT_A_TIME = 1 << 20  # ids that are looked at together


@dataclass(frozen=True)
class TextSide(SourceSide):
    """Sentences to ids: of the source, or of the target; of each the ``first`` tokens, where that is not 0."""

    keys: ClassVar[tuple[str, ...]] = ("tokenizer", "vocabulary")
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    first: int = 0

    @property
    def num_inputs(self) -> int:
        return len(self.vocabulary)

    def encode(self, raw: Sequence[str]) -> Ragged:
        return self.ids_of(cut(self.tokenizer.tokenize_all(raw), self.first))

    def ids_of(self, token_lists: Iterable[Sequence[str]]) -> Ragged:
        """The ids of tokenised sentences."""
        return Ragged(map(self.vocabulary.encode, token_lists))

    def checked(self, raw: Iterable[Any], name: str, noun: str) -> list[str]:
        return list(texts(name, raw, noun))

    def tokens(self, raw: str) -> list[str]:
        return self.tokenizer.tokenize(raw)[: self.first or None]

    def positions(self, raw: str, count: int) -> list[str]:
        tokens = self.tokens(raw)
        return tokens if len(tokens) == count else super().positions(raw, count)

    def begins_word(self, items: Ragged) -> np.ndarray:
        """(V,) bool, or as many as ids occur in ``items``: those with which a word begins."""
        count = max(self.num_inputs, int(items.flat.max(initial=0)) + 1)
        return np.array([self.tokenizer.begins_word(self.vocabulary.token(index)) for index in range(count)])

    def for_training(self, items: Ragged, raw: Sequence[str], config: Config, number: int) -> Ragged:
        """``items`` of the sentences ``raw``, which an epoch may split otherwise; each side of a run has another
        ``number``."""
        asked = sampling.asked(config)
        if asked is None or not isinstance(self.tokenizer, SentencePieceTokenizer):
            return items
        pieces = self.tokenizer.pieces()
        ids = np.full(max(pieces.values()) + 1, UNK_ID)
        ids[list(pieces.values())] = self.vocabulary.encode(pieces)
        limits = self.first, config.max_length or 0
        return DrawnSentences(items, raw, Subwords(self.tokenizer, ids, asked, config.seed, number, *limits))

    def spoken(self, items: Ragged, raw: Sequence[str]) -> Ragged:  # type: ignore[override]
        """``items``, the ids of sentences; none for a blank sentence, which has nothing to translate."""
        if all(sentence.strip() for sentence in raw):
            return items
        return Ragged(ids.tolist() if sentence.strip() else [] for ids, sentence in zip(items, raw, strict=True))

    def require_known(self, items: Ragged, name: str) -> None:  # type: ignore[override]
        """UserError where not one word of the items is known: no text, another language or tokenisation."""
        pieces = (items.flat[start : start + _AT_A_TIME] for start in range(0, len(items.flat), _AT_A_TIME))
        if not any(((ids != UNK_ID) & (ids < self.num_inputs)).any() for ids in pieces):
            raise UserError(
                f"{name}: none of its {counted(len(items.flat), 'word')} is in the source vocabulary "
                f"(expected text like {' '.join(self.vocabulary.tokens[4:10])} ...)"
            )

    def stored(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer.to_config(), "vocabulary": json.loads(self.vocabulary.to_json())}

    @classmethod
    def restored(cls, stored: dict[str, Any], side: str, first: int = 0) -> TextSide:
        """What ``stored`` told of the side "src" or "trg"; it is not trusted (UserError)."""
        vocabulary = Vocabulary.from_json(json.dumps(stored["vocabulary"]), f"{side}_vocabulary")
        return cls(tokenizer_from_config(stored["tokenizer"]), vocabulary, first)

    def fingerprint(self) -> str:
        return self.vocabulary.fingerprint()

    def __str__(self) -> str:
        return f"a source vocabulary of {len(self.vocabulary):,}"


class TextLearner(Learner):
    """The sentences of one side, tokenised by a new tokenizer; the work starts at once.

    Args:
        side: "src" or "trg".
        first: tokens of each sentence that are kept; 0 is all.
        beside: the learner of the other side, where there is one already: subwords of both sides are learnt once.
        known: this side of another run, whose tokenizer and words are kept; new words come behind them.
    """

    def __init__(
        self, side: str, dataset: Dataset, config: Config, first: int = 0, beside: Learner | None = None,
        known: TextSide | None = None,
    ) -> None:  # fmt: skip
        self._side, self._config, self._first = side, config, first
        self._other: TextLearner | None = None
        self._vocabulary: Vocabulary | None = None
        self._min_freq = setting(dataset, config, "min_freq") or 1
        self._known = known
        shared = beside.tokenizer if isinstance(beside, TextLearner) and _is_joint(dataset, config) else None
        self.tokenizer: Tokenizer = known.tokenizer if known else shared or new_tokenizer(side, dataset, config)
        number = ("src", "trg").index(side)
        sentences = [pair[number] for pairs in dataset.splits.values() for pair in pairs]
        self._tokens = cut(self.tokenizer.tokenize_all(sentences), first)

    @cached_property
    def _numbered(self) -> NumberedTokens:
        return NumberedTokens(self._tokens)

    @property
    def lengths(self) -> IntArray:  # type: ignore[override]
        return self._numbered.numbers.lengths

    def share(self, other: Learner) -> None:
        if isinstance(other, TextLearner):
            self._other, other._other = other, self

    def _counts(self, kept: np.ndarray) -> Counter[str]:
        """How often each token occurs among those that are kept. Of subwords that are drawn any may occur."""
        counts = Counter(self._numbered.counts(kept))
        if sampling.asked(self._config) is not None and isinstance(self.tokenizer, SentencePieceTokenizer):
            counts |= Counter(dict.fromkeys(self.tokenizer.pieces(), self._min_freq))
        return counts

    def learn(self, kept: np.ndarray) -> tuple[TextSide, Ragged]:
        """A vocabulary of the sentences that are kept, on both sides where it is shared, and the ids of all."""
        if self._vocabulary is None:
            counts = self._counts(kept) if self._other is None else self._counts(kept) + self._other._counts(kept)
            self._vocabulary = self._vocabulary_of(counts)
            if registry.reads(self._config).copies:
                self._vocabulary = opened(self._vocabulary)
            if self._other is not None:
                self._other._vocabulary = self._vocabulary
        return TextSide(self.tokenizer, self._vocabulary, self._first), self._numbered.encode(self._vocabulary)

    def _vocabulary_of(self, counts: Mapping[str, int]) -> Vocabulary:
        most = self._config.max_vocab_size
        if self._known is None:
            return vocabulary_of(self._side, counts, self._min_freq, most)
        known = self._known.vocabulary
        new = Vocabulary.from_counts({t: count for t, count in counts.items() if t not in known}, self._min_freq)
        return Vocabulary([*known.tokens[len(SPECIALS) :], *new.tokens[len(SPECIALS) :]][:most])


def opened(vocabulary: Vocabulary) -> OpenVocabulary:
    """The vocabulary for a run whose decoder copies words that it does not know."""
    return OpenVocabulary(vocabulary.tokens[len(SPECIALS) :])


def cut(token_lists: Iterable[list[str]], first: int) -> Iterable[list[str]]:
    """The first tokens of each sentence; with 0 all."""
    return (tokens[:first] for tokens in token_lists) if first else token_lists


def setting(dataset: Dataset, config: Config, name: str) -> Any:
    """A setting; where it was left open, what suits the data set."""
    value = getattr(config, name)
    return dataset.defaults.get(name) if value is None else value


def _names(dataset: Dataset, config: Config) -> list[str]:
    """The tokenizers of the source and of the target."""
    return [setting(dataset, config, f"{side}_tokenizer") or "word" for side in ("src", "trg")]


def _is_joint(dataset: Dataset, config: Config) -> bool:
    """Whether both sides share a vocabulary of subwords, which are then learnt of both."""
    return config.share_vocab and _names(dataset, config) == ["sentencepiece"] * 2


def new_tokenizer(side: str, dataset: Dataset, config: Config) -> Tokenizer:
    """For one side, or of subwords that both share, for both."""
    language, number = (dataset.src_language, 0) if side == "src" else (dataset.trg_language, 1)
    sides = (0, 1) if _is_joint(dataset, config) else (number,)
    sentences = (pair[which] for which in sides for pair in dataset.split("train"))  # subwords alone are learnt of them
    return build_tokenizer(
        _names(dataset, config)[number], language, sentences,
        lower=bool(setting(dataset, config, "lower")), vocab_size=config.max_vocab_size,
        model_type=config.subword_model,
    )  # fmt: skip


def vocabulary_of(side: str, counts: Mapping[str, int], min_freq: int, max_size: int | None) -> Vocabulary:
    """The vocabulary of one side; UserError where not one word is frequent enough, since nothing could be learned."""
    vocabulary = Vocabulary.from_counts(counts, min_freq, max_size)
    if len(vocabulary) == len(SPECIALS):
        most = max((count for token, count in counts.items() if token not in SPECIALS), default=0)
        raise UserError(
            f"{side} vocabulary: empty, since min_freq is {min_freq} and the most frequent word of the training text "
            f"occurs {counted(most, 'time')}; expected more text, a smaller --min-freq, "
            f"or --{side}-tokenizer char or sentencepiece"
        )
    return vocabulary
