"""Rows moved by all threads, as bits, so that dtypes of one size share their code. See `kernels.reference.rows`.

NumPy moves rows in one thread, and makes an array of those that it picks before it puts them anywhere.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from kernels.cpu.chunks import rows_per_chunk
from kernels.cpu.jit import jit
from kernels.threads import chunks, run_all


@jit
def copy_numbers(source: np.ndarray, target: np.ndarray) -> None:
    """target <- source, (S,) both.

    Of `target[:] = source` every process that compiles it compiles the text of an error about shapes too, in 2.5 s.
    """
    for k in range(target.shape[0]):
        target[k] = source[k]


@jit
def _move(
    x: np.ndarray, column: int, rows: np.ndarray, fill: np.ndarray, y: np.ndarray, to: int, start: int, stop: int
) -> None:
    """Rows start .. stop - 1 of y, as many columns as the narrower of the two has.

    Args:
        x: its columns from `column` on are read.
        fill: one element, for y where rows are negative.
        y: its columns from `to` on are written.
    """
    width = min(x.shape[1], y.shape[1])
    for i in range(start, stop):
        target, r = y[i, to : to + width], rows[i]
        if r < 0:
            for j in range(width):
                target[j] = fill[0]
        else:
            source = x[r, column : column + width]
            for j in range(width):
                target[j] = source[j]


def _bits(x: np.ndarray) -> np.ndarray:
    """The same memory as unsigned integers."""
    return x.view(f"u{x.itemsize}")


def split_rows(x: np.ndarray, rows: np.ndarray | None, num_parts: int = 1, fill: float = 0.0) -> tuple[np.ndarray, ...]:
    """See `kernels.split_rows`."""
    rows = np.arange(len(x)) if rows is None else rows
    width, filling = x.shape[1] // num_parts, _bits(np.full(1, fill, x.dtype))
    parts = [np.empty((len(rows), width), x.dtype) for _ in range(num_parts)]
    pieces = list(chunks(len(rows), rows_per_chunk(width)))
    run_all([
        partial(_move, _bits(x), part * width, rows, filling, _bits(y), 0, *piece)
        for part, y in enumerate(parts) for piece in pieces
    ])  # fmt: skip
    return tuple(parts)


def join_rows(parts: Sequence[np.ndarray], rows: np.ndarray | None) -> np.ndarray:
    """See `kernels.join_rows`."""
    rows = np.arange(len(parts[0])) if rows is None else rows
    dtype, width = parts[0].dtype, parts[0].shape[1]
    y, nothing = np.empty((len(rows), width * len(parts)), dtype), _bits(np.zeros(1, dtype))
    pieces = list(chunks(len(rows), rows_per_chunk(width)))
    run_all([
        partial(_move, _bits(part), 0, rows, nothing, _bits(y), place * width, *piece)
        for place, part in enumerate(parts) for piece in pieces
    ])  # fmt: skip
    return y
