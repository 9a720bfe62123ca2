"""Vectors as a source: one for each example, as of an image that is to have a caption, or one for each of its regions.

    VECTORS.npy: float32 (examples, F), or (examples, regions, F); mapped into memory, never read as a whole.

A single vector is what Vinyals et al., "Show and tell" (2015), start their decoder from; regions are what that of Xu et
al., "Show, attend and tell" (2015), attends to.
"""

from __future__ import annotations

from seq2seq.run.errors import UserError
from seq2seq.run.registry import register
from seq2seq.sources.arrays import mapped, require_numbers
from seq2seq.sources.row_files import RowSource
from seq2seq.sources.rows import Rows


@register("source", "vectors")
class VectorSource(RowSource):
    """One row of each example, or the same number of rows of all."""

    form = "VECTORS.npy"

    def read_rows(self, path: str) -> list[Rows]:
        array = mapped(path)
        require_numbers(path, array, (2, 3))
        if array.ndim == 3 and not array.shape[1]:
            raise UserError(f"{path}: shape {array.shape}; expected a region or more in every example")
        return [example.reshape(-1, array.shape[-1]) for example in array]
