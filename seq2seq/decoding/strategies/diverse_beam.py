"""Diverse beam search (Vijayakumar et al., "Diverse beam search: decoding diverse solutions from neural sequence
models", 2018, algorithm 1, with the Hamming diversity of section 5): the beam in groups, of which each at every step
avoids the tokens that the groups before it have just taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seq2seq.decoding.contract import Array, Hypothesis, Row, Scorer, Search, Sources, Steps
from seq2seq.decoding.ranking import Ranking
from seq2seq.decoding.strategies.beam import Beam, BeamOptions, Rows, grow, ranked
from seq2seq.run.errors import UserError
from seq2seq.run.registry import option, register


@dataclass(frozen=True)
class DiverseBeamOptions(BeamOptions):
    """Those of a beam, and its groups."""

    diversity_groups: int = option(0, "equal parts of the beam, which keep apart; 0 is one for each row", 0, 1000)
    diversity_strength: float = option(0.5, "log p that a token loses for each row that has just taken it", 0.0, 1e6)


@register("strategy", "diverse-beam")
class DiverseBeam(Beam):
    """The ``n_best`` best-scored hypotheses that the groups of a beam find; log p and score are as of a plain beam."""

    Options = DiverseBeamOptions

    def check(self, n_best: int) -> None:
        super().check(n_best)
        size, groups = self.options.beam_size, self.options.diversity_groups
        if groups and size % groups:
            raise UserError(f"diversity_groups is {groups}; expected a divisor of beam_size = {size}")

    def find(self, scorer: Scorer, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        def make(*arguments: object) -> _Groups:
            return _Groups(self.options, *arguments)  # type: ignore[arg-type]

        return grow(scorer, sources, search, self.ranking, self.options.beam_size, make)


class _Groups:
    """The ``Growing`` groups of one source; further arguments are those of ``Rows``."""

    def __init__(
        self, options: DiverseBeamOptions, steps: Steps, row: Row, size: int, n_best: int, ranking: Ranking
    ) -> None:
        count = options.diversity_groups or size
        self._groups = [Rows(steps, row, size // count, n_best, ranking) for _ in range(count)]
        self._strength, self._n_best = options.diversity_strength, n_best

    @property
    def rows(self) -> Sequence[Row]:
        return [row for group in self._groups for row in group.rows]

    def extend(self, log_probs: Array, first: int) -> Sequence[int]:
        taken, parents, start = np.zeros(log_probs.shape[1]), list[int](), 0
        for group in [group for group in self._groups if group.rows]:
            end = start + len(group.rows)
            parents += group.extend(log_probs[start:end], first + start, -self._strength * taken)
            np.add.at(taken, group.chosen, 1)
            start = end
        return parents

    def best(self) -> list[Hypothesis]:
        """As of ``Growing``; what several groups have found counts once."""
        found = {one.ids: one for group in self._groups for one in group.finished}
        return ranked(list(found.values()), self._n_best)
