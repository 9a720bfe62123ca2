"""Frames as a source: rows of numbers, as many as each example has, as of a spoken sentence.

FRAMES.npz: `rows` float32 (all frames, F), those of one example after those of another; `lengths` int (examples,)
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from seq2seq.run.errors import UserError
from seq2seq.run.registry import register
from seq2seq.sources.arrays import archive, require_numbers
from seq2seq.sources.row_files import RowSource
from seq2seq.sources.rows import Rows


@register("source", "frames")
class FrameSource(RowSource):
    """Rows of unequal number."""

    form = "FRAMES.npz"

    def read_rows(self, path: str) -> list[Rows]:
        rows, lengths = archive(path, ("rows", "lengths"))
        require_numbers(f"{path}: rows", rows, (2,))
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            raise UserError(f"{path}: lengths: {lengths.dtype} of shape {lengths.shape}; expected integers (examples,)")
        if (lengths < 1).any():
            number = int(np.argmax(lengths < 1))
            raise UserError(f"{path}: example {number + 1:,} has {lengths[number]} frames; expected one or more")
        total = sum(lengths.tolist())  # of Python's integers, which do not overflow
        if total != len(rows):
            raise UserError(f"{path}: the lengths add up to {total:,}, the number of rows is {len(rows):,}")
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        return [rows[start:end] for start, end in pairwise([0, *ends])]
