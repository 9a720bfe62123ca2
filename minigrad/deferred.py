"""A gradient that is a sum over rows and not summed yet, so that several uses of a weight can share one sum.

A loop in Python uses the same weight at every step, for a few rows each. Summed step by step, the gradient of a layer
of V words costs T products of a few rows, T arrays of the weight's size and as many additions; over the rows of all
steps it is one product, at the speed of whole sequences. The walk keeps the rows until the last use has come, or until
they take more memory than the gradient itself.
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
    """

    __slots__ = ("_constants", "_function", "_terms", "dtype", "shape")

    def __init__(
        self,
        function: Callable[..., np.ndarray],
        rows: tuple[np.ndarray, ...],
        constants: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype,
    ) -> None:
        self._function, self._constants = function, constants
        self._terms = [rows]
        self.shape, self.dtype = shape, dtype

    def append(self, other: DeferredGradient) -> bool:
        """self += other; False, and nothing done, where the two are not of one function and its constants."""
        if self._function is not other._function or self._constants != other._constants:
            return False
        self._terms += other._terms
        return True

    @property
    def may_wait(self) -> bool:
        """Whether its rows take no more memory than the gradient would, or not much."""
        numbers = sum(array.size for rows in self._terms for array in rows)
        return numbers <= max(math.prod(self.shape), ALWAYS_KEPT)

    def computed(self) -> np.ndarray:
        """The gradient, in memory of its own."""
        if len(self._terms) == 1:
            rows = self._terms[0]
        else:
            rows = tuple(np.concatenate(arrays) for arrays in zip(*self._terms, strict=True))
        return self._function(*rows, *self._constants)
