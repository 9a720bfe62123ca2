"""Rows in another order, y[i] = x[rows[i]], of parts of the columns or of several arrays side by side."""

from collections.abc import Sequence

import numpy as np

from kernels.arrays import like


def split_rows(x: np.ndarray, rows: np.ndarray | None, num_parts: int = 1, fill: float = 0.0) -> tuple[np.ndarray, ...]:
    """See `kernels.split_rows`."""
    return tuple([_in_order(part, rows, fill) for part in np.split(x, num_parts, 1)])


def join_rows(parts: Sequence[np.ndarray], rows: np.ndarray | None) -> np.ndarray:
    """See `kernels.join_rows`."""
    return np.concatenate([_in_order(part, rows, 0) for part in parts], axis=1)


def _in_order(x: np.ndarray, rows: np.ndarray | None, fill: float) -> np.ndarray:
    """y[i] = x[rows[i]], or fill where rows[i] < 0; x may lie on a GPU, where rows do not."""
    if rows is None:
        return x.copy()
    filled = np.flatnonzero(rows >= 0)
    y = np.full_like(x, fill, shape=(len(rows), x.shape[1]), order="C")
    y[like(filled, x)] = x[like(rows[filled], x)]
    return y
