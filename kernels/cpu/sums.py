"""Sums over the rows of a matrix, as the gradient of a bias needs them."""

import numpy as np

from kernels.cpu.jit import jit
from kernels.threads import chunks, run

CHUNK = 256  # columns of a task


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
    parts = list(chunks(len(out), CHUNK))
    run(lambda part: _add_rows(matrix, *parts[part], out), len(parts))
    return out
