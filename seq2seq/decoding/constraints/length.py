"""Hypotheses of a least length; a greatest one is cut by the search itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seq2seq.decoding.contract import Array, Constraint, Row
from seq2seq.run.errors import UserError
from seq2seq.run.registry import option, register
from seq2seq.text.vocabulary import EOS_ID


@dataclass(frozen=True)
class LengthOptions:
    """How long a hypothesis is at least, <eos> not counted."""

    min_output_length: int = option(0, "no translation ends before so many tokens", 0, 100_000)
    min_length_ratio: float = option(0.0, "nor before so many for each token of the source", 0.0, 1000.0)


@register("constraint", "least-length")
class LeastLength(Constraint):
    """Not <eos> before a hypothesis is long enough."""

    Options = LengthOptions

    def check(self, max_length: int) -> None:
        least = self.options.min_output_length
        if least > max_length:
            raise UserError(f"min_output_length is {least}; expected at most max_output_length = {max_length}")

    def __call__(self, log_probs: Array, rows: Sequence[Row]) -> None:
        short = [len(row.ids) < self._least(row.sentence.length) for row in rows]
        log_probs[short, EOS_ID] = -np.inf

    def _least(self, source_length: int) -> float:
        return max(self.options.min_output_length, self.options.min_length_ratio * source_length)
