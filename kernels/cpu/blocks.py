"""Panels of A for a matrix unit (`matrix_unit.py`): `[panel][block of k][TILE_ROWS][BLOCK]`.

What is contiguous along k is copied here, and what is contiguous across it is transposed, in square blocks held in
vector registers: the reverse of `panels.py`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.jit import config, jit
from kernels.cpu.matrix_unit import BLOCK, TILE_ROWS
from kernels.cpu.panels import element_in_numpy
from kernels.cpu.vectors import SQUARE, Vectors


@intrinsic
def _transpose_across(
    typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any, rows: Any, numbers: Any
) -> Any:
    """panel[panel_at + r * BLOCK + k] <- element k, of the rows at source[at + 2 k stride], r and k below SQUARE; zero
    beyond `rows` and `numbers`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, i64 = Vectors(builder, source, panel), ir.IntType(64)
        rows, numbers = args[5:]
        starts = [builder.add(args[1], builder.mul(args[2], i64(number))) for number in range(2 * SQUARE)]
        places = [vectors.address(context, source, args[0], start) for start in starts]
        some = [vectors.if_below(number, numbers, rows) for number in range(2 * SQUARE)]
        across = [vectors.across_k(*places[k : k + 2], *some[k : k + 2]) for k in range(0, 2 * SQUARE, 2)]
        vectors.store_transposed(context, across, panel, args[3], args[4], i64(BLOCK))
        return context.get_dummy_value()

    i = types.intp
    return types.void(source, i, i, panel, i, i, i), codegen


@intrinsic
def _copy_along(typing_context: Any, source: Any, at: Any, panel: Any, panel_at: Any, numbers: Any) -> Any:
    """panel[panel_at + k] <- element k of the `numbers` from source[at] on, then zeros, k below SQUARE."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = Vectors(builder, source, panel)
        elements = vectors.along_k(vectors.address(context, source, args[0], args[1]), args[4])
        vectors.store(elements, vectors.address(context, panel, args[2], args[3]))
        return context.get_dummy_value()

    return types.void(source, types.intp, panel, types.intp, types.intp), codegen


def _transpose_across_in_numpy(
    source: Any, at: int, stride: int, panel: Any, panel_at: int, rows: int, numbers: int
) -> None:
    for r, k in np.ndindex(SQUARE, SQUARE):
        left = numbers - 2 * k if r < rows else 0
        panel[panel_at + r * BLOCK + k] = element_in_numpy(source, at + 2 * k * stride + r, stride, left, panel)


def _copy_along_in_numpy(source: Any, at: int, panel: Any, panel_at: int, numbers: int) -> None:
    for k in range(SQUARE):
        panel[panel_at + k] = element_in_numpy(source, at + 2 * k, 1, numbers - 2 * k, panel)


transpose_across: Any = _transpose_across_in_numpy if config.DISABLE_JIT else _transpose_across
copy_along: Any = _copy_along_in_numpy if config.DISABLE_JIT else _copy_along


@jit
def pack_blocks(source: Any, transposed: bool, at: int, stride: int, rows: int, k0: int, k1: int, panels: Any) -> None:
    """Panels of A for a matrix unit, `[panel][block of k][TILE_ROWS][BLOCK]`; pairs of bfloat16 alone.

    panels <- numbers k0 <= k < k1 of the rows that start at source[at], source[at + stride], ..., or, if `transposed`,
    of those whose k lies from source[at + k * stride] on. What rows and numbers do not fill becomes zero. Blocks are
    taken in the order in which the source lies, so that reads stay on few pages.
    """
    row_step, k_step = (1, stride) if transposed else (stride, 1)
    blocks, heights = (k1 - k0 + 2 * BLOCK - 1) // (2 * BLOCK), (rows + TILE_ROWS - 1) // TILE_ROWS
    for number in range(blocks * heights):
        block, height = (number // heights, number % heights) if transposed else (number % blocks, number // blocks)
        k, row = k0 + 2 * BLOCK * block, TILE_ROWS * height
        place = (height * blocks + block) * TILE_ROWS * BLOCK
        _pack_block(
            source, transposed, at + row * row_step + k * k_step, stride, rows - row, k1 - k, panels, place
        )  # fmt: skip


@jit
def _pack_block(
    source: Any, transposed: bool, at: int, stride: int, rows: int, numbers: int, panel: Any, place: int
) -> None:
    """One block at panel[place]: so many numbers of so many rows, of which there may be more than it has."""
    for k in range(0, BLOCK, SQUARE):
        left = numbers - 2 * k
        if transposed:
            for r in range(0, TILE_ROWS, SQUARE):
                number, to = at + 2 * k * stride + r, place + r * BLOCK + k
                transpose_across(source, number, stride, panel, to, rows - r, left)
            continue
        for r in range(TILE_ROWS):
            copy_along(source, at + 2 * k + r * stride, panel, place + r * BLOCK + k, left if r < rows else 0)
