"""Greedy and beam search over a ``Scorer``, whatever is behind it: a model, several at once.

A hypothesis is a list of target ids without <sos>; it is finished by <eos>, or cut at the longest allowed output. Its
score is its total log-probability (added up in float64), divided by length**length_penalty, <eos> counted (Wu et al.,
"Google's neural machine translation system", 2016, equation 14, with a plain power of the length). What is found for a
source does not depend on the sources beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID

Array = np.ndarray
Sources = Sequence[Any]  # items of a model's source
NEVER = PAD_ID, SOS_ID  # what no target holds

# Changes log p (R, V) in place, of hypotheses with these ids: what must not follow gets -inf.
Constraint = Callable[[Array, Sequence[tuple[int, ...]]], None]


@dataclass(frozen=True)
class Hypothesis:
    """A translation in ids, <eos> not included.

    Attributes:
        ids: target ids.
        log_prob: natural logarithm of its probability, <eos> included where it ends by one. NaN where the model's
            numbers left no token to go on with.
        score: log_prob divided by the length penalty; hypotheses are ranked by it.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float


@dataclass(frozen=True)
class Search:
    """What is asked of a search.

    Attributes:
        max_length: most target ids of a hypothesis, <eos> counted; at least 1.
        beam_size: hypotheses kept at each step; 1 with n_best 1 is greedy.
        length_penalty: the power of the length that divides a score.
        n_best: hypotheses wanted of each source, 1 to beam_size.
        constraints: beside the one that <pad> and <sos> are never produced.
    """

    max_length: int
    beam_size: int = 1
    length_penalty: float = 1.0
    n_best: int = 1
    constraints: tuple[Constraint, ...] = ()


class Scorer:
    """What a search knows of a model: R rows are hypotheses going on, V is the target vocabulary."""

    def start(self, sources: Sources) -> None:
        """Begin, with one row for each source."""
        raise NotImplementedError

    def step(self, tokens: Array, rows: Array) -> Array:
        """Row r continues row ``rows[r]`` of the step before and reads ``tokens[r]`` -> log p of the next token (R, V).

        Natural logarithms, in an array of its own. A row's numbers do not depend on the other rows.
        """
        raise NotImplementedError

    def greedy(self, sources: Sources, search: Search) -> list[Hypothesis]:
        """``greedy`` over this scorer; one that has a faster way to the same words overrides it, and ``beam``."""
        return greedy(self, sources, search)

    def beam(self, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        """``beam`` over this scorer."""
        return beam(self, sources, search)


class _Row(NamedTuple):
    """A hypothesis going on, or one with <eos> behind it."""

    ids: tuple[int, ...]
    log_prob: float


def greedy(scorer: Scorer, sources: Sources, search: Search) -> list[Hypothesis]:
    """The likeliest next token, again and again; one Hypothesis for each source."""
    rows, ended = {n: _Row((), 0.0) for n in range(len(sources))}, dict[int, _Row]()
    scorer.start(sources)
    parents = np.arange(len(sources))
    while rows:
        log_probs = _step(scorer, list(rows.values()), parents, search)
        going = dict[int, _Row]()
        for (n, row), token, gain in zip(rows.items(), log_probs.argmax(1), log_probs.max(1), strict=True):
            now = _Row((*row.ids, int(token)), row.log_prob + (float(gain) if gain > -np.inf else np.nan))
            broken = math.isnan(now.log_prob)
            if broken or token == EOS_ID or len(now.ids) == search.max_length:
                ended[n] = _Row(row.ids, now.log_prob) if broken else now
            else:
                going[n] = now
        parents = np.flatnonzero([n in going for n in rows])
        rows = going
    return [Hypothesis(_without_end(ended[n].ids), ended[n].log_prob, ended[n].log_prob) for n in range(len(sources))]


def beam(scorer: Scorer, sources: Sources, search: Search) -> list[list[Hypothesis]]:
    """The ``n_best`` best-scored hypotheses that a beam finds for each source, best first.

    At each step the ``beam_size`` extensions of highest total log p go on (equal ones in the order of hypothesis and
    token); one that ends leaves the beam. A source is done when no hypothesis still going on could enter its n best,
    even if it gained nothing but length.
    """
    beams = [_Beam(search) for _ in sources]
    scorer.start(sources)
    parents = np.arange(len(sources))
    live = [one for one in beams if one.rows]
    while live:
        log_probs = _step(scorer, [row for one in live for row in one.rows], parents, search)
        ends = np.cumsum([len(one.rows) for one in live])
        parts = zip(live, np.split(log_probs, ends[:-1]), ends, strict=True)
        parents = np.concatenate([one.extend(part) + end for one, part, end in parts])
        live = [one for one in live if one.rows]
    return [one.best() for one in beams]


class _Beam:
    """The hypotheses of one source."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.rows = [_Row((), 0.0)]
        self._finished: list[Hypothesis] = []

    def extend(self, log_probs: Array) -> Array:
        """One step with log p (rows, V); which of the former rows the rows now continue, counted from their end."""
        count, search = len(self.rows), self._search
        totals = np.array([row.log_prob for row in self.rows])[:, None] + log_probs
        going, parents = list[_Row](), list[int]()
        for parent, token in (divmod(i, totals.shape[1]) for i in _best(totals.reshape(-1), search.beam_size)):
            row = _Row((*self.rows[parent].ids, token), float(totals[parent, token]))
            if token == EOS_ID or len(row.ids) == search.max_length:
                self._finish(row)
            else:
                going.append(row)
                parents.append(parent - count)
        settled = not going or self._settled(going[0].log_prob)
        self.rows = [] if settled else going
        return np.array([] if settled else parents, np.int64)

    def _finish(self, row: _Row) -> None:
        score = row.log_prob / len(row.ids) ** self._search.length_penalty
        self._finished.append(Hypothesis(_without_end(row.ids), row.log_prob, score))

    def _settled(self, best_log_prob: float) -> bool:
        """Whether the n best are finished, and none going on can come before them any more."""
        search = self._search
        if len(self._finished) < search.n_best:
            return False
        longest = search.max_length if search.length_penalty > 0 else 1
        return self.best()[-1].score >= best_log_prob / longest**search.length_penalty

    def best(self) -> list[Hypothesis]:
        """The n best of those finished; where a NaN left none, an empty one that says so."""
        ranked = sorted(self._finished, key=lambda hypothesis: -hypothesis.score)[: self._search.n_best]
        return ranked or [Hypothesis((), math.nan, math.nan)]


def _step(scorer: Scorer, rows: Sequence[_Row], parents: Array, search: Search) -> Array:
    """log p (R, V) of what may follow the rows."""
    log_probs = scorer.step(np.array([[SOS_ID, *row.ids][-1] for row in rows]), parents)
    log_probs[:, NEVER] = -np.inf
    for constrain in search.constraints:
        constrain(log_probs, [row.ids for row in rows])
    return log_probs


def _best(totals: Array, count: int) -> list[int]:
    """The positions of the ``count`` largest numbers, the largest first, equal ones in order; without -inf and NaN."""
    totals = np.where(np.isnan(totals), -np.inf, totals)
    least = np.partition(totals, -count)[-count] if count < len(totals) else -np.inf
    found = np.flatnonzero((totals >= least) & (totals > -np.inf))
    best: list[int] = found[np.argsort(-totals[found], kind="stable")[:count]].tolist()
    return best


def _without_end(ids: tuple[int, ...]) -> tuple[int, ...]:
    return ids[:-1] if ids and ids[-1] == EOS_ID else ids
