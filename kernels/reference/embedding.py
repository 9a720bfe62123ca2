"""Embedding: rows of a table by id, and the row-wise gradient (only the rows that were used, never a dense table)."""

import numpy as np


def embedding_forward(weight: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """See `kernels.embedding_forward`."""
    return weight[ids]


def embedding_backward(
    dy: np.ndarray, ids: np.ndarray, padding_idx: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """See `kernels.embedding_backward`."""
    rows, inverse = np.unique(ids, return_inverse=True)
    values = np.zeros((len(rows), dy.shape[-1]), dy.dtype)
    np.add.at(values, inverse.reshape(-1), dy.reshape(-1, dy.shape[-1]))  # y[k] = weight[ids[k]]
    kept = np.ones(len(rows), dtype=bool) if padding_idx is None else rows != padding_idx
    return rows[kept], values[kept]
