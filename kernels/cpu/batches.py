"""Products of a batch of pairs of matrices, each read as it lies, shared out among the threads.

A task packs the right matrix of a pair and multiplies rows of the left one with it (`kernels.cpu.gemm`), so an element
of a product has the bits that it has alone.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.gemm import TASK_WORK, pack_b, panels_size
from kernels.cpu.jit import jit
from kernels.cpu.once import Memory, as_writeable
from kernels.cpu.product import ROW_BLOCK, multiply_rows, prepare, workspace
from kernels.cpu.tiles import ROWS
from kernels.threads import chunks, run_all


class _Batch(NamedTuple):
    """A batch (B, R, C) as it lies in flat memory."""

    flat: np.ndarray
    transposed: bool
    item: int  # from one matrix to the next
    stride: int  # from one row of a matrix to the next; if transposed, from one column


def _lying(batch: np.ndarray) -> _Batch:
    """As it is, or a copy of what has neither rows nor columns in a piece, or runs backwards."""
    (_, rows, columns), size = batch.shape, batch.itemsize
    if batch.flags.c_contiguous:
        return _Batch(as_writeable(batch).reshape(-1), False, rows * columns, columns)
    item, row, column = (stride // size for stride in batch.strides)
    if min(batch.strides) >= 0 and not any(stride % size for stride in batch.strides):
        if column == 1 or columns == 1:
            return _Batch(_flat(batch), False, item, row)
        if row == 1 or rows == 1:
            return _Batch(_flat(batch), True, item, column)
    return _lying(batch.copy(order="C"))


def _flat(batch: np.ndarray) -> np.ndarray:
    """The memory from the first element of a batch to its last one, as if it might be written: see `Memory`."""
    last = sum((size - 1) * stride for size, stride in zip(batch.shape, batch.strides, strict=True))
    return np.asarray(Memory(batch, (last // batch.itemsize + 1,)))


def multiply_batches(a: np.ndarray, b: np.ndarray, bf16: bool, out: np.ndarray) -> None:
    """out (B, M, N) = A B for a (B, M, K) and b (B, K, N), each pair by itself; out is C-contiguous."""
    batch, M, K = a.shape
    N = b.shape[2]
    if not K or not out.size:
        out.fill(0)
        return
    panels = np.empty(0, np.uint32 if bf16 and a.dtype == np.float32 else a.dtype)
    prepare(panels.dtype)
    arguments = (_lying(a), _lying(b), panels, (M, K, N), out.reshape(-1))
    if batch * M * K * N <= TASK_WORK:
        _multiply(*arguments, (0, batch), (0, M))
        return
    run_all([partial(_multiply, *arguments, items, rows) for items, rows in _tasks(batch, M, K * N)])


def _tasks(batch: int, M: int, work: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Ranges of pairs and of rows, `work` multiply-adds each: several pairs, or blocks of the rows of one."""
    rows = max(ROW_BLOCK, TASK_WORK // work // ROWS * ROWS)
    return product(chunks(batch, max(1, TASK_WORK // (M * work))), list(chunks(M, rows)))


@jit
def _multiply(a: _Batch, b: _Batch, like: Any, sizes: Any, out: Any, items: Any, some_rows: Any) -> None:
    """Some rows of some of the products, ranges both; sizes are M, K, N, panels are of the dtype of `like`."""
    (M, K, N), (start, stop), (row, row_stop) = sizes, items, some_rows
    rows = row_stop - row
    panels = np.empty(panels_size(like, K, N), like.dtype)
    work = np.empty(workspace(rows, K), like.dtype)
    for item in range(start, stop):
        pack_b(b.flat, b.transposed, item * b.item, b.stride, panels, K, N, 0, N)
        first = item * a.item + row * (1 if a.transposed else a.stride)
        at = (item * M + row) * N
        multiply_rows(a.flat, a.transposed, first, a.stride, rows, work, panels, K, N, 0, N, out, at, N, False)
