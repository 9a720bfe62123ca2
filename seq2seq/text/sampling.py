"""Subwords drawn anew for every epoch of training, so that a model learns of a word from all its parts.

Contract: what an epoch reads is a function of the sentences and of (seed, epoch, side). Validation, scoring and
translating split every sentence in the one way that the tokenizer gives.

Sources: Kudo, "Subword regularization" (2018): a split is drawn with its probability under the unigram model to the
power of alpha, of all splits or of the n likeliest. Provilkov et al., "BPE-dropout" (2020): merges are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seq2seq.run.config import BASE, Config
from seq2seq.run.errors import UserError
from seq2seq.sources.batches import IntArray, Ragged
from seq2seq.text.tokenizers import SentencePieceTokenizer, Tokenizer

_OF_SUBWORDS = "subword_model", "subword_alpha", "bpe_dropout"
_TOGETHER = 8192  # sentences that are split in one call
_LARGEST_SEED = 2**32 - 1  # which means none to SentencePiece


class Sampling(NamedTuple):
    """How splits are drawn: of a unigram model alpha, and the number of splits or -1 for all; of BPE the probability
    that a merge is left out, and -1."""

    alpha: float
    nbest: int = -1


def asked(config: Config) -> Sampling | None:
    """What a run asks for; None where it draws nothing."""
    if config.subword_alpha is not None:
        return Sampling(config.subword_alpha, config.subword_nbest or -1)
    return Sampling(config.bpe_dropout) if config.bpe_dropout else None


def check(config: Config, tokenizers: Sequence[Tokenizer]) -> None:
    """UserError where a run without subwords asks for something of them."""
    if any(isinstance(tokenizer, SentencePieceTokenizer) for tokenizer in tokenizers):
        return
    for field in BASE:
        if field.name in _OF_SUBWORDS and getattr(config, field.name) != field.default:
            found = f"{field.name} is {getattr(config, field.name)}"
            raise UserError(f"{found}; expected --src-tokenizer or --trg-tokenizer sentencepiece beside it")


@dataclass(frozen=True)
class Subwords:
    """How the sentences of one side are split in an epoch.

    Attributes:
        tokenizer: draws.
        ids: (pieces of the tokenizer,) int64, the id of each.
        sampling: how it draws.
        seed: with ``side``, a number, and the epoch, all that is drawn is a function of.
        first: ids that are kept of each sentence; 0 is all.
        most: where a drawn split has more ids, it gives way to the likeliest; 0 allows any.
    """

    tokenizer: SentencePieceTokenizer
    ids: IntArray
    sampling: Sampling
    seed: int
    side: int
    first: int
    most: int

    def drawn(self, sentences: Sequence[str], epoch: int) -> Iterator[list[int]]:
        """The ids of each sentence in an epoch."""
        stream = np.random.PCG64([self.seed, epoch, self.side])
        for start in range(0, len(sentences), _TOGETHER):
            seed = int(stream.random_raw()) % _LARGEST_SEED
            for pieces in self.tokenizer.sample(sentences[start : start + _TOGETHER], *self.sampling, seed):
                yield self.ids[pieces][: self.first or None].tolist()

    def longest(self, sentences: Sequence[str]) -> int:
        """The most ids that any split of a sentence may have, by all limits."""
        limits = [self.tokenizer.most_pieces(sentences), self.first, self.most]
        return min(limit for limit in limits if limit)


class DrawnSentences(Ragged):
    """Sentences that are split anew in every epoch; they themselves are split in the one way of the tokenizer.

    Args:
        best: so split, in ids.
        sentences: as text.
    """

    def __init__(self, best: Ragged, sentences: Sequence[str], subwords: Subwords) -> None:
        self._set(best.flat, best.lengths)
        self._best, self._sentences, self._subwords = best, sentences, subwords

    @property
    def longest(self) -> int:
        return max(super().longest, self._subwords.longest(self._sentences))

    def of_epoch(self, epoch: int) -> Ragged:
        most = self._subwords.most or np.inf
        drawn = zip(self._subwords.drawn(self._sentences, epoch), self._best, strict=True)
        return Ragged(ids if len(ids) <= most else best.tolist() for ids, best in drawn)

    def part(self, start: int, stop: int) -> Ragged:
        return DrawnSentences(self._best.part(start, stop), self._sentences[start:stop], self._subwords)

    def take(self, indices: Sequence[int]) -> Ragged:
        sentences = [self._sentences[index] for index in indices]
        return DrawnSentences(self._best.take(indices), sentences, self._subwords)
