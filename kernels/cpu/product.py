"""The product of some rows with a packed matrix: the one piece of machine code that every kernel with a product shares.

Numba links what a function calls into it, and optimises and emits it there once more. Packing and tiles are large, and
many kernels need them, so `multiply_rows` calls them by address instead: they are compiled once for each element type,
by `prepare`, and a table of this process holds where they are. Compiled code knows the table by its symbol, so it can
be cached.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic, register_jitable
from numba.np.numpy_support import as_dtype

from kernels.cpu.blocks import pack_blocks
from kernels.cpu.jit import address_of, config, jit, jit_inline
from kernels.cpu.matrix_unit import BLOCK, configure, release
from kernels.cpu.narrow import cut_of, panels_begin
from kernels.cpu.panels import copy_row, pack_narrow, pack_rows, panel_columns, panel_depth, panel_rows, scale_rows
from kernels.cpu.tiles import LEFT, PAIR_ROWS, ROWS, tile

DEPTH = 1024  # numbers along k of a block; even
ROW_BLOCK = 32 * ROWS  # rows of A packed at a time, while a panel of B stays in a cache
GROUP = 1 << 16  # elements of B that a matrix unit's rows meet before the next ones, so that C is written along rows
TABLE = "minigrad_multiply_rows"
# Of the panels of B, in the order of the table.
ELEMENTS: list[types.Type] = [types.float32, types.float64, types.uint32, types.int8, types.uint16]


@register_jitable
def workspace(rows: int, depth: int) -> int:
    """Elements that `multiply_rows` needs to pack A."""
    panels = (min(rows, ROW_BLOCK) + PAIR_ROWS - 1) // PAIR_ROWS  # whole ones, as a matrix unit wants them
    return panels * PAIR_ROWS * ((min(depth, DEPTH) + 2 * BLOCK - 1) // (2 * BLOCK) * (2 * BLOCK))


@jit_inline
def pack_row_blocks(source: Any, transposed: bool, at: int, stride: int, rows: int, k0: int, k1: int, a: Any) -> None:
    """a <- k0 <= k < k1 of `rows` rows of A, in panels.

    Row r of A starts at source[at + r * stride]; if `transposed`, column k of it starts at source[at + k * stride].
    """
    if panel_rows(a) > ROWS:
        pack_blocks(source, transposed, at, stride, rows, k0, k1, a)
        return
    if transposed:
        pack_narrow(source, at, stride, rows, k0, k1, a)
        return
    depth = panel_depth(a, k1 - k0)
    for row in range(0, rows, ROWS):
        width = min(ROWS, rows - row)
        pack_rows(source, at + row * stride, stride, width, k0, k1, a, row * depth, width)


@jit_inline
def multiply_panels(
    a: Any, rows: int, b: Any, b_at: int, columns: int, c: Any, c_at: int, ldc: int, depth: int, more: bool
) -> None:
    """C (+)= A B for one block of k, all of it in panels: A's from a[0] on, B's, with their scales, from b[b_at] on.

    Args:
        rows, columns: of C, which is flat: row 0, column 0 at c_at, rows ldc apart.
        depth: `panel_depth`, elements of the panels along k.
        more: add to C instead of overwriting it.
    """
    width, least, head = panel_columns(b), panel_rows(b), scale_rows(b)
    on_unit = least > ROWS  # whose tiles are whole ones, and so fast that it counts where in C they lie
    height, least = (2 * least, least) if on_unit else (least, 1)
    group = max(1, GROUP // (width * depth)) * width if on_unit else width
    aside = np.empty(height * width, c.dtype) if columns % width or rows % least else c
    if on_unit:
        configure()
    for first in range(0, columns, group):
        for row in range(0, rows, height):
            count = min(height, rows - row)
            for column in range(first, min(first + group, columns), width):
                panel, real = b_at + column * (depth + head) + head * width, min(width, columns - column)
                place = c_at + row * ldc + column
                whole = (count + least - 1) // least * least
                if real == width and count == whole:
                    tile(a, row * depth, b, panel, c, place, ldc, depth, more, count)
                    continue
                if more:
                    _copy_tile(c, place, ldc, aside, 0, width, count, real)
                tile(a, row * depth, b, panel, aside, 0, width, depth, more, whole)
                _copy_tile(aside, 0, width, c, place, ldc, count, real)
    if on_unit:
        release()


@jit_inline
def _copy_tile(source: Any, at: int, stride: int, target: Any, to: int, ldt: int, rows: int, columns: int) -> None:
    """Part of a tile from source[at], rows `stride` apart, to target[to], rows `ldt` apart."""
    for r in range(rows):
        copy_row(source, at + r * stride, target, to + r * ldt, columns)


@jit
def multiply_block(
    source: Any, transposed: bool, at: int, stride: int, rows: int, a: Any, b: Any, depth: int, columns: int,
    first_column: int, stop_column: int, c: Any, c_at: int, ldc: int, more: bool,
) -> None:  # fmt: skip
    """C (+)= A B for `rows` rows of A and some columns of B; to be called inside a task.

    Args:
        source, transposed, at, stride: A, see `pack_row_blocks`.
        a: work space for `workspace(rows, depth)` elements, see `left_dtype`.
        b, depth, columns: a `Prepacked`.
        first_column, stop_column: the columns to compute, from a multiple of a panel's columns on.
        c: flat; row 0, column 0 of these rows (not first_column) is at c_at, rows are ldc apart.
    """
    width, cut = panel_columns(b), cut_of(b, depth)
    padded = (columns + width - 1) // width * width
    for row in range(0, rows, ROW_BLOCK):
        count, k0, block = min(ROW_BLOCK, rows - row), 0, panels_begin(b)
        while k0 < depth:
            k1 = min(k0 + DEPTH, depth if k0 >= cut else cut)
            size = panel_depth(b, k1 - k0)
            pack_row_blocks(source, transposed, at + row * (1 if transposed else stride), stride, count, k0, k1, a)
            multiply_panels(
                a, count, b, block + first_column * (size + scale_rows(b)), stop_column - first_column,
                c, c_at + row * ldc + first_column, ldc, size, more or k0 > 0,
            )  # fmt: skip
            k0, block = k1, block + (size + scale_rows(b)) * padded


_SLOTS = {as_dtype(element): slot for slot, element in enumerate(ELEMENTS)}
_LEFT_DTYPES = {as_dtype(element): np.dtype(as_dtype(LEFT.get(element, element))) for element in ELEMENTS}
_addresses = np.zeros(len(ELEMENTS), np.uintp)
binding.add_symbol(TABLE, _addresses.ctypes.data)


def _argument_types(number: types.Type, element: types.Type) -> tuple[types.Type, ...]:
    """Of `multiply_block`, for matrices of `number` and panels of `element`."""
    matrix, left, panel, i, flag = number[::1], LEFT.get(element, element)[::1], element[::1], types.intp, types.boolean
    return matrix, flag, i, i, i, left, panel, i, i, i, i, matrix, i, i, flag


def left_dtype(panels: np.ndarray) -> np.dtype:
    """Of the panels of A beside these of B."""
    return _LEFT_DTYPES[panels.dtype]


def slot_of(panels: np.ndarray) -> int:
    """Where the product with panels of this dtype stands in the table."""
    return _SLOTS[panels.dtype]


def dtype_of(slot: int) -> np.dtype:
    """Of the panels that a slot of the table is for."""
    return np.dtype(as_dtype(ELEMENTS[slot]))


def prepare(dtype: np.dtype) -> None:
    """Compile `multiply_rows` for panels of this dtype, unless that is done."""
    slot = _SLOTS[dtype]
    if _addresses[slot] or config.DISABLE_JIT:
        return
    element = ELEMENTS[slot]
    number = types.float64 if element == types.float64 else types.float32
    _addresses[slot] = address_of(multiply_block, _argument_types(number, element))


def _call_in_table(context: Any, builder: Any, signature: Any, args: Any, slot: Any) -> Any:
    """`multiply_block` at its address in the table; arrays of other element types are given their numbers' type."""
    function = context.call_conv.get_function_type(types.void, signature.args)
    pointers = ir.ArrayType(function.as_pointer(), len(ELEMENTS))
    table = builder.module.globals.get(TABLE) or ir.GlobalVariable(builder.module, pointers, TABLE)
    callee = builder.load(builder.gep(table, [ir.IntType(64)(0), slot]))
    with builder.if_then(builder.icmp_unsigned("==", callee, ir.Constant(callee.type, None)), likely=False):
        message = ("multiply_rows: called before prepare() for these panels",)
        context.call_conv.return_user_exc(builder, RuntimeError, message)
    status, _ = context.call_conv.call_function(builder, callee, types.void, signature.args, args)
    with builder.if_then(status.is_error, likely=False):
        context.call_conv.return_status_propagate(builder, status)
    return context.get_dummy_value()


def _arguments(source: Any, a: Any, b: Any, c: Any) -> tuple[types.Type, ...] | None:
    """Those of `multiply_block`; None if the arrays are none that it takes, but for the element type of b."""
    if any(array.layout != "C" or array.ndim != 1 for array in (source, a, b, c)) or c.dtype != source.dtype:
        return None
    i, flag = types.intp, types.boolean
    return source, flag, i, i, i, a, b, i, i, i, i, c, i, i, flag


@intrinsic
def _call(
    typing_context: Any, source: Any, transposed: Any, at: Any, stride: Any, rows: Any, a: Any, b: Any, depth: Any,
    columns: Any, first_column: Any, stop_column: Any, c: Any, c_at: Any, ldc: Any, more: Any,
) -> Any:  # fmt: skip
    """`multiply_block` for the panels' element type."""
    arguments = _arguments(source, a, b, c)
    if arguments is None or b.dtype not in ELEMENTS or a.dtype != LEFT.get(b.dtype, b.dtype):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call_in_table(context, builder, signature, args, ir.IntType(64)(ELEMENTS.index(b.dtype)))

    return types.void(*arguments), codegen


@intrinsic
def _call_slot(
    typing_context: Any, slot: Any, source: Any, transposed: Any, at: Any, stride: Any, rows: Any, a: Any, b: Any,
    depth: Any, columns: Any, first_column: Any, stop_column: Any, c: Any, c_at: Any, ldc: Any, more: Any,
) -> Any:  # fmt: skip
    """`multiply_block` for panels that are called numbers, as all other arrays are, whatever they hold."""
    arguments = _arguments(source, a, b, c)
    if arguments is None or a.dtype != source.dtype or b.dtype != source.dtype:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        of_product = types.void(*signature.args[1:])
        return _call_in_table(context, builder, of_product, args[1:], args[0])

    return types.void(types.int64, *arguments), codegen


def _slot_in_numpy(slot: int, *arguments: Any) -> None:
    """`_call_slot` without the compiler."""
    source, transposed, at, stride, rows, a, b, *others = arguments
    panels = b.view(dtype_of(slot))
    multiply_block(source, transposed, at, stride, rows, a.view(left_dtype(panels)), panels, *others)


multiply_rows: Any = multiply_block if config.DISABLE_JIT else _call
multiply_rows_as: Any = _slot_in_numpy if config.DISABLE_JIT else _call_slot
