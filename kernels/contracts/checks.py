"""Checks of values that stubs name, and their error texts.

Every message names the function, the argument, what was got and what was expected. A check of an array's values
(lengths, ids, targets) reads it once. Values on a GPU are not looked at, since the host would wait for them: there the
kernels do it, and what they find is raised when numbers are next fetched (`kernels.to_host`).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.contracts.shapes import Sizes

Check = Callable[[str, str, Any, Sizes], None]  # of a value: entry, argument, value, sizes of the letters
UINT32_LIMIT, UINT64_LIMIT = 2**32 - 1, 2**64 - 1
BELOW_ONE = math.nextafter(1.0, 0.0)


class between:  # noqa: N801, it reads as the marks do
    """`check_range` of an argument, which is a number."""

    def __init__(self, low: float, high: float = math.inf) -> None:
        self.low, self.high = low, high


def made_as(record: type) -> Check:
    """A record of this class, field by field. Raises TypeError."""

    def check(function: str, name: str, value: Any, sizes: Sizes) -> None:
        if type(value) is not record:
            raise TypeError(f"{function}: {name} is a {type(value).__name__}; expected {record.__name__}")

    return check


def check_range(function: str, name: str, value: float, low: float, high: float = math.inf) -> None:
    """low <= value <= high; a NaN fails. Raises ValueError."""
    if not low <= value <= high:
        bound = f"a value >= {low}" if math.isinf(high) else f"a value in [{low}, {high}]"
        raise ValueError(f"{function}: {name} is {value}; expected {bound}")


def ids_below(letter: str) -> Check:
    """An id, or every id of an array on the host, is in 0..limit-1, where the letter is the limit."""

    def check(function: str, name: str, value: Any, sizes: Sizes) -> None:
        check_ids(function, name, value, sizes[letter], letter)

    return check


def check_ids(function: str, name: str, ids: Any, limit: int, letter: str) -> None:
    """Raises IndexError naming the first id on the host that is not in 0..limit-1."""
    if isinstance(ids, int):
        ids = np.array([ids])
    if type(ids) is np.ndarray and ids.size and (ids.min() < 0 or ids.max() >= limit):
        worst = int(ids[(ids < 0) | (ids >= limit)][0])
        raise IndexError(f"{function}: {name} holds {worst}; expected 0..{letter}-1 = 0..{limit - 1}")


def ascending(function: str, name: str, rows: Any, sizes: Sizes) -> None:
    """Rows on the host are in ascending order without repetition. Raises ValueError."""
    if isinstance(rows, np.ndarray) and rows.size and not (rows[1:] > rows[:-1]).all():
        raise ValueError(f"{function}: {name} holds {rows.tolist()[:8]}; expected distinct rows in ascending order")


def check_shape(
    function: str, name: str, array: Any, expected: tuple[int, ...], formula: str, **origins: tuple[int, ...]
) -> None:
    """The array has the expected shape, which follows by `formula` from the shapes of `origins`. Raises ValueError."""
    if array.shape != expected:
        source = " and ".join(f"{origin} {shape}" for origin, shape in origins.items())
        raise ValueError(f"{function}: {name} has shape {array.shape}; expected {formula} = {expected} from {source}")
