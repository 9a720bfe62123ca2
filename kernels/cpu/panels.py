"""Operands of a product copied into panels, the order in which a tile reads them.

`[panel][k][width]`: A by panels of ROWS rows (the last one as narrow as its rows), B by panels of COLUMNS columns (the
last one filled up with zeros). What is contiguous along k is transposed on the way, in square blocks held in vector
registers; what is contiguous across a panel is copied. For a matrix unit A lies by blocks of k, and the two change
places (`kernels.cpu.blocks`). A panel of uint32 takes float32 numbers rounded to bfloat16 (nearest, ties to even), two
of consecutive k in one element, and where a matrix unit reads it it ends in a whole block of k, with zeros.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from kernels.cpu.jit import FLAGS, config, jit
from kernels.cpu.matrix_unit import BLOCK
from kernels.cpu.tiles import COLUMNS, COLUMNS_64, PAIR_ROWS, ROWS, SCALE_ROWS
from kernels.cpu.vectors import SQUARE, Vectors

K_GROUP = 8  # k copied panel by panel before the next ones, so that reads and writes stay on few pages


def of_dtype(function: Any) -> Any:
    """Compiled code takes for a constant what the function says of an array's dtype."""

    @overload(function, jit_options=FLAGS)
    def compiled(panels: Any) -> Any:
        found = function(np.empty(0, as_dtype(panels.dtype)))

        def constant(panels: Any) -> int:
            return found

        return constant

    return function


@of_dtype
def panel_columns(panels: Any) -> int:
    """Columns of a panel of B."""
    return COLUMNS_64 if panels.dtype == np.float64 else COLUMNS


@of_dtype
def panel_rows(panels: Any) -> int:
    """Rows of a panel of A."""
    return PAIR_ROWS if panels.dtype == np.uint32 else ROWS


@of_dtype
def per_element(panels: Any) -> int:
    """Numbers along k that one element of a panel holds: 2 for pairs of bfloat16."""
    return 2 if panels.dtype == np.uint32 else 1


@of_dtype
def scale_rows(panels: Any) -> int:
    """Rows of a panel of B that its scales take, before its numbers."""
    return SCALE_ROWS if panels.dtype == np.int8 else 0


@of_dtype
def whole_elements(panels: Any) -> int:
    """A panel's elements along k are a multiple of it."""
    return BLOCK if panel_rows(panels) > ROWS else 1


@jit
def panel_depth(panels: Any, numbers: int) -> int:
    """Elements along k of a panel with so many numbers."""
    pair, whole = per_element(panels), whole_elements(panels)
    return (numbers + pair * whole - 1) // (pair * whole) * whole


@jit
def to_bf16(x: np.float32) -> np.uint32:
    """The float32's bits rounded to the nearest bfloat16, ties to even, in the low 16 bits; a NaN stays one."""
    bits = np.float32(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded if x == x else np.uint32(0x7FC0)


@intrinsic
def _transpose_square(
    typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any, width: Any
) -> Any:
    """panel[panel_at + k * width + r] <- element k of the row at source[at + r * stride], k and r below SQUARE."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, i64 = Vectors(builder, source, panel), ir.IntType(64)
        starts = [builder.add(args[1], builder.mul(args[2], i64(r))) for r in range(SQUARE)]
        rows = [vectors.along_k(vectors.address(context, source, args[0], start)) for start in starts]
        vectors.store_transposed(context, rows, panel, *args[3:])
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, panel, types.intp, types.intp), codegen


@intrinsic
def _transpose_edge(
    typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any, width: Any, rows: Any,
    numbers: Any, lanes: Any, depth: Any,
) -> Any:  # fmt: skip
    """`_transpose_square` where not all is there: elements beyond `rows` or `numbers` along k are zero, and none is
    written for r from `lanes` or k from `depth` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, i64 = Vectors(builder, source, panel), ir.IntType(64)
        rows, numbers, lanes, depth = args[6:]
        starts = [builder.add(args[1], builder.mul(args[2], i64(r))) for r in range(SQUARE)]
        loaded = [
            vectors.along_k(vectors.address(context, source, args[0], start), vectors.if_below(r, rows, numbers))
            for r, start in enumerate(starts)
        ]
        some = [vectors.if_below(k, depth, lanes) for k in range(SQUARE)]
        vectors.store_transposed(context, loaded, panel, args[3], args[4], args[5], some)
        return context.get_dummy_value()

    i = types.intp
    return types.void(source, i, i, panel, i, i, i, i, i, i), codegen


@intrinsic
def _copy_edge(
    typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any, numbers: Any, next_numbers: Any,
    lanes: Any,
) -> Any:  # fmt: skip
    """panel[panel_at + r] <- source[at + r], of a pair also source[at + stride + r], r below SQUARE and `lanes`.

    What is not among the first `numbers`, or of the pair's second ones among `next_numbers`, is zero.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = Vectors(builder, source, panel)
        address, next_k = (
            vectors.address(context, source, args[0], index) for index in (args[1], builder.add(args[1], args[2]))
        )
        element = vectors.across_k(address, next_k, *args[5:7])
        vectors.store(element, vectors.address(context, panel, args[3], args[4]), args[7])
        return context.get_dummy_value()

    i = types.intp
    return types.void(source, i, i, panel, i, i, i, i), codegen


@intrinsic
def _copy_both(
    typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any, next_at: Any
) -> Any:  # fmt: skip
    """`_copy_across` of 2 SQUARE neighbours: the first half to panel[panel_at], the second to panel[next_at]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = Vectors(builder, source, panel, 2 * SQUARE)
        address, next_k = (
            vectors.address(context, source, args[0], index) for index in (args[1], builder.add(args[1], args[2]))
        )
        both = vectors.across_k(address, next_k)
        for half, place in enumerate(args[4:]):
            lanes = [half * SQUARE + lane for lane in range(SQUARE)]
            part = builder.shuffle_vector(both, both, ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), lanes))
            vectors.store(part, vectors.address(context, panel, args[3], place))
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, panel, types.intp, types.intp), codegen


def _emit_wide(context: Any, builder: Any, source: Any, panel: Any, args: Any) -> Any:
    """A row of a panel of B, from neighbours; args are those of `_copy_wide`, and the numbers there are, or all."""
    vectors = Vectors(builder, source, panel, COLUMNS_64 if source.dtype == types.float64 else COLUMNS)
    starts = (args[1], builder.add(args[1], args[2]))
    address, next_k = (vectors.address(context, source, args[0], start) for start in starts)
    row = vectors.across_k(address, next_k, *args[5:])
    vectors.store(row, vectors.address(context, panel, args[3], args[4]))
    return context.get_dummy_value()


@intrinsic
def _copy_wide(typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any) -> Any:
    """panel[panel_at + j] <- source[at + j], of a pair also source[at + stride + j], j below the columns of a panel."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _emit_wide(context, builder, source, panel, args)

    return types.void(source, types.intp, types.intp, panel, types.intp), codegen


@intrinsic
def _copy_wide_edge(
    typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any, numbers: Any, next_numbers: Any
) -> Any:  # fmt: skip
    """`_copy_wide`, zero for what is not among the first `numbers`, or of a pair's second ones `next_numbers`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _emit_wide(context, builder, source, panel, args)

    i = types.intp
    return types.void(source, i, i, panel, i, i, i), codegen


@intrinsic
def _copy_row(typing_context: Any, source: Any, at: Any, target: Any, to: Any, columns: Any) -> Any:
    """target[to + j] <- source[at + j], j below `columns`, at most those of a panel."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = Vectors(builder, source, target, COLUMNS_64 if source.dtype == types.float64 else COLUMNS)
        row = vectors.load(vectors.address(context, source, args[0], args[1]), vectors.width, args[4])
        vectors.store(row, vectors.address(context, target, args[2], args[3]), args[4])
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), codegen


def element_in_numpy(source: Any, at: int, step: int, numbers: int, panel: Any) -> Any:
    """The panel's element for source[at], of a pair also source[at + step]; zero for what is not among `numbers`."""
    pair = [source[at + n * step] if n < numbers else source.dtype.type(0) for n in range(per_element(panel))]
    return pair[0] if len(pair) == 1 else to_bf16(pair[0]) | to_bf16(pair[1]) << np.uint32(16)


def _transpose_edge_in_numpy(
    source: Any, at: int, stride: int, panel: Any, panel_at: int, width: int, rows: int, numbers: int, lanes: int,
    depth: int,
) -> None:  # fmt: skip
    pair = per_element(panel)
    for k, r in np.ndindex(min(SQUARE, depth), min(SQUARE, lanes)):
        left = numbers - k * pair if r < rows else 0
        panel[panel_at + k * width + r] = element_in_numpy(source, at + r * stride + k * pair, 1, left, panel)


def _transpose_in_numpy(source: Any, at: int, stride: int, panel: Any, panel_at: int, width: int) -> None:
    _transpose_edge_in_numpy(source, at, stride, panel, panel_at, width, SQUARE, 2 * SQUARE, SQUARE, SQUARE)


def _copy_edge_in_numpy(
    source: Any, at: int, stride: int, panel: Any, panel_at: int, numbers: int, next_numbers: int, lanes: int
) -> None:
    for r in range(min(SQUARE, lanes)):
        panel[panel_at + r] = element_in_numpy(source, at + r, stride, (r < numbers) + (r < next_numbers), panel)


def _copy_both_in_numpy(source: Any, at: int, stride: int, panel: Any, panel_at: int, next_at: int) -> None:
    for number, place in ((at, panel_at), (at + SQUARE, next_at)):
        _copy_edge_in_numpy(source, number, stride, panel, place, SQUARE, SQUARE, SQUARE)


def _copy_wide_edge_in_numpy(
    source: Any, at: int, stride: int, panel: Any, panel_at: int, numbers: int, next_numbers: int
) -> None:
    for j in range(panel_columns(panel)):
        panel[panel_at + j] = element_in_numpy(source, at + j, stride, (j < numbers) + (j < next_numbers), panel)


def _copy_wide_in_numpy(source: Any, at: int, stride: int, panel: Any, panel_at: int) -> None:
    _copy_wide_edge_in_numpy(source, at, stride, panel, panel_at, COLUMNS, COLUMNS)


def _copy_row_in_numpy(source: Any, at: int, target: Any, to: int, columns: int) -> None:
    target[to : to + columns] = source[at : at + columns]


transpose_square: Any = _transpose_in_numpy if config.DISABLE_JIT else _transpose_square
transpose_edge: Any = _transpose_edge_in_numpy if config.DISABLE_JIT else _transpose_edge
copy_edge: Any = _copy_edge_in_numpy if config.DISABLE_JIT else _copy_edge
copy_both: Any = _copy_both_in_numpy if config.DISABLE_JIT else _copy_both
copy_wide: Any = _copy_wide_in_numpy if config.DISABLE_JIT else _copy_wide
copy_wide_edge: Any = _copy_wide_edge_in_numpy if config.DISABLE_JIT else _copy_wide_edge
copy_row: Any = _copy_row_in_numpy if config.DISABLE_JIT else _copy_row


@jit
def pack_rows(
    source: Any, at: int, stride: int, rows: int, k0: int, k1: int, panel: Any, panel_at: int, width: int
) -> None:
    """One panel from numbers that lie along k.

    panel[panel_at:] as [k][width] <- numbers k0 <= k < k1 of the rows at source[at], source[at + stride], ...; flat
    arrays. Columns rows .. width - 1 of the panel become zero.
    """
    pair, count = per_element(panel), panel_depth(panel, k1 - k0)
    for k in range(0, count, SQUARE):
        numbers = k1 - k0 - k * pair
        for r in range(0, width, SQUARE):
            number, place = at + r * stride + k0 + k * pair, panel_at + k * width + r
            if r + SQUARE <= rows and SQUARE * pair <= numbers:
                transpose_square(source, number, stride, panel, place, width)
            else:
                transpose_edge(source, number, stride, panel, place, width, rows - r, numbers, width - r, count - k)


@jit
def pack_columns(
    source: Any, at: int, stride: int, columns: int, k0: int, k1: int, panels: Any, panels_at: int
) -> None:
    """Panels of B from numbers that lie across k: panels[panels_at:] <- rows k0 <= k < k1 of the matrix whose row k
    starts at source[at + k * stride]. The last panel is filled up with zeros."""
    width, pair, count = panel_columns(panels), per_element(panels), panel_depth(panels, k1 - k0)
    whole = (k1 - k0) // pair
    for start in range(0, whole, K_GROUP):
        group = min(K_GROUP, whole - start)
        for column in range(0, columns, width):
            number, real = at + (k0 + start * pair) * stride + column, columns - column
            place = panels_at + column * count + start * width
            if real < width:
                for k in range(group):
                    copy_wide_edge(source, number + k * pair * stride, stride, panels, place + k * width, real, real)
                continue
            for k in range(group):
                copy_wide(source, number + k * pair * stride, stride, panels, place + k * width)
    for column in range(0, columns, width):
        for k in range(whole, count):
            real = columns - column if k * pair < k1 - k0 else 0
            number, place = at + (k0 + k * pair) * stride + column, panels_at + column * count + k * width
            copy_wide_edge(source, number, stride, panels, place, real, 0)


@jit
def pack_narrow(source: Any, at: int, stride: int, rows: int, k0: int, k1: int, panels: Any) -> None:
    """Panels of A from numbers that lie across k: panels <- numbers k0 <= k < k1 of the rows whose k lies from
    source[at + k * stride] on. The last panel is as narrow as its rows."""
    pair, count = per_element(panels), panel_depth(panels, k1 - k0)
    whole, stop_row = (k1 - k0) // pair, rows // ROWS * ROWS // (2 * SQUARE) * (2 * SQUARE)
    for start in range(0, whole, K_GROUP):
        group = min(K_GROUP, whole - start)
        for row in range(0, stop_row, 2 * SQUARE):
            number, second = at + (k0 + start * pair) * stride + row, row + SQUARE
            place = (row - row % ROWS) * count + start * ROWS + row % ROWS
            next_place = (second - second % ROWS) * count + start * ROWS + second % ROWS
            for k in range(group):
                copy_both(
                    source, number + k * pair * stride, stride, panels, place + k * ROWS, next_place + k * ROWS
                )  # fmt: skip
    for row in range(0, rows, SQUARE):
        first, real = row - row % ROWS, rows - row
        across = min(ROWS, rows - first)
        for k in range(whole if row < stop_row else 0, count):
            low, high = real if k * pair < k1 - k0 else 0, real if k * pair + 1 < k1 - k0 else 0
            copy_edge(
                source, at + (k0 + k * pair) * stride + row, stride, panels,
                first * count + k * across + row % ROWS, low, high, across - row % ROWS,
            )  # fmt: skip
