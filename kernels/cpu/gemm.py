"""Matrix products from packed panels: C (+)= A B by blocks that stay in cache, on all threads.

A tile reads its operands front to back, so both are copied once into panels (`kernels.cpu.panels`) and cut along k into
blocks of DEPTH. A `Prepacked` B is made once and used for every product with it: a recurrent matrix for all time steps,
the output layer for all rows. With bfloat16 panels products are still summed in float32.

A panel of B (DEPTH x COLUMNS) stays in the second cache while all row blocks of A pass by. The order of sums over k
is front to back: a row of C has the same bits whichever rows and threads are beside it.

`prepack` and `multiply` do one thing at a time; what is independent can be gathered as tasks and run at once, which
saves the threads from waiting for each other in between. A B that no other product needs: `kernels.cpu.once`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.chunks import SERIAL_COPY
from kernels.cpu.jit import jit
from kernels.cpu.panels import pack_columns, pack_rows, panel_columns, panel_depth, per_element
from kernels.cpu.product import DEPTH, ROW_BLOCK, left_dtype, multiply_block, prepare, workspace
from kernels.cpu.tiles import ROWS
from kernels.threads import chunks, get_num_threads, run_all

SERIAL_WORK = 1 << 21  # below so many multiply-adds waking a thread costs more than it saves
TASK_WORK = 1 << 23  # threads take turns to fetch tasks, so one should be worth several times the fetching

Task = Callable[[], None]


class Prepacked(NamedTuple):
    """The right-hand side B (K, N) of a product, in panels."""

    # Flat; block by block of k, in it panel by panel of columns, in it [depth][COLUMNS]; of int8: `kernels.cpu.narrow`.
    panels: np.ndarray
    depth: int  # K
    columns: int  # N


@jit
def panels_size(like: Any, depth: int, columns: int) -> int:
    """Elements of all panels of B (depth, columns), of the dtype of `like`."""
    width = panel_columns(like)
    return panel_depth(like, depth) * ((columns + width - 1) // width * width)


@jit
def pack_b(
    source: Any, transposed: bool, at: int, stride: int, panels: Any, depth: int, columns: int, first_column: int,
    stop_column: int,
) -> None:  # fmt: skip
    """The panels of some columns of B (depth, columns), in every block of k.

    Args:
        source, transposed, at, stride: row k of B starts at source[at + k * stride], or if `transposed`, column n does
            at source[at + n * stride].
        first_column, stop_column: the columns, from a multiple of a panel's columns on.
    """
    width, pair = panel_columns(panels), per_element(panels)
    padded = (columns + width - 1) // width * width
    for k0 in range(0, depth, DEPTH):
        k1 = min(k0 + DEPTH, depth)
        size = panel_depth(panels, k1 - k0)
        block = k0 // pair * padded
        if not transposed:
            real = stop_column - first_column
            pack_columns(source, at + first_column, stride, real, k0, k1, panels, block + first_column * size)
            continue
        for column in range(first_column, stop_column, width):
            real = min(width, stop_column - column)
            pack_rows(source, at + column * stride, stride, real, k0, k1, panels, block + column * size, width)


def prepack(source: np.ndarray, transposed: bool, bf16: bool = False) -> Prepacked:
    """The right-hand side B of products A B.

    Args:
        source: (K, N) float32 or float64, C-contiguous; (N, K) if `transposed`, and then B is its transpose.
        bf16: round to bfloat16; float64 stays as it is.
    """
    packed, tasks = prepacking(source, transposed, bf16)
    run_all(tasks)
    return packed


def prepacking(source: np.ndarray, transposed: bool, bf16: bool = False) -> tuple[Prepacked, list[Task]]:
    """`pack` as tasks: the panels are filled when all of them have run."""
    columns, depth = source.shape if transposed else source.shape[::-1]
    panels = np.empty(0, np.uint32 if bf16 and source.dtype == np.float32 else source.dtype)
    width = panel_columns(panels)
    panels = np.empty(panels_size(panels, depth, columns), panels.dtype)
    part = max(1, SERIAL_WORK // 16 // (width * max(depth, 1))) * width
    arguments = (source.reshape(-1), transposed, 0, source.shape[1], panels, depth, columns)
    prepare(panels.dtype)
    return Prepacked(panels, depth, columns), [partial(pack_b, *arguments, *part) for part in chunks(columns, part)]


def prepack_all(*sources: tuple[np.ndarray, bool], bf16: bool) -> list[Prepacked]:
    """`pack` of several (source, transposed) at once."""
    planned = [prepacking(source, transposed, bf16) for source, transposed in sources]
    if sum(source.size for source, _ in sources) < SERIAL_COPY:
        for _, tasks in planned:
            for task in tasks:
                task()
    else:
        run_all(*(tasks for _, tasks in planned))
    return [packed for packed, _ in planned]


def multiply(matrix: np.ndarray, transposed: bool, b: Prepacked, out: np.ndarray, more: bool = False) -> np.ndarray:
    """out (M, N) = A B, or += with `more`; A is matrix (M, K), or the transpose of a (K, M). All C-contiguous."""
    run_all(multiplying(matrix, transposed, b, out, more))
    return out


def multiplying(matrix: np.ndarray, transposed: bool, b: Prepacked, out: np.ndarray, more: bool = False) -> list[Task]:
    """`multiply` as tasks."""
    rows, stride = matrix.shape[1] if transposed else matrix.shape[0], matrix.shape[1]
    if b.depth == 0 or not out.size:
        return [] if more else [partial(out.fill, 0)]
    flat_a, flat_out = matrix.reshape(-1), out.reshape(-1)

    def block(row: int, row_stop: int, column: int, column_stop: int) -> None:
        a = np.empty(workspace(row_stop - row, b.depth), left_dtype(b.panels))
        multiply_block(
            flat_a, transposed, row * (1 if transposed else stride), stride, row_stop - row, a, b.panels, b.depth,
            b.columns, column, column_stop, flat_out, row * b.columns, b.columns, more,
        )  # fmt: skip

    row_parts, column_parts = _split(rows, b)
    return [partial(block, *row, *column) for row in row_parts for column in column_parts]


def _split(rows: int, b: Prepacked) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Row ranges and column ranges whose pairs are the tasks: enough work each, and as many for every thread.

    Columns are divided only if there are few blocks of rows, for each of their tasks packs its rows of A anew.
    """
    work, blocks = rows * b.depth * b.columns, -(-rows // ROW_BLOCK)
    if work < 2 * SERIAL_WORK:
        return [(0, rows)], [(0, b.columns)]
    tasks, threads = max(2, work // TASK_WORK), get_num_threads()
    parts = -(-blocks // (max(1, blocks // tasks) * threads)) * threads
    columns = column_parts(b.columns, max(1, min(tasks, 8) // blocks), panel_columns(b.panels))
    return list(chunks(rows, -(-rows // (parts * ROWS)) * ROWS)), columns


def column_parts(columns: int, parts: int, width: int) -> list[tuple[int, int]]:
    """Ranges of whole panels, at most so many."""
    return list(chunks(columns, -(-columns // (width * parts)) * width))
