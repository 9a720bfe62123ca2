"""Softmax of rows, and its logarithm. See `kernels.reference.softmax` for the equations."""

from typing import Any

import numpy as np

from kernels.cpu.activations import exp
from kernels.cpu.chunks import rows_per_chunk, run_chunks
from kernels.cpu.jit import jit
from kernels.cpu.masked_softmax import largest_of, normalise
from kernels.cpu.sums import add_up, dot


def softmax_forward(x: np.ndarray, log: bool = False) -> np.ndarray:
    """See `kernels.softmax_forward`."""
    return _by_rows(_log_forward if log else _forward, x)


def softmax_backward(dy: np.ndarray, y: np.ndarray, log: bool = False) -> np.ndarray:
    """See `kernels.softmax_backward`."""
    return _by_rows(_log_backward if log else _backward, dy, y)


def _by_rows(kernel: Any, *arrays: np.ndarray) -> np.ndarray:
    """What a kernel writes into a new array beside these, row by row."""
    out = np.empty_like(arrays[0])
    run_chunks(kernel, len(out), rows_per_chunk(out.shape[1]), *arrays, out)
    return out


@jit
def _forward(x: Any, y: Any, start: int, stop: int) -> None:
    """Rows start .. stop - 1 of y."""
    for m in range(start, stop):
        normalise(x[m], y[m])


@jit
def _backward(dy: Any, y: Any, dx: Any, start: int, stop: int) -> None:
    """Rows start .. stop - 1 of dx."""
    for m in range(start, stop):
        drow, row, out = dy[m], y[m], dx[m]
        total = dot(drow, row)
        for j in range(row.shape[0]):
            out[j] = row[j] * (drow[j] - total)  # exps = exp(row - largest)


@jit
def _log_forward(x: Any, y: Any, start: int, stop: int) -> None:
    """Rows start .. stop - 1 of y."""
    for m in range(start, stop):
        row, out = x[m], y[m]
        largest = largest_of(row)
        for j in range(row.shape[0]):
            out[j] = exp(row[j] - largest)
        total = np.log(add_up(out))
        for j in range(row.shape[0]):
            out[j] = (row[j] - largest) - total


@jit
def _log_backward(dy: Any, y: Any, dx: Any, start: int, stop: int) -> None:
    """Rows start .. stop - 1 of dx."""
    for m in range(start, stop):
        drow, row, out = dy[m], y[m], dx[m]
        total = add_up(drow)
        for j in range(row.shape[0]):
            out[j] = drow[j] - exp(row[j]) * total  # y = row - log(sum(exps))
