"""The checks of a call's arrays, made ready when a stub is read.

All arrays lie on the host or all on a GPU, all floating ones have one dtype, and a letter means one size: a count of a
record, or else what the first array with the letter has.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.contracts.backend import lie_on_device
from kernels.contracts.shapes import Shape, Sizes

FLOATING = (np.dtype(np.float32), np.dtype(np.float64))


class Mark(NamedTuple):
    """What a stub may say of an array beside its shape."""

    meaning: str


integers = Mark("of any integer dtype")
int64 = Mark("of dtype int64")
any_dtype = Mark("of any dtype, and of one with the others")
mixed = Mark("of a floating dtype of its own")
on_host = Mark("NumPy's, wherever the others lie, and of a floating dtype of its own")
updated = Mark("written to in place")
as_it_lies = Mark("not made contiguous")
gradient = Mark("judged by the other arrays: letters are theirs where they have them")


class Slot(NamedTuple):
    """One array of a call."""

    name: str  # as errors say it
    shape: Shape | None  # None for any
    marks: frozenset[Mark]
    optional: bool = False


class Facts(NamedTuple):
    """What the arrays of a call say."""

    on_device: bool
    dtype: np.dtype | None  # of the floating ones
    sizes: Sizes


class Plan:
    """How to check the arrays of an entry.

    Args:
        entry: its name, for messages.
        slots: its arrays.
        counts: for a letter that is the count of a record, what errors say of that.
    """

    def __init__(self, entry: str, slots: Sequence[Slot], counts: dict[str, str]) -> None:
        self._entry, self._slots, self._counts = entry, slots, counts
        self._names = [slot.name for slot in slots]
        self._marks = [slot.marks for slot in slots]
        self._shapes = [(position, slot.shape) for position, slot in enumerate(slots) if slot.shape is not None]
        self._readers, self._origins = self._bind()
        self._fixed = [(position, shape) for position, shape in self._shapes if self._says_more(position, shape)]

    def _bind(self) -> tuple[list[tuple[str, int, Any]], dict[str, int]]:
        """What reads each letter's size off an array, the first that has the letter, and that array's position."""
        origins: dict[str, int] = {}
        readers = []
        certain = [(position, shape) for position, shape in self._shapes if not self._slots[position].optional]
        for position, shape in sorted(certain, key=lambda pair: gradient in self._marks[pair[0]]):
            for letter, reader in shape.readers().items():
                if letter not in self._counts and origins.setdefault(letter, position) == position:
                    readers.append((letter, position, reader))
        return readers, origins

    def _says_more(self, position: int, shape: Shape) -> bool:
        """Whether an array's sizes are not all its own to choose."""
        return any(size.factor != 1 or self._origins.get(size.letter) != position for size in shape.sizes)

    def check(self, arrays: list[Any], counts: Sizes) -> Facts:
        """The arrays, and the counts of records, are as the stub says.

        Raises:
            TypeError, ValueError: one of another kind, dtype or shape.
        """
        return Facts(self._check_places(arrays), self._check_dtypes(arrays), self._check_shapes(arrays, counts))

    def _check_places(self, arrays: list[Any]) -> bool:
        sides: tuple[list[Any], list[Any]] = ([], [])  # those that lie anywhere, and those of the host
        for slot, array in zip(self._slots, arrays, strict=True):
            if array is None and not slot.optional:
                raise TypeError(f"{self._entry}: {slot.name} is None; expected an array")
            sides[on_host in slot.marks].append((slot.name, array))
        anywhere, host = sides
        if host and lie_on_device(host):
            raise TypeError(f"{self._entry}: {host[0][0]} lies on a GPU; expected a NumPy array, on the host")
        return lie_on_device(anywhere)

    def _named(self, arrays: list[Any]) -> Any:
        return zip(self._names, arrays, self._marks, strict=True)

    def _check_dtypes(self, arrays: list[Any]) -> np.dtype | None:
        first: np.dtype | None = None
        for name, array, marks in self._named(arrays):
            if array is None:
                continue
            if marks and marks & {integers, int64}:
                if array.dtype.kind not in "iu":
                    raise self._dtype_error(name, array, "an integer dtype")
                if int64 in marks and array.dtype != np.int64:
                    raise self._dtype_error(name, array, "int64")
            elif first is None or array.dtype != first:
                if array.dtype not in FLOATING and any_dtype not in marks:
                    raise self._dtype_error(name, array, "float32 or float64")
                if first is None:
                    first, first_name = array.dtype, name
                elif not marks & {mixed, on_host}:
                    raise self._dtype_error(name, array, f"{first} as {first_name}")
        return first

    def _dtype_error(self, name: str, array: Any, expected: str) -> Exception:
        return TypeError(f"{self._entry}: {name} has dtype {array.dtype}; expected {expected}")

    def _check_shapes(self, arrays: list[Any], counts: Sizes) -> Sizes:
        for position, shape in self._shapes:
            array = arrays[position]
            if array is not None and not shape.fits_rank(array.ndim):
                raise self._rank_error(position, array.shape, shape)
        sizes = counts | {letter: read(arrays[position].shape) for letter, position, read in self._readers}
        for position, shape in self._fixed:
            array = arrays[position]
            if array is not None and array.shape != shape.expected(sizes):
                raise self._shape_error(position, arrays, shape, sizes)
        return sizes

    def _rank_error(self, position: int, got: tuple[int, ...], shape: Shape) -> Exception:
        least = "at least " if shape.starred else ""
        expected = f"{least}{shape.rank} dimensions {shape.text(self._stars())}"
        return ValueError(f"{self._entry}: {self._names[position]} has shape {got}; expected {expected}")

    def _shape_error(self, position: int, arrays: list[Any], shape: Shape, sizes: Sizes) -> Exception:
        sources = []
        for letter in dict.fromkeys(size.letter for size in shape.sizes if size.letter):
            origin = self._origins.get(letter)
            if origin is None:
                sources.append(f"{self._counts[letter]} {sizes[letter]}")
            elif origin != position:
                sources.append(f"{self._names[origin]} {arrays[origin].shape}")
        text = f"{shape.text(self._stars())} = {shape.expected(sizes)}"
        text += " from " * bool(sources) + " and ".join(dict.fromkeys(sources))
        got = f"{self._names[position]} has shape {arrays[position].shape}"
        return ValueError(f"{self._entry}: {got}; expected {text}")

    def _stars(self) -> dict[str, str]:
        return {letter: self._names[origin] for letter, origin in self._origins.items() if letter.startswith("*")}
