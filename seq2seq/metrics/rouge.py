"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, "ROUGE: a package for automatic evaluation of summaries", 2004), as F1.

Words are runs of letters and digits, in lower case and not stemmed. Of several references the best counts, and the
figure is the mean over the sentences: that of the package rouge-score, whose words are ASCII only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from seq2seq.metrics.contract import Array, Metric, References, Sentences

_WORD = re.compile(r"[^\W_]+")


class _Rouge(Metric):
    """The mean F1 of the sentences, in percent."""

    def matches(self, hypothesis: Sequence[str], reference: Sequence[str]) -> tuple[int, int, int]:
        """What both have in common, and what each has of it."""
        raise NotImplementedError

    def statistics(self, hypotheses: Sentences, references: References) -> Array:
        rows = []
        for hypothesis, refs in zip(hypotheses, references, strict=True):
            words = _words(hypothesis)
            rows.append((max(_f1(*self.matches(words, _words(reference))) for reference in refs), 1))
        return np.array(rows, np.float64)

    def signature(self, references: References) -> str:
        return self.signed(references, case="lc", stem="no", score="f1", ref="best")


class Rouge1(_Rouge):
    """Words in common."""

    name, order = "rouge1", 1

    def matches(self, hypothesis: Sequence[str], reference: Sequence[str]) -> tuple[int, int, int]:
        ours, theirs = _ngrams(hypothesis, self.order), _ngrams(reference, self.order)
        return (ours & theirs).total(), ours.total(), theirs.total()


class Rouge2(Rouge1):
    """Pairs of neighbouring words in common."""

    name, order = "rouge2", 2


class RougeL(_Rouge):
    """The longest common subsequence of words."""

    name = "rougeL"

    def matches(self, hypothesis: Sequence[str], reference: Sequence[str]) -> tuple[int, int, int]:
        return _longest_common(hypothesis, reference), len(hypothesis), len(reference)


def _words(sentence: str) -> list[str]:
    return _WORD.findall(sentence.lower())


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest sequence that both hold in order, perhaps with gaps."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = row
        row = [0]
        for j, other in enumerate(second):
            row.append(before[j] + 1 if word == other else max(before[j + 1], row[j]))
    return row[-1]


def _f1(common: int, ours: int, theirs: int) -> float:
    """The harmonic mean of precision common / ours and recall common / theirs; 0 of nothing in common."""
    return 2 * common / (ours + theirs) if common else 0.0
