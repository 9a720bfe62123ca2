"""Decoding: greedy and beam search over a batch of sentences.

A hypothesis is a list of target ids without <sos>; it is finished by <eos>, or cut at the longest allowed output. Its
score is its total log-probability, divided by length**length_penalty. What is found for a sentence does not depend on
the sentences beside it, up to rounding (see ``_step``). <pad> and <sos> are never produced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import minigrad.nn.functional as F
from minigrad import Tensor, no_grad
from seq2seq.data import pad_sources
from seq2seq.model import Seq2Seq, State
from seq2seq.vocabulary import EOS_ID, PAD_ID, SOS_ID

Array = np.ndarray


@dataclass(frozen=True)
class Hypothesis:
    """A translation in ids, <eos> not included.

    Attributes:
        ids: target ids.
        log_prob: natural logarithm of its probability, <eos> included where it ends by one.
        score: log_prob divided by the length penalty; hypotheses are ranked by it.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float


@no_grad()
def greedy_search(
    model: Seq2Seq, sources: Sequence[Sequence[int]], max_length: int, reverse_source: bool = False
) -> list[Hypothesis]:
    """The likeliest next word, again and again.

    Args:
        sources: N lists of source ids, without <sos> and <eos>.
        max_length: most target ids, <eos> counted.
        reverse_source: as the model was trained.

    Returns:
        One Hypothesis per source.
    """
    state = _encode(model, sources, reverse_source)
    count = len(sources)
    words, log_probs = np.full((count, max_length), PAD_ID), np.zeros(count)
    going = np.arange(count)
    previous = np.full(count, SOS_ID)
    for step in range(max_length):
        if not len(going):
            break
        scores, state = _step(model, previous, state)
        best = scores.argmax(axis=1)
        words[going, step] = best
        log_probs[going] += scores[np.arange(len(going)), best]
        kept = np.flatnonzero(best != EOS_ID)
        previous, state, going = best[kept], state.select(kept), going[kept]
    return [_hypothesis(row, log_prob, 0.0) for row, log_prob in zip(words, log_probs, strict=True)]


def _hypothesis(row: Array, log_prob: float, length_penalty: float) -> Hypothesis:
    ends = np.flatnonzero((row == EOS_ID) | (row == PAD_ID))
    ids = row[: ends[0]] if len(ends) else row
    length = len(ids) + bool(len(ends))
    return Hypothesis(tuple(ids.tolist()), float(log_prob), float(log_prob) / max(length, 1) ** length_penalty)


def _encode(model: Seq2Seq, sources: Sequence[Sequence[int]], reverse_source: bool) -> State:
    model.eval()
    src, src_lengths = pad_sources(sources, reverse_source)
    return model.encoder(Tensor(src), src_lengths)


def _step(model: Seq2Seq, previous: Array, state: State) -> tuple[Array, State]:
    """log p(next word) (N,V) after the words ``previous`` (N,), and the state that follows.

    BLAS may round a row differently among other numbers of rows: scores are independent of the sentences beside to
    about 1e-6 of their size, and words are the same unless two are as close as that.
    """
    outputs, state = model.decoder(Tensor(previous[None]), state)
    scores = F.log_softmax(model.decoder.fc_out(outputs[0]), dim=-1).array
    scores[:, [PAD_ID, SOS_ID]] = -np.inf
    return scores, state


@no_grad()
def beam_search(
    model: Seq2Seq, sources: Sequence[Sequence[int]], max_length: int, beam_size: int = 5,
    length_penalty: float = 1.0, n_best: int = 1, reverse_source: bool = False,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The ``n_best`` best-scored hypotheses that a beam of ``beam_size`` finds for each source, best first.

    A sentence is done when no hypothesis still going on could enter its n best, even if it gained nothing but length.
    Arguments and errors as ``greedy_search``; ValueError if n_best is not 1 to beam_size.
    """
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"beam_search: n_best is {n_best}; expected 1 to beam_size = {beam_size}")
    if not sources:
        return []
    beams = [_Beam(beam_size, length_penalty, n_best, max_length) for _ in sources]
    state = _encode(model, sources, reverse_source)
    live = list(range(len(sources)))
    for step in range(max_length):
        if not live:
            break
        previous = np.concatenate([beams[i].last_words(step) for i in live])
        scores, state = _step(model, previous, state)
        rows, offset, still = [], 0, []
        for i in live:
            width = beams[i].width
            parents = beams[i].advance(scores[offset : offset + width], step)
            if not beams[i].done:
                still.append(i)
                rows.append(parents + offset)
            offset += width
        live = still
        state = state.select(np.concatenate(rows)) if rows else state
    return [beam.best() for beam in beams]


class _Beam:
    """The hypotheses of one sentence: those going on, one row each, and those finished."""

    def __init__(self, beam_size: int, length_penalty: float, n_best: int, max_length: int) -> None:
        self.beam_size, self.length_penalty, self.n_best, self.max_length = (
            beam_size,
            length_penalty,
            n_best,
            max_length,
        )
        self.words = np.full((1, max_length), PAD_ID)
        self.log_probs = np.zeros(1)
        self.finished: list[Hypothesis] = []
        self.done = False

    @property
    def width(self) -> int:
        return len(self.log_probs)

    def last_words(self, step: int) -> Array:
        return self.words[:, step - 1] if step else np.full(1, SOS_ID)

    def advance(self, scores: Array, step: int) -> Array:
        """Extend by one word, given log p (width,V); returns which row each new hypothesis continues."""
        totals = self.log_probs[:, None] + scores
        parents, words = np.unravel_index(self._top(totals.ravel()), totals.shape)
        log_probs = totals[parents, words]
        extended = self.words[parents]
        extended[:, step] = words
        ended = (words == EOS_ID) | (step == self.max_length - 1)
        for row in np.flatnonzero(ended):
            self.finished.append(_hypothesis(extended[row], log_probs[row], self.length_penalty))
        self.words, self.log_probs = extended[~ended], log_probs[~ended]
        self.done = not self.width or self._settled()
        return parents[~ended]

    def _top(self, totals: Array) -> Array:
        """Indices of the beam_size best that are possible at all, best first, equal ones by index."""
        size = min(self.beam_size, len(totals))
        threshold = np.partition(totals, len(totals) - size)[len(totals) - size]
        candidates = np.flatnonzero((totals >= threshold) & (totals > -np.inf))
        return candidates[np.argsort(-totals[candidates], kind="stable")][:size]

    def _settled(self) -> bool:
        """Whether the n best are finished and none going on can come before them any more."""
        if len(self.finished) < self.n_best:
            return False
        worst_of_best = sorted((h.score for h in self.finished), reverse=True)[self.n_best - 1]
        longest = self.max_length if self.length_penalty > 0 else 1
        return bool(worst_of_best >= self.log_probs.max() / longest**self.length_penalty)

    def best(self) -> list[Hypothesis]:
        return sorted(self.finished, key=lambda h: -h.score)[: self.n_best]
