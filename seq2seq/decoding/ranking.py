"""How finished hypotheses are ranked (Wu et al., "Google's neural machine translation system", 2016, equation 14).

    score = log p / lp + cp
    lp = length^a                      "power", a plain power of the length, which is the mean log p where a is 1
    lp = ((5 + length) / 6)^a          "wu"
    cp = b sum_i log min(sum_j p_ij, 1)

with a the length penalty, b the coverage penalty, and p_ij the weight of source token i at target token j. <eos> counts
in the length and in the coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seq2seq.decoding.contract import Array
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.registry import option

_FORMS = "power", "wu"
_LEAST = np.finfo(np.float32).tiny  # of a coverage: that of no weight at all has a logarithm too


@dataclass(frozen=True)
class RankingOptions:
    """Those of the strategies that rank hypotheses of several lengths."""

    length_penalty: float = option(1.0, "the higher, the longer translations may be; 0 ranks by log p", 0.0, 10.0)
    length_penalty_form: str = option("power", "log p is divided by: power, length^a; wu, ((5 + length) / 6)^a")
    coverage_penalty: float = option(0.0, "how much source tokens count that no target token attends to", 0.0, 100.0)


@dataclass(frozen=True)
class Ranking:
    """Scores by some RankingOptions; UserError for a form that there is not."""

    options: RankingOptions

    def __post_init__(self) -> None:
        if self.options.length_penalty_form not in _FORMS:
            found, expected = shown(self.options.length_penalty_form), " or ".join(_FORMS)
            raise UserError(f"length_penalty_form is {found}; expected {expected}")

    @property
    def by_power(self) -> bool:
        """Whether a plain power of the length is all that counts beside log p."""
        return self.options.length_penalty_form == "power" and self.options.coverage_penalty == 0

    @property
    def needs_alignment(self) -> bool:
        return self.options.coverage_penalty != 0

    def score(self, log_prob: float, length: int, alignment: Sequence[Array] = ()) -> float:
        """Of a finished hypothesis: ``length`` with <eos>, and the weights (S,) of each of its tokens."""
        score = log_prob / self._divisor(length)
        return score + self._coverage(alignment) if self.needs_alignment else score

    def most(self, log_prob: float, longest: int) -> float:
        """The score that a hypothesis going on, of this log p by now, can get at most by ``longest`` tokens.

        More tokens can but lower log p, and what they cover is at most everything.
        """
        return log_prob / self._divisor(longest if self.options.length_penalty > 0 else 1)

    def _divisor(self, length: int) -> float:
        base = length if self.options.length_penalty_form == "power" else (5 + length) / 6
        divisor: float = base**self.options.length_penalty
        return divisor

    def _coverage(self, alignment: Sequence[Array]) -> float:
        covered = np.sum(alignment, axis=0, dtype=np.float64)
        return self.options.coverage_penalty * float(np.log(np.clip(covered, _LEAST, 1.0)).sum())
