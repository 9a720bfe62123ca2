"""Layer normalisation, a row at a time. See `kernels.reference.layer_norm` for the equations.

The backward computes normalised rows again from two numbers a row. Threads share rows, and for the gradients of weight
and bias columns, so that each of their sums runs from the first row to the last.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.chunks import rows_per_chunk, run_chunks
from kernels.cpu.jit import jit
from kernels.cpu.sums import CHUNK, add_up, column_sums, dot
from kernels.threads import chunks, run_all


class LayerNormCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (M, H), the input itself
    mean: np.ndarray  # (M,)
    rstd: np.ndarray  # (M,), 1 / sqrt(variance + eps)
    weight: np.ndarray | None  # (H,)
    has_bias: bool


def layer_norm_forward(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float = 1e-5
) -> tuple[np.ndarray, LayerNormCache]:
    """See `kernels.layer_norm_forward`."""
    (M, H), y = x.shape, np.empty_like(x)
    mean, rstd = np.empty(M, x.dtype), np.empty(M, x.dtype)
    scale = np.ones(H, x.dtype) if weight is None else weight
    shift = np.zeros(H, x.dtype) if bias is None else bias
    run_chunks(_normalise, M, rows_per_chunk(H), x, scale, shift, x.dtype.type(eps), y, (mean, rstd))
    return y, LayerNormCache(x, mean, rstd, weight, bias is not None)


def layer_norm_backward(
    dy: np.ndarray, cache: LayerNormCache
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See `kernels.layer_norm_backward`."""
    x, mean, rstd, weight, has_bias = cache
    (M, H), dx = x.shape, np.empty_like(x)
    scale = np.ones(H, x.dtype) if weight is None else weight
    run_chunks(_gradient, M, rows_per_chunk(H), dy, x, mean, rstd, scale, dx)
    dweight = None if weight is None else np.empty_like(weight)
    if dweight is not None:
        run_all([partial(_gradient_of_weight, dy, x, mean, rstd, dweight, *part) for part in chunks(H, CHUNK)])
    return dx, dweight, column_sums(dy) if has_bias else None


@jit
def _normalise(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, y: np.ndarray, found: Any, start: int, stop: int
) -> None:
    """Rows start .. stop - 1 of y and of found, mean and rstd; eps has the dtype of x."""
    mean, rstd = found
    one, size = x.dtype.type(1), x.dtype.type(max(x.shape[1], 1))
    for m in range(start, stop):
        row, out = x[m], y[m]
        mean[m] = add_up(row) / size
        for k in range(row.shape[0]):
            out[k] = row[k] - mean[m]
        rstd[m] = one / np.sqrt(dot(out, out) / size + eps)
        for k in range(row.shape[0]):
            out[k] = out[k] * rstd[m] * weight[k] + bias[k]


@jit
def _gradient(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: np.ndarray, dx: np.ndarray, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Rows start .. stop - 1 of dx."""
    size = x.dtype.type(max(x.shape[1], 1))
    normalized = np.empty(x.shape[1], x.dtype)
    for m in range(start, stop):
        row, drow, out = x[m], dy[m], dx[m]
        for k in range(row.shape[0]):
            normalized[k] = (row[k] - mean[m]) * rstd[m]
            out[k] = drow[k] * weight[k]  # y = normalized * weight + bias
        through_mean = add_up(out) / size  # mean = add_up(row) / size
        through_rstd = dot(out, normalized) / size  # rstd = one / sqrt(dot(out, out) / size + eps)
        for k in range(row.shape[0]):
            out[k] = (out[k] - through_mean - normalized[k] * through_rstd) * rstd[m]  # normalized


@jit
def _gradient_of_weight(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, dweight: np.ndarray, start: int, stop: int
) -> None:
    """dweight[start:stop], first row first."""
    dweight[start:stop] = 0
    for m in range(x.shape[0]):
        row, drow, total = x[m, start:stop], dy[m, start:stop], dweight[start:stop]
        for k in range(total.shape[0]):
            total[k] += drow[k] * ((row[k] - mean[m]) * rstd[m])  # y = normalized * weight + bias
