"""Embedding: rows of a table by id, and the row-wise gradient (only the rows that were used, never a dense table)."""

import numpy as np

from kernels.arrays import add_at


def embedding_forward(weight: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """See `kernels.embedding_forward`."""
    return weight[ids]


def embedding_backward(
    dy: np.ndarray, ids: np.ndarray, padding_idx: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """See `kernels.embedding_backward`."""
    rows, inverse = np.unique(ids, return_inverse=True)
    values = np.zeros((len(rows), dy.shape[-1]), dy.dtype, like=dy)
    add_at(values, inverse.reshape(-1), dy.reshape(-1, dy.shape[-1]))  # y[k] = weight[ids[k]]
    if padding_idx is None:
        return rows, values
    return rows[rows != padding_idx], values[rows != padding_idx]


def embedding_backward_dense(
    dy: np.ndarray, ids: np.ndarray, num_rows: int, padding_idx: int | None = None
) -> np.ndarray:
    """See `kernels.embedding_backward_dense`."""
    rows, values = embedding_backward(dy, ids, padding_idx)
    dense = np.zeros((num_rows, dy.shape[-1]), dy.dtype, like=dy)
    dense[rows] = values
    return dense
