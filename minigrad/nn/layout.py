"""Batches of sequences as rows: what acts on each position alone works on rows, what mixes positions on padded ones.

T time, N batch, P rows (packed ones have no padding among them), F features.
"""

from __future__ import annotations

import numpy as np

from minigrad.nn.utils.rnn import PackedSequence, lengths_of
from minigrad.ops.packed import PlaceRows, SplitRows
from minigrad.tensor import Tensor

Array = np.ndarray


class Layout:
    """Where the rows of a batch lie in its padded form.

    Attributes:
        num_steps, batch_size: T and N of the padded form.
        lengths: (N,) int64, or None where all are T by what is known.
    """

    def __init__(
        self, num_steps: int, batch_size: int, lengths: Array | None = None, rows: Array | None = None
    ) -> None:
        self.num_steps, self.batch_size, self.lengths = num_steps, batch_size, lengths
        self._rows = rows  # (T, N) int64: which row, -1 in the padding; None where rows are the steps one after another

    @classmethod
    def of(cls, sequence: PackedSequence) -> Layout:
        """That of the data of a packed sequence."""
        sizes, lengths = sequence.batch_sizes.array, lengths_of(sequence)
        steps, in_order = np.arange(len(sizes))[:, None], np.arange(len(lengths))
        columns = in_order if sequence.unsorted_indices is None else sequence.unsorted_indices.array
        rows = np.where(steps < lengths, (np.cumsum(sizes) - sizes)[:, None] + columns, -1)
        plain = (columns == in_order).all() and (sizes == len(lengths)).all()
        return cls(len(sizes), len(lengths), lengths, None if plain else rows)

    def pad(self, x: Tensor, num_parts: int = 1) -> tuple[Tensor, ...]:
        """(P, n F) -> n tensors (T, N, F), the parts of the columns; zero in the padding."""
        parts = (x,) if self._rows is None and num_parts == 1 else SplitRows.apply(x, self._rows, num_parts)
        return tuple([part.reshape(self.num_steps, self.batch_size, part.shape[-1]) for part in parts])

    def pack(self, x: Tensor) -> Tensor:
        """(T, N, F) -> (P, F)."""
        flat = x.reshape(self.num_steps * self.batch_size, x.shape[-1])
        if self._rows is None:
            return flat
        filled = np.flatnonzero(self._rows >= 0)
        positions = np.empty_like(filled)
        positions[self._rows.reshape(-1)[filled]] = filled
        return PlaceRows.apply(flat, positions, 0)
