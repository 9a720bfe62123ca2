"""Decoding: greedy and beam search over a batch of sentences.

A hypothesis is a list of target ids without <sos>; it is finished by <eos>, or cut at the longest allowed output. Its
score is its total log-probability, divided by length**length_penalty. What is found for a sentence does not depend on
the sentences beside it, to the bit. <pad> and <sos> are never produced.

The encoder's states and the search from them on are calls of ``minigrad.decoding``, which has the weights packed. They
are kept for as long as the model lives, or until ``release_packed``, and packed again when it has learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from minigrad import Tensor
from minigrad.decoding import PackedDecoder, PackedEncoder
from seq2seq.models.model import Decoder, Encoder, Seq2Seq
from seq2seq.sources import pad_sources
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID

Array = np.ndarray

Half = TypeVar("Half", bound=Encoder | Decoder)

_MOST_EXPONENT = 300  # e**300 and log-probabilities times or divided by it are far from the ends of float64

_packed: WeakKeyDictionary[Encoder | Decoder, dict[bool, Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Hypothesis:
    """A translation in ids, <eos> not included.

    Attributes:
        ids: target ids.
        log_prob: natural logarithm of its probability, <eos> included where it ends by one. NaN where the model's
            numbers left no word to go on with.
        score: log_prob divided by the length penalty; hypotheses are ranked by it.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float


def greedy_search(
    model: Seq2Seq, sources: Sequence[Sequence[int]], max_length: int, reverse_source: bool = False,
    bf16: bool | None = None,
) -> list[Hypothesis]:  # fmt: skip
    """The likeliest next word, again and again.

    Args:
        sources: N lists of source ids, without <sos> and <eos>.
        max_length: most target ids, <eos> counted; at least 1.
        reverse_source: as the model was trained.
        bf16: products in bfloat16, sums and states in float32; None is the model's own precision.

    Returns:
        One Hypothesis per source.
    """
    if not sources:
        return []
    bf16 = model.bf16 if bf16 is None else bf16
    state = _encode(model, sources, reverse_source, bf16)
    words, lengths, log_probs = _decoder(model, bf16).greedy(state, SOS_ID, EOS_ID, (PAD_ID, SOS_ID), max_length)
    return [
        Hypothesis(tuple(row[:length].tolist()), log_prob, log_prob)
        for row, length, log_prob in zip(words, lengths, log_probs.tolist(), strict=True)
    ]


def beam_search(
    model: Seq2Seq, sources: Sequence[Sequence[int]], max_length: int, beam_size: int = 5,
    length_penalty: float = 1.0, n_best: int = 1, reverse_source: bool = False, bf16: bool | None = None,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The ``n_best`` best-scored hypotheses that a beam of ``beam_size`` finds for each source, best first.

    A sentence is done when no hypothesis still going on could enter its n best, even if it gained nothing but length.
    Arguments and errors as ``greedy_search``; ValueError if n_best is not 1 to beam_size, or length_penalty no number
    that keeps the scores of all lengths finite and apart from 0.
    """
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"beam_search: n_best is {n_best}; expected 1 to beam_size = {beam_size}")
    if not abs(length_penalty) * math.log(max(max_length, 2)) < _MOST_EXPONENT:
        most = f"{_MOST_EXPONENT / math.log(max(max_length, 2)):.3g}"
        raise ValueError(f"beam_search: length_penalty is {length_penalty}; expected -{most} to {most}")
    if not sources:
        return []
    bf16 = model.bf16 if bf16 is None else bf16
    state = _encode(model, sources, reverse_source, bf16)
    found = _decoder(model, bf16).beam(
        state, SOS_ID, EOS_ID, (PAD_ID, SOS_ID), max_length, beam_size, length_penalty, n_best
    )
    return [_hypotheses(*sentence) for sentence in zip(*found, strict=True)]


def _hypotheses(words: Array, lengths: Array, log_probs: Array, scores: Array, count: int) -> list[Hypothesis]:
    """Those of one sentence; where a NaN left none, an empty one that says so."""
    if count == 0:
        return [Hypothesis((), float("nan"), float("nan"))]
    ids = [tuple(row[:length].tolist()) for row, length in zip(words, lengths, strict=True)]
    return [Hypothesis(*one) for one in zip(ids, log_probs.tolist(), scores.tolist(), strict=True)][:count]


def _encode(
    model: Seq2Seq, sources: Sequence[Sequence[int]], reverse_source: bool, bf16: bool
) -> tuple[Tensor, Tensor]:
    def pack(encoder: Encoder) -> PackedEncoder:
        return PackedEncoder(encoder.embedding, encoder.rnn, bf16)

    return _kept(model.encoder, bf16, pack).states(*pad_sources(sources, reverse_source))


def _decoder(model: Seq2Seq, bf16: bool) -> PackedDecoder:
    def pack(decoder: Decoder) -> PackedDecoder:
        return PackedDecoder(decoder.embedding, decoder.rnn, decoder.fc_out, bf16)

    return _kept(model.decoder, bf16, pack)


def _kept(half: Half, bf16: bool, pack: Callable[[Half], Any]) -> Any:
    """Half a model in one precision, the same object in every call."""
    by_precision = _packed.setdefault(half, {})
    if bf16 not in by_precision:
        by_precision[bf16] = pack(half)
    return by_precision[bf16]


def release_packed(model: Seq2Seq) -> None:
    """Forget the model's packed weights, as large as those of both halves; the next search packs them again."""
    for half in (model.encoder, model.decoder):
        _packed.pop(half, None)
