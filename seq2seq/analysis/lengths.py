"""Scores of sentences of like length together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seq2seq import metrics

_BUCKETS = 8  # at most
_LEAST = 10  # sentences in one, where there are so many


class Scored(NamedTuple):
    """Translations with what they are compared with; ``lengths`` (N,) are those of the sources, in tokens."""

    lengths: np.ndarray
    hypotheses: Sequence[str]
    references: Sequence[Sequence[str]]
    language: str
    lowercase: bool


def buckets(lengths: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of lengths, both ends included, with about as many sentences each, in order; every length is in one."""
    wanted = max(1, min(_BUCKETS, len(lengths) // _LEAST))
    ends = sorted({int(np.quantile(lengths, part / wanted, method="higher")) for part in range(1, wanted + 1)})
    return list(zip([int(lengths.min()), *(end + 1 for end in ends[:-1])], ends, strict=True))


def by_length(found: Scored, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, float]]:
    """Of each range the number of sentences and their corpus BLEU; NaN where it means nothing."""
    scores = []
    for low, high in ranges:
        chosen = np.flatnonzero((found.lengths >= low) & (found.lengths <= high)).tolist()
        hypotheses, references = [found.hypotheses[n] for n in chosen], [found.references[n] for n in chosen]
        score = metrics.bleu(hypotheses, references, found.lowercase, language=found.language) if chosen else None
        scores.append((len(chosen), np.nan if score is None else score.value))
    return scores


def names_of(ranges: Sequence[tuple[int, int]]) -> list[str]:
    """The ranges for people."""
    return [f"{low}" if low == high else f"{low} to {high}" for low, high in ranges]
