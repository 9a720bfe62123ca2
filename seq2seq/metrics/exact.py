"""Exact match: whole sentences that are right."""

from __future__ import annotations

import numpy as np

from seq2seq.metrics.contract import Array, Metric, References, Sentences


class ExactMatch(Metric):
    """The share, in percent, of sentences equal to one of their references up to blanks (and case)."""

    name = "exact_match"

    def statistics(self, hypotheses: Sentences, references: References) -> Array:
        pairs = zip(hypotheses, references, strict=True)
        hits = [self._normal(hypothesis) in map(self._normal, refs) for hypothesis, refs in pairs]
        return np.stack([np.array(hits, np.float64), np.ones(len(hits))], axis=1)

    def signature(self, references: References) -> str:
        return self.signed(references, blanks="any")

    def _normal(self, sentence: str) -> str:
        return self.cased(" ".join(sentence.split()))


def exact_match(hypotheses: Sentences, references: References, lowercase: bool) -> float:
    """The figure of ``ExactMatch``; NaN of no sentences. Errors as ``Metric.score``."""
    return ExactMatch(lowercase).score(hypotheses, references).value
