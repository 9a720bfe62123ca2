"""Beam search: of all hypotheses of a length the likeliest go on (Sutskever et al., "Sequence to sequence learning with
neural networks", 2014, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from minigrad.decoding import best_extensions
from seq2seq.decoding.contract import NEVER, Array, Hypothesis, Row, Scorer, Search, Sources, Steps, Strategy
from seq2seq.decoding.ranking import Ranking, RankingOptions
from seq2seq.run.errors import UserError
from seq2seq.run.registry import option, register
from seq2seq.text.vocabulary import EOS_ID, SOS_ID


@dataclass(frozen=True)
class WidthOptions:
    """How wide a beam is."""

    beam_size: int = option(1, "hypotheses kept at each step; 1 is greedy", 1, 1000)


@dataclass(frozen=True)
class BeamOptions(RankingOptions, WidthOptions):
    """How wide a beam is, and how what it finds is ranked."""


@register("strategy", "beam")
class Beam(Strategy):
    """The ``n_best`` best-scored hypotheses that a beam finds.

    At each step the ``beam_size`` extensions of highest total log p go on (equal ones in the order of hypothesis and
    token); one that ends leaves the beam. A source is done when no hypothesis still going on could enter its n best,
    even if it gained nothing but length.
    """

    Options = BeamOptions

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.ranking = Ranking(self.options)

    def check(self, n_best: int) -> None:
        if n_best > self.options.beam_size:
            raise UserError(f"n_best is {n_best}; expected at most beam_size = {self.options.beam_size}")

    def find(self, scorer: Scorer, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        compiled = scorer.compiled(sources) if search.plain and self.ranking.by_power else None
        if compiled is None:
            return grow(scorer, sources, search, self.ranking, self.options.beam_size)
        searcher, state = compiled
        found = searcher.beam(
            state, SOS_ID, EOS_ID, NEVER, search.max_length, self.options.beam_size, self.options.length_penalty,
            search.n_best,
        )  # fmt: skip
        return [_hypotheses(*one) for one in zip(*found, strict=True)]


def _hypotheses(ids: Array, lengths: Array, log_probs: Array, scores: Array, count: Any) -> list[Hypothesis]:
    """Those of one source that a compiled search found; where a NaN left none, an empty one that says so."""
    if count == 0:
        return [Hypothesis((), math.nan, math.nan)]
    rows = [tuple(row[:length].tolist()) for row, length in zip(ids, lengths, strict=True)]
    return [Hypothesis(*one) for one in zip(rows, log_probs.tolist(), scores.tolist(), strict=True)][:count]


class Growing(Protocol):
    """The hypotheses of one source, while they grow."""

    @property
    def rows(self) -> Sequence[Row]:
        """Those that go on; none when the source is done."""

    def extend(self, log_probs: Array, first: int) -> Sequence[int]:
        """One step with log p (rows, V), where the rows are numbers ``first`` and following of the step. Which of
        these numbers each row now continues."""

    def best(self) -> list[Hypothesis]:
        """The n best that have finished, best first."""


def grow(
    scorer: Scorer, sources: Sources, search: Search, ranking: Ranking, size: int,
    make: Callable[..., Growing] | None = None,
) -> list[list[Hypothesis]]:  # fmt: skip
    """What a beam of ``size`` finds; ``make`` makes of the arguments of ``Rows`` what grows from each source."""
    steps = Steps(scorer, sources, replace(search, alignment=search.alignment or ranking.needs_alignment))
    beams: list[Growing] = [(make or Rows)(steps, row, size, search.n_best, ranking) for row in steps.rows]
    live, parents = beams, np.repeat(np.arange(len(beams)), [len(beam.rows) for beam in beams])
    while live:
        log_probs = steps.step([row for beam in live for row in beam.rows], parents)
        ends = np.cumsum([len(beam.rows) for beam in live])
        firsts = [0, *ends[:-1].tolist()]
        parts = zip(live, np.split(log_probs, ends[:-1]), firsts, strict=True)
        parents = np.array([parent for beam, part, first in parts for parent in beam.extend(part, first)], np.int64)
        live = [beam for beam in live if beam.rows]
    found = [beam.best() for beam in beams]
    return found if search.alignment else [[replace(one, alignment=None) for one in best] for best in found]


class Rows:
    """A ``Growing`` beam.

    Args:
        steps: of the search.
        row: the first one.
        size: rows that go on at most.
        n_best: hypotheses wanted.
        ranking: of those that have finished.

    Attributes:
        finished: hypotheses.
        chosen: the tokens of the last step.
    """

    def __init__(self, steps: Steps, row: Row, size: int, n_best: int, ranking: Ranking) -> None:
        self._steps, self._size, self._n_best, self._ranking = steps, size, n_best, ranking
        self._longest = row.sentence.most
        self.rows: list[Row] = [row]
        self.finished: list[Hypothesis] = []

    def extend(self, log_probs: Array, first: int, bonus: Array | None = None) -> Sequence[int]:
        """As of ``Growing``; ``bonus`` (V,) counts in the choice of what goes on, and not in its log p."""
        totals = np.array([row.log_prob for row in self.rows])
        best = best_extensions(log_probs if bonus is None else log_probs + bonus, totals, self._size)
        going, parents, self.chosen = list[Row](), list[int](), list[int]()
        for parent, token in zip(*(places.tolist() for places in best), strict=True):
            before = self.rows[parent]
            row = self._steps.extended(before, first + parent, token, before.log_prob + float(log_probs[parent, token]))
            self.chosen.append(token)
            if row.ended:
                score = self._ranking.score(row.log_prob, len(row.ids), row.alignment)
                self.finished.append(row.hypothesis(score))
            else:
                going.append(row)
                parents.append(first + parent)
        settled = not going or self._settled(max(row.log_prob for row in going))
        self.rows = [] if settled else going
        return () if settled else parents

    def _settled(self, best_log_prob: float) -> bool:
        """Whether the n best are finished, and none going on can come before them any more."""
        if len(self.finished) < self._n_best:
            return False
        return self.best()[-1].score >= self._ranking.most(best_log_prob, self._longest)

    def best(self) -> list[Hypothesis]:
        return ranked(self.finished, self._n_best)


def ranked(found: Sequence[Hypothesis], n_best: int) -> list[Hypothesis]:
    """The n best of some hypotheses, equal ones in order; where a NaN left none, an empty one that says so."""
    best = sorted(found, key=lambda hypothesis: -hypothesis.score)[:n_best]
    return best or [Hypothesis((), math.nan, math.nan)]
