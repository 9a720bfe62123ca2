"""How well words are translated by how rare they are: the ids of a vocabulary count from the most frequent on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seq2seq.text.vocabulary import SPECIALS, Vocabulary

_BOUNDS = (100, 1000, 5000)


class Share(NamedTuple):
    """Words of like rank in the references: how many, and how many of them the translations have."""

    name: str
    total: int
    found: int

    @property
    def percent(self) -> float:
        return 100 * self.found / self.total if self.total else float("nan")


def by_rank(
    references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]], vocabulary: Vocabulary
) -> list[Share]:
    """Of each range of ranks, and of unknown words, what became of them; those that do not occur are left out.

    Args:
        references, hypotheses: of each sentence its tokens; a token of a reference is found as often as the translation
            has it too.
    """
    counts, found = Counter[str](), Counter[str]()
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        wanted = Counter(reference)
        for token, number in wanted.items():
            name = _range_of(token, vocabulary)
            counts[name] += number
            found[name] += min(number, hypothesis.count(token))
    return [Share(name, counts[name], found[name]) for name in _names() if counts[name]]


def _range_of(token: str, vocabulary: Vocabulary) -> str:
    if token not in vocabulary:
        return "unknown"
    rank = vocabulary.encode([token])[0] - len(SPECIALS) + 1
    return _names()[sum(rank > bound for bound in _BOUNDS)]


def _names() -> list[str]:
    starts = (1, *(bound + 1 for bound in _BOUNDS))
    names = [f"{start:,} to {end:,}" for start, end in zip(starts, _BOUNDS, strict=False)]
    return [*names, f"beyond {_BOUNDS[-1]:,}", "unknown"]


def commonest(words: Iterable[Sequence[str]], count: int = 20) -> list[tuple[str, int]]:
    """The words that occur most often, equal ones alphabetically."""
    counts = Counter(word for each in words for word in each)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:count]
