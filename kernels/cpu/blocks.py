"""Panels of A for a matrix unit (`matrix_unit.py`): `[panel][block of k][TILE_ROWS][BLOCK]`.

What is contiguous along k is copied here, and what is contiguous across it is transposed, in square blocks held in
vector registers: the reverse of `panels.py`.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.jit import config, jit
from kernels.cpu.matrix_unit import BLOCK, TILE_ROWS
from kernels.cpu.panels import SQUARE, Vectors, as_element, per_element


@intrinsic
def _transpose_across(
    typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any, width: Any
) -> Any:
    """panel[panel_at + r * width + k] <- element k, of the rows at source[at + 2 k stride], r and k below SQUARE."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, i64 = Vectors(builder, source, panel), ir.IntType(64)
        starts = [builder.add(args[1], builder.mul(args[2], i64(row))) for row in range(2 * SQUARE)]
        places = [vectors.address(context, source, args[0], start) for start in starts]
        across = [vectors.across_k(low, high) for low, high in zip(places[::2], places[1::2], strict=True)]
        vectors.store_transposed(context, across, panel, *args[3:])
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, panel, types.intp, types.intp), codegen


@intrinsic
def _copy_along(typing_context: Any, source: Any, at: Any, panel: Any, panel_at: Any) -> Any:
    """panel[panel_at + k] <- element k of the numbers from source[at] on, k below SQUARE."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = Vectors(builder, source, panel)
        elements = vectors.along_k(vectors.address(context, source, args[0], args[1]))
        vectors.store(elements, vectors.address(context, panel, args[2], args[3]))
        return context.get_dummy_value()

    return types.void(source, types.intp, panel, types.intp), codegen


def _transpose_across_in_numpy(source: Any, at: int, stride: int, panel: Any, panel_at: int, width: int) -> None:
    for r in range(SQUARE):
        for k in range(SQUARE):
            panel[panel_at + r * width + k] = as_element(source, at + 2 * k * stride + r, stride, True, panel)


def _copy_along_in_numpy(source: Any, at: int, panel: Any, panel_at: int) -> None:
    for k in range(SQUARE):
        panel[panel_at + k] = as_element(source, at + k * per_element(panel), 1, True, panel)


transpose_across: Any = _transpose_across_in_numpy if config.DISABLE_JIT else _transpose_across
copy_along: Any = _copy_along_in_numpy if config.DISABLE_JIT else _copy_along


@jit
def pack_blocks(source: Any, transposed: bool, at: int, stride: int, rows: int, k0: int, k1: int, panels: Any) -> None:
    """Panels of A for a matrix unit, `[panel][block of k][TILE_ROWS][BLOCK]`; pairs of bfloat16 alone.

    panels <- numbers k0 <= k < k1 of the rows that start at source[at], source[at + stride], ..., or, if `transposed`,
    of those whose k lies from source[at + k * stride] on. Rows that the last panel lacks become zero. Blocks are taken
    in the order in which the source lies, so that reads stay on few pages.
    """
    row_step, k_step = (1, stride) if transposed else (stride, 1)
    size = (k1 - k0 + 1) // 2
    blocks, heights = (size + BLOCK - 1) // BLOCK, (rows + TILE_ROWS - 1) // TILE_ROWS
    for number in range(blocks * heights):
        block, height = (number // heights, number % heights) if transposed else (number % blocks, number // blocks)
        k, row = k0 + 2 * BLOCK * block, TILE_ROWS * height
        _pack_block(
            source, transposed, at + row * row_step + k * k_step, stride, min(TILE_ROWS, rows - row),
            min(2 * BLOCK, k1 - k), panels, row * size + TILE_ROWS * BLOCK * block,
        )  # fmt: skip


@jit
def _pack_block(
    source: Any, transposed: bool, at: int, stride: int, rows: int, numbers: int, panel: Any, place: int
) -> None:
    """One block at panel[place]: so many numbers of so many rows."""
    row_step, k_step = (1, stride) if transposed else (stride, 1)
    square_rows = rows // SQUARE * SQUARE if transposed else rows
    width, whole = (numbers + 1) // 2, numbers // 2 // SQUARE * SQUARE
    for k in range(0, whole, SQUARE):
        if transposed:
            for r in range(0, square_rows, SQUARE):
                transpose_across(source, at + 2 * k * stride + r, stride, panel, place + r * width + k, width)
        else:
            for r in range(rows):
                copy_along(source, at + 2 * k + r * stride, panel, place + r * width + k)
    for r in range(rows):
        for k in range(whole if r < square_rows else 0, width):
            number = at + r * row_step + 2 * k * k_step
            panel[place + r * width + k] = as_element(source, number, k_step, 2 * k + 1 < numbers, panel)
    panel[place + rows * width : place + TILE_ROWS * width] = 0
