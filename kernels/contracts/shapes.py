"""Shapes in the letters of the legend: what "4H I" asks of an array, and what an error says of one that differs.

A shape is a text of sizes with blanks between: a letter, a multiple of one (4H), a number (9), and at the front perhaps
a star with a letter (*S), which is any number of dimensions.
"""

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

SIZE = re.compile(r"(\d*)(\*?[A-Z]?)")
Sizes = dict[str, Any]  # of each letter; a tuple for one with a star


class Size(NamedTuple):
    """One dimension: a multiple of what a letter stands for, which is 1 where there is no letter."""

    factor: int
    letter: str

    def __str__(self) -> str:
        return f"{self.factor if self.factor != 1 or not self.letter else ''}{self.letter}"


class Shape:
    """What one array is to look like.

    Args:
        text: see above.
    """

    def __init__(self, text: str) -> None:
        parts = [SIZE.fullmatch(part) for part in text.split()]
        if None in parts:
            raise ValueError(f"{text!r} is no shape")
        self.sizes = [Size(int(part[1] or 1), part[2]) for part in parts if part]
        self.starred = text.startswith("*")  # its rank is open
        self.rank = len(self.sizes) - self.starred  # dimensions, without those of a star

    def fits_rank(self, rank: int) -> bool:
        """Whether an array may have so many dimensions."""
        return rank == self.rank or (self.starred and rank > self.rank)

    def expected(self, sizes: Sizes) -> tuple[int, ...]:
        """The shape in numbers."""
        if self.starred:
            (_, star), *rest = self.sizes
            return (*sizes[star], *[factor * sizes[letter] for factor, letter in rest])
        return tuple([factor * sizes[letter] if letter else factor for factor, letter in self.sizes])

    def readers(self) -> dict[str, Callable[[tuple[int, ...]], Any]]:
        """For each letter, what reads its value off the shape of an array."""
        return {size.letter: self._reader(axis, size) for axis, size in enumerate(self.sizes) if size.letter}

    def _reader(self, axis: int, size: Size) -> Callable[[tuple[int, ...]], Any]:
        from_the_end = axis - len(self.sizes)
        if size.letter.startswith("*"):
            return itemgetter(slice(None, from_the_end + 1 or None))
        if size.factor == 1:
            return itemgetter(from_the_end)
        return lambda shape: shape[from_the_end] // size.factor

    def text(self, stars: dict[str, str]) -> str:
        """(4H, I), with each star as the shape of the array that `stars` names."""
        if self.starred and not self.rank:
            return f"{stars[self.sizes[0].letter]}.shape"
        parts = [f"*{stars[size.letter]}.shape" if size.letter in stars else str(size) for size in self.sizes]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
