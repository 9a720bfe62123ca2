"""The product of some rows with a packed matrix: the one piece of machine code that every kernel with a product shares.

Numba links what a function calls into it, and optimises and emits it there once more. Packing and tiles are large, and
many kernels need them, so `multiply_rows` calls them by address instead: they are compiled once for each element type,
by `prepare`, and a table of this process holds where they are. Compiled code knows the table by its symbol, so it can
be cached.
"""

from typing import Any, cast

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic, register_jitable
from numba.np.numpy_support import as_dtype

from kernels.cpu.blocks import pack_blocks
from kernels.cpu.jit import config, jit, jit_inline
from kernels.cpu.matrix_unit import BLOCK, configure, release
from kernels.cpu.panels import copy_row, pack_columns, pack_rows, panel_columns, panel_depth, panel_rows, per_element
from kernels.cpu.tiles import PAIR_ROWS, ROWS, tile

DEPTH = 1024  # numbers along k of a block; even
ROW_BLOCK = 32 * ROWS  # rows of A packed at a time, while a panel of B stays in a cache
GROUP = 1 << 16  # elements of B that a matrix unit's rows meet before the next ones, so that C is written along rows
TABLE = "minigrad_multiply_rows"
ELEMENTS: list[types.Type] = [types.float32, types.float64, types.uint32]  # of the panels, in the order of the table


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
        pack_columns(source, at, stride, rows, k0, k1, a, 0, ROWS, True)
        return
    depth = panel_depth(a, k1 - k0)
    for row in range(0, rows, ROWS):
        width = min(ROWS, rows - row)
        pack_rows(source, at + row * stride, stride, width, k0, k1, a, row * depth, width)


@jit_inline
def multiply_panels(
    a: Any, rows: int, b: Any, b_at: int, columns: int, c: Any, c_at: int, ldc: int, depth: int, more: bool
) -> None:
    """C (+)= A B for one block of k, all of it in panels: A's from a[0] on, B's from b[b_at] on.

    Args:
        rows, columns: of C, which is flat: row 0, column 0 at c_at, rows ldc apart.
        depth: `panel_depth`, elements of the panels along k.
        more: add to C instead of overwriting it.
    """
    width, least = panel_columns(b), panel_rows(b)
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
                panel, place, real = b_at + column * depth, c_at + row * ldc + column, min(width, columns - column)
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
        a: work space for `workspace(rows, depth)` elements, of B's element type.
        b, depth, columns: a `Prepacked`.
        first_column, stop_column: the columns to compute, from a multiple of a panel's columns on.
        c: flat; row 0, column 0 of these rows (not first_column) is at c_at, rows are ldc apart.
    """
    width, pair = panel_columns(b), per_element(b)
    padded = (columns + width - 1) // width * width
    for row in range(0, rows, ROW_BLOCK):
        count = min(ROW_BLOCK, rows - row)
        for k0 in range(0, depth, DEPTH):
            k1 = min(k0 + DEPTH, depth)
            size = panel_depth(b, k1 - k0)
            pack_row_blocks(source, transposed, at + row * (1 if transposed else stride), stride, count, k0, k1, a)
            multiply_panels(
                a, count, b, k0 // pair * padded + first_column * size, stop_column - first_column,
                c, c_at + row * ldc + first_column, ldc, size, more or k0 > 0,
            )  # fmt: skip


_SLOTS = {as_dtype(element): slot for slot, element in enumerate(ELEMENTS)}
_addresses = np.zeros(len(ELEMENTS), np.uintp)
binding.add_symbol(TABLE, _addresses.ctypes.data)


def _argument_types(number: types.Type, element: types.Type) -> tuple[types.Type, ...]:
    """Of `multiply_block`, for matrices of `number` and panels of `element`."""
    matrix, panel, i, flag = number[::1], element[::1], types.intp, types.boolean
    return matrix, flag, i, i, i, panel, panel, i, i, i, i, matrix, i, i, flag


def prepare(dtype: np.dtype) -> None:
    """Compile `multiply_rows` for panels of this dtype, unless that is done."""
    slot = _SLOTS[dtype]
    if _addresses[slot] or config.DISABLE_JIT:
        return
    element = ELEMENTS[slot]
    number = types.float64 if element == types.float64 else types.float32
    compiled, argument_types = cast(Any, multiply_block), _argument_types(number, element)
    compiled.compile(argument_types)
    result = compiled.overloads[argument_types]
    _addresses[slot] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)


@intrinsic
def _call(
    typing_context: Any, source: Any, transposed: Any, at: Any, stride: Any, rows: Any, a: Any, b: Any, depth: Any,
    columns: Any, first_column: Any, stop_column: Any, c: Any, c_at: Any, ldc: Any, more: Any,
) -> Any:  # fmt: skip
    """`multiply_block` at its address in the table."""
    arrays = source, a, b, c
    if any(array.layout != "C" or array.ndim != 1 for array in arrays) or a.dtype != b.dtype or c.dtype != source.dtype:
        return None
    i, flag = types.intp, types.boolean
    signature = types.void(source, flag, i, i, i, a, b, i, i, i, i, c, i, i, flag)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = context.call_conv.get_function_type(types.void, signature.args)
        pointers = ir.ArrayType(function.as_pointer(), len(ELEMENTS))
        table = builder.module.globals.get(TABLE) or ir.GlobalVariable(builder.module, pointers, TABLE)
        zero, slot = ir.IntType(32)(0), ir.IntType(32)(ELEMENTS.index(b.dtype))
        callee = builder.load(builder.gep(table, [zero, slot]))
        with builder.if_then(builder.icmp_unsigned("==", callee, ir.Constant(callee.type, None)), likely=False):
            message = ("multiply_rows: called before prepare() for these panels",)
            context.call_conv.return_user_exc(builder, RuntimeError, message)
        status, _ = context.call_conv.call_function(builder, callee, types.void, signature.args, args)
        with builder.if_then(status.is_error, likely=False):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return signature, codegen


multiply_rows: Any = multiply_block if config.DISABLE_JIT else _call
