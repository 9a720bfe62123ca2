"""Rows of an embedding table."""

from types import ModuleType

import numpy as np

from kernels.checks import check_dtypes, check_ids, check_integer, check_rank, check_shape
from kernels.dispatch.backend import backend_for, contiguous


def embedding_forward(weight: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows of a table.

    Args:
        weight: (V, E) float32 or float64.
        ids: integers of any shape, each in 0..V-1.

    Returns:
        (*ids.shape, E), weight[ids].

    Raises:
        TypeError: a dtype; ValueError: weight is not (V, E); IndexError: an id out of 0..V-1, which it names.
    """
    name = "embedding_forward"
    backend = backend_for(weight=weight, ids=ids)
    check_dtypes(name, weight=weight)
    check_integer(name, "ids", ids)
    check_rank(name, "weight", weight, 2, "(V, E)")
    check_ids(name, "ids", ids, weight.shape[0], "V")
    return backend.embedding_forward(contiguous(weight), contiguous(ids))


def embedding_backward(
    dy: np.ndarray, ids: np.ndarray, padding_idx: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Row-wise gradient of `embedding_forward` with respect to weight; all other rows are zero.

    Args:
        dy: (*ids.shape, E) gradient with respect to the output.
        ids: integers, the ids of the forward.
        padding_idx: a row that gets no gradient, or None.

    Returns:
        rows: (R,) int64, the distinct ids in ascending order, without padding_idx.
        values: (R, E) the gradient of each of these rows, summed in the order of ids.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    backend = _check_backward("embedding_backward", dy, ids)
    return backend.embedding_backward(contiguous(dy), contiguous(ids), padding_idx)


def embedding_backward_dense(
    dy: np.ndarray, ids: np.ndarray, num_rows: int, padding_idx: int | None = None
) -> np.ndarray:
    """Gradient of `embedding_forward` with respect to all of weight; on a GPU the host does not wait for it.

    Args:
        num_rows: V, rows of weight; more than any id.
        others: as in `embedding_backward`.

    Returns:
        (V, E), the values of `embedding_backward` in their rows, to the bit, zeros in the others.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    backend = _check_backward("embedding_backward_dense", dy, ids)
    return backend.embedding_backward_dense(contiguous(dy), contiguous(ids), num_rows, padding_idx)


def _check_backward(name: str, dy: np.ndarray, ids: np.ndarray) -> ModuleType:
    """dy is the gradient of the rows of ids; the backend of both."""
    backend = backend_for(dy=dy, ids=ids)
    check_dtypes(name, dy=dy)
    check_integer(name, "ids", ids)
    check_rank(name, "dy", dy, ids.ndim + 1, "(*ids.shape, E)")
    check_shape(name, "dy", dy, (*ids.shape, dy.shape[-1]), "(*ids.shape, E)", ids=ids.shape)
    return backend
