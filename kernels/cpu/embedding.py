"""Embedding rows and their row-wise gradient. See `kernels.reference.embedding`."""

import numpy as np

from kernels.cpu.jit import jit


def embedding_forward(weight: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """See `kernels.embedding_forward`."""
    return weight[ids]


@jit
def _sum_segments(dy: np.ndarray, order: np.ndarray, bounds: np.ndarray, values: np.ndarray) -> None:
    """values[r] = sum of dy[order[k]] over k in bounds[r] .. bounds[r + 1] - 1; dy (S, E), values (R, E)."""
    for r in range(values.shape[0]):
        row, first = values[r], dy[order[bounds[r]]]
        for j in range(row.shape[0]):  # a slice assignment would take a second to compile
            row[j] = first[j]
        for k in range(bounds[r] + 1, bounds[r + 1]):
            summand = dy[order[k]]
            for j in range(row.shape[0]):
                row[j] += summand[j]


def embedding_backward(
    dy: np.ndarray, ids: np.ndarray, padding_idx: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """See `kernels.embedding_backward`."""
    flat_ids = ids.reshape(-1).astype(np.int64, copy=False)
    order = np.argsort(flat_ids, kind="stable")
    if padding_idx is not None:
        order = order[flat_ids[order] != padding_idx]
    sorted_ids = flat_ids[order]
    starts = np.flatnonzero(np.diff(sorted_ids, prepend=sorted_ids[:1] - 1))
    values = np.empty((len(starts), dy.shape[-1]), dy.dtype)
    _sum_segments(dy.reshape(-1, dy.shape[-1]), order, np.append(starts, len(order)), values)  # y[k] = weight[ids[k]]
    return sorted_ids[starts], values


def embedding_backward_dense(
    dy: np.ndarray, ids: np.ndarray, num_rows: int, padding_idx: int | None = None
) -> np.ndarray:
    """See `kernels.embedding_backward_dense`."""
    rows, values = embedding_backward(dy, ids, padding_idx)
    dense = np.zeros((num_rows, dy.shape[-1]), dy.dtype)
    dense[rows] = values
    return dense
