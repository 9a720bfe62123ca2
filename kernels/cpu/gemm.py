"""Matrix products from packed panels: C (+)= A B by blocks that stay in cache, on all threads.

A tile reads its operands front to back, so both are copied once into panels (`kernels.cpu.panels`) and cut along k into
blocks of DEPTH. A `Packed` B is made once and used for every product with it: a recurrent matrix for all time steps,
the output layer for all rows. With bfloat16 panels products are still summed in float32.

A panel of B (DEPTH x COLUMNS) stays in the second cache while all row blocks of A pass by. The order of sums over k
depends on DEPTH alone: a row of C has the same bits whichever rows and threads are beside it.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.jit import jit
from kernels.cpu.panels import pack_columns, pack_rows, panel_columns, per_element
from kernels.cpu.threads import chunks, run
from kernels.cpu.tiles import ROWS, tile

DEPTH = 512  # numbers along k of a block; even
ROW_BLOCK = 16 * ROWS  # rows of A packed at a time
SERIAL_WORK = 1 << 21  # multiply-adds below which waking a thread costs more than it saves


class Packed(NamedTuple):
    """The right-hand side B (K, N) of a product, in panels."""

    panels: np.ndarray  # flat; block by block of k, in it panel by panel of columns, in it [depth][COLUMNS]
    depth: int  # K
    columns: int  # N


@jit
def _pack_b(
    source: Any, transposed: bool, panels: Any, depth: int, columns: int, first_column: int, stop_column: int
) -> None:
    """The panels of some columns, in every block of k; first_column is a multiple of a panel's columns."""
    width, pair = panel_columns(panels), per_element(panels)
    padded = (columns + width - 1) // width * width
    for k0 in range(0, depth, DEPTH):
        k1 = min(k0 + DEPTH, depth)
        size = (k1 - k0 + pair - 1) // pair
        block = k0 // pair * padded
        if not transposed:
            at = block + first_column * size
            pack_columns(
                source, first_column, columns, stop_column - first_column, k0, k1, panels, at, width, False
            )  # fmt: skip
            continue
        for column in range(first_column, stop_column, width):
            real = min(width, stop_column - column)
            pack_rows(source, column * depth, depth, real, k0, k1, panels, block + column * size, width)


def pack(source: np.ndarray, transposed: bool, bf16: bool = False) -> Packed:
    """The right-hand side B of products A B.

    Args:
        source: (K, N) float32 or float64, C-contiguous; (N, K) if `transposed`, and then B is its transpose.
        bf16: round to bfloat16; float64 stays as it is.
    """
    columns, depth = source.shape if transposed else source.shape[::-1]
    panels = np.empty(0, np.uint32 if bf16 and source.dtype == np.float32 else source.dtype)
    width, pair = panel_columns(panels), per_element(panels)
    padded = -(-columns // width) * width
    panels = np.empty(-(-depth // pair) * padded, panels.dtype)
    part = max(1, SERIAL_WORK // 16 // (width * max(depth, 1))) * width
    parts = list(chunks(columns, part))
    flat = source.reshape(-1)
    run(lambda number: _pack_b(flat, transposed, panels, depth, columns, *parts[number]), len(parts))
    return Packed(panels, depth, columns)


@jit
def pack_row_blocks(source: Any, transposed: bool, at: int, stride: int, rows: int, k0: int, k1: int, a: Any) -> None:
    """a <- k0 <= k < k1 of `rows` rows of A, in panels of ROWS rows.

    Row r of A starts at source[at + r * stride]; if `transposed`, column k of it starts at source[at + k * stride].
    """
    if transposed:
        pack_columns(source, at, stride, rows, k0, k1, a, 0, ROWS, True)
        return
    pair = per_element(a)
    depth = (k1 - k0 + pair - 1) // pair
    for row in range(0, rows, ROWS):
        width = min(ROWS, rows - row)
        pack_rows(source, at + row * stride, stride, width, k0, k1, a, row * depth, width)


@jit
def multiply_panels(
    a: Any, rows: int, b: Any, b_at: int, columns: int, c: Any, c_at: int, ldc: int, depth: int, more: bool
) -> None:
    """C (+)= A B for one block of k, all of it in panels: A's from a[0] on, B's from b[b_at] on.

    Args:
        rows, columns: of C, which is flat: row 0, column 0 at c_at, rows ldc apart.
        depth: elements of the panels along k.
        more: add to C instead of overwriting it.
    """
    width = panel_columns(b)
    for column in range(0, columns, width):
        panel = b_at + column * depth
        if columns - column < width:
            _edge_columns(a, rows, b, panel, c, c_at + column, ldc, depth, columns - column, more)
            continue
        for row in range(0, rows, ROWS):
            tile(a, row * depth, b, panel, c, c_at + row * ldc + column, ldc, depth, more, min(ROWS, rows - row))


@jit
def _edge_columns(
    a: Any, rows: int, b: Any, panel: int, c: Any, c_at: int, ldc: int, depth: int, real: int, more: bool
) -> None:
    """The last panel, of which `real` columns exist: tiles are computed aside, from what C holds, and copied."""
    width = panel_columns(b)
    aside = np.zeros(ROWS * width, c.dtype)
    for row in range(0, rows, ROWS):
        count = min(ROWS, rows - row)
        if more:
            for r in range(count):
                for j in range(real):
                    aside[r * width + j] = c[c_at + (row + r) * ldc + j]
        tile(a, row * depth, b, panel, aside, 0, width, depth, more, count)
        for r in range(count):
            for j in range(real):
                c[c_at + (row + r) * ldc + j] = aside[r * width + j]


@jit
def multiply_rows(
    source: Any, transposed: bool, at: int, stride: int, rows: int, a: Any, b: Any, depth: int, columns: int,
    first_column: int, stop_column: int, c: Any, c_at: int, ldc: int, more: bool,
) -> None:  # fmt: skip
    """C (+)= A B for `rows` rows of A and some columns of B; to be called inside a task.

    Args:
        source, transposed, at, stride: A, see `pack_row_blocks`.
        a: work space for `workspace(rows, depth)` elements, of B's element type.
        b, depth, columns: a `Packed`.
        first_column, stop_column: the columns to compute, from a multiple of a panel's columns on.
        c: flat; row 0, column 0 of these rows (not first_column) is at c_at, rows are ldc apart.
    """
    width, pair = panel_columns(b), per_element(b)
    padded = (columns + width - 1) // width * width
    for row in range(0, rows, ROW_BLOCK):
        count = min(ROW_BLOCK, rows - row)
        for k0 in range(0, depth, DEPTH):
            k1 = min(k0 + DEPTH, depth)
            size = (k1 - k0 + pair - 1) // pair
            pack_row_blocks(source, transposed, at + row * (1 if transposed else stride), stride, count, k0, k1, a)
            multiply_panels(
                a, count, b, k0 // pair * padded + first_column * size, stop_column - first_column,
                c, c_at + row * ldc + first_column, ldc, size, more or k0 > 0,
            )  # fmt: skip


@jit
def workspace(rows: int, depth: int) -> int:
    """Elements that `multiply_rows` needs to pack A."""
    return min(rows, ROW_BLOCK) * min(depth, DEPTH)


@jit
def _multiply_block(
    source: Any, transposed: bool, at: int, stride: int, rows: int, b: Any, depth: int, columns: int,
    first_column: int, stop_column: int, c: Any, c_at: int, more: bool,
) -> None:  # fmt: skip
    a = np.empty(workspace(rows, depth), b.dtype)
    multiply_rows(
        source, transposed, at, stride, rows, a, b, depth, columns, first_column, stop_column, c, c_at, columns, more
    )  # fmt: skip


def multiply(a: np.ndarray, transposed: bool, b: Packed, out: np.ndarray, more: bool = False) -> np.ndarray:
    """out (M, N) = A B, or += with `more`; A is a (M, K), or the transpose of a (K, M). All C-contiguous."""
    rows, stride = a.shape[1] if transposed else a.shape[0], a.shape[1]
    if b.depth == 0 or not out.size:
        if not more:
            out[:] = 0
        return out
    flat_a, flat_out = a.reshape(-1), out.reshape(-1)
    row_parts, column_parts = _split(rows, b)
    tasks = [(*row, *column) for row in row_parts for column in column_parts]

    def block(task: int) -> None:
        row, row_stop, column, column_stop = tasks[task]
        _multiply_block(
            flat_a, transposed, row * (1 if transposed else stride), stride, row_stop - row, b.panels, b.depth,
            b.columns, column, column_stop, flat_out, row * b.columns, more,
        )  # fmt: skip

    run(block, len(tasks))
    return out


def _split(rows: int, b: Packed) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Row ranges and column ranges whose pairs are the tasks: enough work each, and a few for every thread."""
    if rows * b.depth * b.columns < 2 * SERIAL_WORK:
        return [(0, rows)], [(0, b.columns)]
    row_parts = list(chunks(rows, ROW_BLOCK))
    width, pieces = panel_columns(b.panels), max(1, 8 // len(row_parts))
    columns = -(-b.columns // (width * pieces)) * width
    least = -(-SERIAL_WORK // (min(rows, ROW_BLOCK) * b.depth * width)) * width
    return row_parts, list(chunks(b.columns, max(columns, least)))
