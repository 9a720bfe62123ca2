"""Embedding rows and their gradient: tokens are sorted by id, then each row is summed in the order of its tokens.

See `kernels.reference.embedding`. An id out of range is reported by `kernels.cuda.runtime.launcher.check`.
"""

from typing import Any

import numpy as np

from kernels.cuda.layers.sorting import sort_tokens
from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import int64
from kernels.cuda.runtime.capture import refuse
from kernels.cuda.runtime.launcher import error_word, module

MOST_ROWS = 2**31 - 1


def embedding_forward(weight: Any, ids: Any) -> Any:
    """See `kernels.embedding_forward`."""
    V, E = weight.shape
    y = np.empty((*ids.shape, E), weight.dtype, like=weight)
    arguments = weight, int64(ids), y, np.int32(V), np.int32(E), np.uint64(y.size), error_word()
    module("layers/embedding").embedding_forward(geometry.embedding_forward(y.size), arguments)
    return y


def embedding_backward(dy: Any, ids: Any, padding_idx: int | None = None) -> tuple[Any, Any]:
    """See `kernels.embedding_backward`. How many rows there are, only the device knows: the host waits for it."""
    refuse("a gradient by rows")
    rows, starts, positions, count = sort_tokens(int64(ids), padding_idx, MOST_ROWS)
    R = int(count.get()[0])
    values = np.empty((R, dy.shape[-1]), dy.dtype, like=dy)
    _sum(dy, rows, starts, positions, count, values, R, dense=False)
    return rows[:R], values


def embedding_backward_dense(dy: Any, ids: Any, num_rows: int, padding_idx: int | None = None) -> Any:
    """See `kernels.embedding_backward_dense`."""
    table = np.zeros((num_rows, dy.shape[-1]), dy.dtype, like=dy)
    tokens = sort_tokens(int64(ids), padding_idx, num_rows)
    _sum(dy, *tokens, table, ids.size, dense=True)
    return table


def _sum(dy: Any, rows: Any, starts: Any, positions: Any, count: Any, values: Any, at_most: int, dense: bool) -> None:
    """The gradient of each of at most `at_most` rows, into values by their order or, if dense, by their ids."""
    if at_most:
        arguments = dy, rows, starts, positions, count, values, np.int32(values.shape[1]), np.int32(dense)
        module("layers/embedding").embedding_sum(geometry.embedding_sum(at_most), arguments)
