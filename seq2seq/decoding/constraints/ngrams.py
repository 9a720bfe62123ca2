"""Hypotheses that hold no n-gram twice (Paulus et al., "A deep reinforced model for abstractive summarization", 2018,
section 2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seq2seq.decoding.contract import Array, Constraint, Row
from seq2seq.run.registry import option, register


@dataclass(frozen=True)
class NGramOptions:
    """Which n-grams are blocked."""

    no_repeat_ngram_size: int = option(0, "tokens in a row that no translation holds twice; 0 blocks none", 0, 1000)


@register("constraint", "no-repeat-ngram")
class NoRepeatedNGram(Constraint):
    """No token that would end an n-gram that the hypothesis holds already."""

    Options = NGramOptions

    def __call__(self, log_probs: Array, rows: Sequence[Row]) -> None:
        size = self.options.no_repeat_ngram_size
        for log_prob, row in zip(log_probs, rows, strict=True):
            start = len(row.ids) - size + 1  # of the n-gram to come
            begun = row.ids[max(start, 0) :]
            ends = [i + size - 1 for i in range(max(start, 0)) if row.ids[i : i + size - 1] == begun]
            log_prob[[row.ids[end] for end in ends]] = -np.inf
