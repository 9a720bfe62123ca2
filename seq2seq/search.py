"""Decoding: greedy and beam search over a batch of sentences.

A hypothesis is a list of target ids without <sos>; it is finished by <eos>, or cut at the longest allowed output. Its
score is its total log-probability, divided by length**length_penalty. What is found for a sentence does not depend on
the sentences beside it, to the bit. <pad> and <sos> are never produced.

The encoder runs as in training; from its states on a search is one call of ``minigrad.decoding``, which has the
decoder's weights packed. They are kept for as long as the model lives, and packed again when it has learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from minigrad import Tensor, autocast, no_grad
from minigrad.decoding import PackedDecoder
from seq2seq.data import pad_sources
from seq2seq.model import Decoder, Seq2Seq, State
from seq2seq.vocabulary import EOS_ID, PAD_ID, SOS_ID

Array = np.ndarray

_packed: WeakKeyDictionary[Decoder, dict[bool, PackedDecoder]] = WeakKeyDictionary()


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


@no_grad()
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


@no_grad()
def beam_search(
    model: Seq2Seq, sources: Sequence[Sequence[int]], max_length: int, beam_size: int = 5,
    length_penalty: float = 1.0, n_best: int = 1, reverse_source: bool = False, bf16: bool | None = None,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The ``n_best`` best-scored hypotheses that a beam of ``beam_size`` finds for each source, best first.

    A sentence is done when no hypothesis still going on could enter its n best, even if it gained nothing but length.
    Arguments and errors as ``greedy_search``; ValueError if n_best is not 1 to beam_size.
    """
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"beam_search: n_best is {n_best}; expected 1 to beam_size = {beam_size}")
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


def _encode(model: Seq2Seq, sources: Sequence[Sequence[int]], reverse_source: bool, bf16: bool) -> State:
    model.eval()
    src, src_lengths = pad_sources(sources, reverse_source)
    with autocast("cpu", enabled=bf16):
        return model.encoder(Tensor(src), src_lengths)


def _decoder(model: Seq2Seq, bf16: bool) -> PackedDecoder:
    """The model's decoder in one precision, the same object in every call."""
    decoder = model.decoder
    by_precision = _packed.setdefault(decoder, {})
    if bf16 not in by_precision:
        by_precision[bf16] = PackedDecoder(decoder.embedding, decoder.rnn, decoder.fc_out, bf16)
    return by_precision[bf16]


def release_decoder(model: Seq2Seq) -> None:
    """Forget the model's packed decoder, as large as its weights; the next search packs it again."""
    _packed.pop(model.decoder, None)
