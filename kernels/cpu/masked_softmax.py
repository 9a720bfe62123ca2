"""Softmax over the first elements of each row. See `kernels.reference.masked_softmax` for the equations.

Every loop ends at the row's length, so how far a row is padded changes no bit.
"""

from typing import NamedTuple

import numpy as np

from kernels.cpu.activations import exp
from kernels.cpu.chunks import rows_per_chunk, run_chunks
from kernels.cpu.jit import jit
from kernels.cpu.sums import add_up, dot


class MaskedSoftmaxCache(NamedTuple):
    """What the backward needs."""

    y: np.ndarray  # (M, S)
    lengths: np.ndarray  # (M,) int64


def masked_softmax_forward(x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, MaskedSoftmaxCache]:
    """See `kernels.masked_softmax_forward`."""
    y, lengths = np.empty_like(x), lengths.astype(np.int64)
    run_chunks(_normalise_rows, len(x), rows_per_chunk(x.shape[1]), x, lengths, y)
    return y, MaskedSoftmaxCache(y, lengths)


def masked_softmax_backward(dy: np.ndarray, cache: MaskedSoftmaxCache) -> np.ndarray:
    """See `kernels.masked_softmax_backward`."""
    dx = np.empty_like(dy)
    run_chunks(_gradient, len(dy), rows_per_chunk(dy.shape[1]), dy, cache.y, cache.lengths, dx)
    return dx


@jit
def _normalise_rows(x: np.ndarray, lengths: np.ndarray, y: np.ndarray, start: int, stop: int) -> None:
    """Rows start .. stop - 1 of y."""
    for m in range(start, stop):
        length = lengths[m]
        normalise(x[m, :length], y[m, :length])
        y[m, length:] = 0


@jit
def normalise(row: np.ndarray, out: np.ndarray) -> None:
    """out (S,) = softmax(row); it may be the row itself."""
    largest = largest_of(row)
    for j in range(row.shape[0]):
        out[j] = exp(row[j] - largest)
    total = add_up(out)
    for j in range(row.shape[0]):
        out[j] = out[j] / total


@jit
def largest_of(row: np.ndarray) -> float:
    """The largest element that is no NaN; -inf of none."""
    largest = row.dtype.type(-np.inf)
    for j in range(row.shape[0]):
        if row[j] > largest:
            largest = row[j]
    return largest


@jit
def _gradient(dy: np.ndarray, y: np.ndarray, lengths: np.ndarray, dx: np.ndarray, start: int, stop: int) -> None:
    """Rows start .. stop - 1 of dx."""
    for m in range(start, stop):
        length = lengths[m]
        drow, row, out = dy[m, :length], y[m, :length], dx[m, :length]
        total = dot(drow, row)  # y = exps / total
        for j in range(length):
            out[j] = row[j] * (drow[j] - total)  # exps = exp(row - largest)
        dx[m, length:] = 0  # y[length:] = 0
