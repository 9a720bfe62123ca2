"""RowGradient: the gradient of a table of which only some rows were used.

Contract: the rows that are not listed have gradient 0. Terms that are added up are merged when they are first read,
each row's in the order in which they came, so a table used by T decoder steps is sorted once and not T times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad.leaves import SparseGradient
from minigrad.tensor import Tensor

Array = np.ndarray


class RowGradient(SparseGradient):
    """What ``.grad`` holds after ``embedding(..., sparse=True)``.

    Args:
        rows: (R,) int64, ascending and distinct.
        values: (R, E) the gradient of these rows, floating point; kept without a copy.
        shape: (V, E) of the table.

    Ops do not take it: ``to_dense()`` makes a Tensor of it. ``array`` is the dense form for reading, made at each call.
    """

    __slots__ = ("_terms", "shape")

    def __init__(self, rows: Array, values: Array, shape: tuple[int, ...]) -> None:
        if rows.shape != values.shape[:1] or values.shape[1:] != shape[1:]:
            raise ValueError(
                f"RowGradient: rows has shape {rows.shape} and values {values.shape}; expected (R,) and (R, E) "
                f"for a table of shape {shape}"
            )
        self._terms = [(rows, values)]
        self.shape = shape

    def _merged(self) -> tuple[Array, Array]:
        if len(self._terms) > 1:
            rows, values = (np.concatenate(arrays) for arrays in zip(*self._terms, strict=True))
            self._terms = [kernels.embedding_backward(values, rows)]
        return self._terms[0]

    @property
    def rows(self) -> Array:
        """(R,) int64, ascending and distinct."""
        return self._merged()[0]

    @property
    def values(self) -> Array:
        """(R, E) the gradient of ``rows``."""
        return self._merged()[1]

    @property
    def dtype(self) -> np.dtype:
        return self._terms[0][1].dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_cuda(self) -> bool:
        return kernels.on_device(self._terms[0][1])

    def dim(self) -> int:
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    @property
    def array(self) -> Array:
        """(V, E), read-only on the host, made anew at each call: writing to it would change nothing."""
        dense = self.dense_array()
        if isinstance(dense, np.ndarray):
            dense.flags.writeable = False
        return dense

    def numpy(self) -> Array:
        """``array``."""
        return self.array

    def dense_array(self) -> Array:
        """(V, E) with zeros in the other rows, memory of its own."""
        dense = np.zeros(self.shape, self.dtype, like=self._terms[0][1])
        dense[self.rows] = self.values
        return dense

    def to_dense(self) -> Tensor:
        """(V, E) with zeros in the other rows."""
        return Tensor(self.dense_array())

    def append(self, other: RowGradient, owned: bool) -> None:
        """self += other; ``owned``: nobody else holds the arrays of ``other``."""
        self._terms += other._terms if owned else other.clone()._terms

    def add_to(self, dense: Array) -> None:
        """dense (V, E) += self, in place; reads and writes the listed rows alone."""
        dense[self.rows] += self.values

    def clone(self) -> RowGradient:
        """A copy with memory of its own."""
        return RowGradient(self.rows.copy(), self.values.copy(), self.shape)

    def detach(self) -> RowGradient:
        """Itself: gradients are not on the tape."""
        return self

    def astype(self, dtype: Any) -> RowGradient:
        """Itself if it has that dtype, else converted."""
        if self.dtype == dtype:
            return self
        return RowGradient(self.rows, self.values.astype(dtype), self.shape)

    def to(self, *args: Any, **keywords: Any) -> RowGradient:
        """``values.to(...)``: to another dtype or device."""
        values = Tensor(self.values).to(*args, **keywords).array
        return RowGradient(kernels.like(self.rows, values), values, self.shape)

    def mul_(self, factor: Any) -> RowGradient:
        """self *= factor, a number or a 0-d array, rounded to its dtype first."""
        values = self.values
        values *= factor.astype(values.dtype) if kernels.on_device(factor) else values.dtype.type(factor)
        return self

    def clamp_(self, low: float, high: float) -> RowGradient:
        """Every listed element limited to [low, high]; ValueError unless low <= 0 <= high, which keeps the others."""
        if not low <= 0 <= high:
            raise ValueError(f"clamp_: low is {low} and high {high}; expected low <= 0 <= high for a row-wise gradient")
        np.clip(self.values, low, high, out=self.values)
        return self

    def zero_(self) -> RowGradient:
        """No rows any more."""
        held = self._terms[0][1]
        self._terms = [(np.zeros(0, np.int64, like=held), np.zeros((0, *self.shape[1:]), self.dtype, like=held))]
        return self

    def __repr__(self) -> str:
        return f"RowGradient({len(self.rows)} rows of shape {self.shape}, dtype={self.dtype})"
