"""Sums: of an array, of two arrays' products, and over the rows of a matrix, as the gradient of a bias needs them."""

from collections.abc import Callable
from functools import partial

import numpy as np

from kernels.cpu.chunks import SERIAL_COPY
from kernels.cpu.jit import jit, jit_sum
from kernels.threads import chunks, run_all

CHUNK = 256  # columns of a task


@jit_sum
def add_up(values: np.ndarray) -> float:
    """(S,) -> its sum, in its dtype."""
    total = values.dtype.type(0)
    for k in range(values.shape[0]):
        total += values[k]
    return total


@jit_sum
def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Two (S,) -> the sum of their products, in their dtype."""
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total


@jit
def _add_rows(matrix: np.ndarray, start: int, stop: int, out: np.ndarray) -> None:
    """out[start:stop] = the sum of the rows of matrix (M, S), first row first."""
    out[start:stop] = 0
    for m in range(matrix.shape[0]):
        row, total = matrix[m, start:stop], out[start:stop]
        for k in range(total.shape[0]):
            total[k] += row[k]


def column_sums(matrix: np.ndarray) -> np.ndarray:
    """(M, S) C-contiguous -> (S,), each column added up from the first row to the last."""
    out = np.empty(matrix.shape[1], matrix.dtype)
    if matrix.size < SERIAL_COPY:
        _add_rows(matrix, 0, len(out), out)
    else:
        run_all(summing(matrix, out))
    return out


def summing(matrix: np.ndarray, out: np.ndarray) -> list[Callable[[], None]]:
    """`column_sums` into out (S,), as tasks for `run_all`."""
    return [partial(_add_rows, matrix, *part, out) for part in chunks(len(out), CHUNK)]
