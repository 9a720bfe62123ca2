"""Figures of a corpus: how many pairs, how long they are, how fast their words grow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from seq2seq.inspection.contract import Corpus

_WORD = re.compile(r"\w+|[^\w\s]")
_POINTS = 10  # at which the vocabulary is counted
_QUANTILES = {"median": 0.5, "q95": 0.95, "q99": 0.99, "longest": 1.0}
SIDES = ("source", "target")


def figures(corpus: Corpus) -> dict[str, Any]:
    """All figures, as JSON can hold them.

    Returns:
        pairs: by the split, their number;
        source, target: of the training pairs ``words`` and ``characters`` (number, and quantiles of a line's),
        ``histogram`` (lines of so many words, in ten bins, and their ``edges``), ``vocabulary``: ``distinct`` words,
        those that occur ``once``, and how many are distinct after each tenth of the pairs (``growth``).
    """
    train = corpus.split("train")
    pairs = Counter(item.split for item in corpus.items)
    sides = {name: _side([corpus.items[n][:2][number] for n in train]) for number, name in enumerate(SIDES)}
    return {"name": corpus.name, "languages": [corpus.src_language, corpus.trg_language], "pairs": dict(pairs), **sides}


def words_of(line: str) -> list[str]:
    """Words and marks, as they stand."""
    return _WORD.findall(line)


def _side(lines: Sequence[str]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    growth, sizes = [], []
    ends = {len(lines) * point // _POINTS for point in range(1, _POINTS + 1)}
    for number, line in enumerate(lines, start=1):
        words = words_of(line)
        counts.update(words)
        sizes.append(len(words))
        if number in ends:
            growth.append(len(counts))
    characters = [len(line) for line in lines]
    histogram, edges = np.histogram(sizes, bins=10, range=(0, max(10, int(np.quantile(sizes, 0.99)) if sizes else 0)))
    return {
        "words": {"number": sum(sizes), **_quantiles(sizes)},
        "characters": {"number": sum(characters), **_quantiles(characters)},
        "histogram": histogram.tolist(),
        "edges": [round(edge, 1) for edge in edges.tolist()],
        "vocabulary": {
            "distinct": len(counts), "once": sum(count == 1 for count in counts.values()), "growth": growth,
        },
    }  # fmt: skip


def _quantiles(sizes: Sequence[int]) -> dict[str, int]:
    return {name: int(np.quantile(sizes, q)) if sizes else 0 for name, q in _QUANTILES.items()}
