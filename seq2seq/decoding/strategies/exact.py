"""Exact search (Stahlberg and Byrne, "On NMT search errors and model errors: cat got your tongue?", 2019, algorithm 1):
depth first, by branch and bound.

More tokens can but lower log p. So what a hypothesis going on has by now bounds all that can become of it, and none
that is not above the best finished one need be followed. The first bound is what a beam finds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from seq2seq.decoding.contract import Array, Hypothesis, Row, Scorer, Search, Sources, Steps, Strategy
from seq2seq.decoding.ranking import Ranking, RankingOptions
from seq2seq.decoding.strategies.beam import WidthOptions, grow, ranked
from seq2seq.run.registry import option, register
from seq2seq.text.vocabulary import EOS_ID

_TOGETHER = 8  # hypotheses that are followed in one step, which costs little more than one


@dataclass(frozen=True)
class ExactOptions(WidthOptions):
    """Where the search starts, and when it gives up."""

    exact_steps: int = option(100_000, "hypotheses of one source that are followed at most", 1, 1_000_000_000)


@register("strategy", "exact")
class Exact(Strategy):
    """The ``n_best`` hypotheses of highest log p that there are, which is their score, too.

    They are ``proven``, unless the search had to give up: then they are the best of those it met.
    """

    Options = ExactOptions

    def find(self, scorer: Scorer, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        ranking, size = Ranking(RankingOptions(length_penalty=0.0)), max(self.options.beam_size, search.n_best)
        found = grow(scorer, sources, search, ranking, size)
        for number, (source, known) in enumerate(zip(sources, found, strict=True)):
            alone = replace(search, prefixes=search.prefixes[number : number + 1])
            steps = Steps(scorer, [source], alone)
            found[number] = _Tree(steps, known, search.n_best).searched(self.options.exact_steps)
        return found


class _Level(NamedTuple):
    """Rows that were followed together, and what may come after them."""

    mark: Any  # where the search stood then
    rows: list[Row]
    totals: Array  # (R, V) log p of each row with each token behind it
    places: Iterator[int]  # in ``totals``, from the likeliest on: what was not tried yet


class _Tree:
    """The hypotheses of one source, of which some are known."""

    def __init__(self, steps: Steps, known: list[Hypothesis], n_best: int) -> None:
        self._steps, self._n_best = steps, n_best
        self._best = {one.ids: one for one in known if not math.isnan(one.log_prob)}

    def searched(self, most_steps: int) -> list[Hypothesis]:
        """The n best, after following ``most_steps`` rows at most."""
        levels, left = [self._follow(self._steps.rows, [0])], most_steps - 1
        while levels:
            rows, parents = self._above_bound(levels[-1])
            left -= len(rows)
            if left < 0:
                break
            if rows:
                levels.append(self._follow(rows, parents))
            else:
                levels.pop()
        found = [replace(one, proven=not levels) for one in self._best.values()]
        return ranked(found, self._n_best)

    def _bound(self) -> float:
        """The log p that a hypothesis must exceed to be one of the n best."""
        return -math.inf if len(self._best) < self._n_best else min(one.log_prob for one in self._best.values())

    def _follow(self, rows: list[Row], parents: list[int]) -> _Level:
        """One step; what ends by <eos> there is finished at once, since it raises the bound."""
        log_probs = self._steps.step(rows, np.array(parents, np.int64))
        totals = np.array([row.log_prob for row in rows])[:, None] + log_probs
        for number, row in enumerate(rows):
            self._finish(self._steps.extended(row, number, EOS_ID, float(totals[number, EOS_ID])))
        totals[:, EOS_ID] = -np.inf
        places = np.flatnonzero(totals > self._bound())
        places = places[np.argsort(-totals.reshape(-1)[places], kind="stable")]
        return _Level(self._steps.mark(), rows, totals, iter(places.tolist()))

    def _above_bound(self, level: _Level) -> tuple[list[Row], list[int]]:
        """The next few rows that may still lead above the bound, and which rows of the level they continue."""
        self._steps.return_to(level.mark)
        rows, parents = list[Row](), list[int]()
        for place in level.places:
            parent, token = divmod(place, level.totals.shape[1])
            total = float(level.totals[parent, token])
            if total <= self._bound():
                break
            row = self._steps.extended(level.rows[parent], parent, token, total)
            if row.ended:
                self._finish(row)
            else:
                rows.append(row)
                parents.append(parent)
            if len(rows) == _TOGETHER:
                break
        return rows, parents

    def _finish(self, row: Row) -> None:
        """Keep a finished hypothesis, if it is one of the n best by now."""
        if row.log_prob > self._bound():
            found = row.hypothesis(row.log_prob)
            self._best[found.ids] = found
            self._best = {one.ids: one for one in ranked(list(self._best.values()), self._n_best)}
