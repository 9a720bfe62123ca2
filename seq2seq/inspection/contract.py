"""What a check is: a function from a corpus to the pairs at fault, registered with its name, level and message."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

LEVELS = ("error", "warning", "hint")  # harms a training; is likely a mistake; is good to know
_EXAMPLES = 5
_ROOMS = ("characters", "pairs", "languages", "alignment")


class Item(NamedTuple):
    """A pair and where it stands: ``line`` of ``file``, which is of ``split``."""

    src: str
    trg: str
    split: str
    file: str
    line: int


@dataclass(frozen=True)
class Corpus:
    """The pairs of all splits.

    Attributes:
        name: of the data.
        src_language, trg_language: codes, "xx" where none is known.
        items: training pairs first, in the order of their files.
    """

    name: str
    src_language: str
    trg_language: str
    items: Sequence[Item]

    def side(self, number: int) -> list[str]:
        """All sources (0) or targets (1)."""
        return [(item.src, item.trg)[number] for item in self.items]

    def split(self, name: str) -> list[int]:
        """The numbers of the pairs of a split."""
        return [number for number, item in enumerate(self.items) if item.split == name]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        name, level, message, advice: of the check.
        count: pairs at fault.
        examples: the first of them.
    """

    name: str
    level: str
    message: str
    advice: str
    count: int
    examples: tuple[Item, ...]


@dataclass(frozen=True)
class Check:
    """A registered check; ``find`` gives the numbers of the pairs at fault."""

    name: str
    level: str
    message: str
    advice: str
    find: Callable[[Corpus], Iterable[int]] = field(repr=False)

    def run(self, corpus: Corpus) -> Finding | None:
        numbers = sorted(set(self.find(corpus)))
        if not numbers:
            return None
        examples = tuple(corpus.items[number] for number in islice(numbers, _EXAMPLES))
        return Finding(self.name, self.level, self.message, self.advice, len(numbers), examples)


_checks: dict[str, Check] = {}

Find = Callable[[Corpus], Iterable[int]]


def check(level: str, message: str, advice: str) -> Callable[[Find], Find]:
    """Register a function under its own name.

    Args:
        level: one of ``LEVELS``.
        message: what is wrong with the pairs that it finds, behind their number.
        advice: what to do.
    """
    if level not in LEVELS:
        raise ValueError(f"check: level is {level!r}; expected {', '.join(LEVELS)}")

    def put(find: Find) -> Find:
        name = find.__name__.replace("_", "-")
        _checks[name] = Check(name, level, message, advice, find)
        return find

    return put


def checks() -> tuple[Check, ...]:
    """Those that are registered, the gravest first, then by name."""
    for room in _ROOMS:
        importlib.import_module(f"seq2seq.inspection.{room}")
    return tuple(sorted(_checks.values(), key=lambda one: (LEVELS.index(one.level), one.name)))


def examine(corpus: Corpus) -> Iterator[Finding]:
    """What all checks find, the gravest first."""
    return (found for one in checks() if (found := one.run(corpus)) is not None)


def rare(numbers: Iterable[int], total: int, share: float = 0.2) -> list[int]:
    """The numbers, unless they are so many of ``total`` that this is how the data are meant to be."""
    listed = list(numbers)
    return listed if len(listed) <= share * total else []
