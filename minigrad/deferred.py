"""Gradients that are no arrays yet, since a loop in Python would make a large one of each at every step.

A weight that a loop uses gets a few rows at every step. Summed step by step, the gradient of a layer of V words costs T
products of a few rows, T arrays of the weight's size and as many additions; over the rows of all steps it is one
product, at the speed of whole sequences. So the walk keeps the rows until the last use has come, or until they are
many, or take more memory than the gradient itself.

An array of which a loop reads a slice at every step gets a gradient that is zero but in that slice. As arrays of the
whole they cost memory traffic that grows with T squared; so the walk adds each slice to one array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

ALWAYS_KEPT = 1 << 18  # numbers of rows that may wait however small the gradient is: a megabyte


class DeferredGradient:
    """What ``backward`` may return for a weight: rows, and the function that makes its gradient of them.

    Args:
        function: ``function(*rows, *constants)`` is the gradient, a new array; of two lots of rows, one behind the
            other, it is the sum of their gradients.
        rows: arrays of one length, kept without a copy: nobody may write into them while a backward runs.
        constants: what else the function takes, comparable by ``==``.
        shape, dtype: of the gradient.
        enough: so many rows are summed as fast as more would be, so they need not wait; None where there are never
            enough.
    """

    __slots__ = ("_constants", "_enough", "_function", "_numbers", "_terms", "dtype", "shape")

    def __init__(
        self,
        function: Callable[..., np.ndarray],
        rows: tuple[np.ndarray, ...],
        constants: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype,
        enough: int | None = None,
    ) -> None:
        self._function, self._constants, self._enough = function, constants, enough
        self._terms = [rows]
        self._numbers = sum([array.size for array in rows])
        self.shape, self.dtype = shape, dtype

    def append(self, other: DeferredGradient) -> bool:
        """self += other; False, and nothing done, where the two are not of one function and its constants."""
        if self._function is not other._function or self._constants != other._constants:
            return False
        self._terms += other._terms
        self._numbers += other._numbers
        return True

    @property
    def may_wait(self) -> bool:
        """Whether its rows are not enough, and take no more memory than the gradient would, or not much."""
        if self._enough is not None and sum([len(rows[0]) for rows in self._terms]) >= self._enough:
            return False
        return self._numbers <= ALWAYS_KEPT or self._numbers <= math.prod(self.shape)

    def computed(self) -> np.ndarray:
        """The gradient, in memory of its own."""
        if len(self._terms) == 1:
            rows = self._terms[0]
        else:
            rows = tuple(np.concatenate(arrays) for arrays in zip(*self._terms, strict=True))
        return self._function(*rows, *self._constants)


class PartGradient:
    """What ``backward`` may return for an argument of which forward read a part: zero, but there.

    Args:
        add: ``add(array)`` adds the part to an array of the argument's shape, in place.
        shape: of the argument.
        part: the gradient of the part, whose dtype and device the whole has.
    """

    __slots__ = ("_add", "_part", "shape")

    def __init__(self, add: Callable[[np.ndarray], None], shape: tuple[int, ...], part: np.ndarray) -> None:
        self._add, self._part, self.shape = add, part, shape

    @property
    def dtype(self) -> np.dtype:
        return self._part.dtype

    def add_to(self, array: np.ndarray) -> None:
        """array += the gradient."""
        self._add(array)

    def computed(self) -> np.ndarray:
        """The gradient, in memory of its own."""
        whole = np.zeros(self.shape, self.dtype, like=self._part)
        self._add(whole)
        return whole
