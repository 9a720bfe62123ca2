"""Operands of a product copied into panels, the order in which a tile reads them.

`[panel][k][width]`: A by panels of ROWS rows (the last one as narrow as its rows), B by panels of COLUMNS columns (the
last one filled up with zeros). What is contiguous along k is transposed on the way, in square blocks held in vector
registers; what is contiguous across a panel is copied. For a matrix unit A lies by blocks of k, and the two change
places (`kernels.cpu.blocks`). A panel of uint32 takes float32 numbers rounded to bfloat16 (nearest, ties to even), two
of consecutive k in one element.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from kernels.cpu.jit import FLAGS, config, jit
from kernels.cpu.tiles import COLUMNS, COLUMNS_64, PAIR_ROWS, ROWS, SHAPE

SQUARE = SHAPE.square  # side of a transposed block; divides ROWS and COLUMNS
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


@jit
def to_bf16(x: np.float32) -> np.uint32:
    """The float32's bits rounded to the nearest bfloat16, ties to even, in the low 16 bits; a NaN stays one."""
    bits = np.float32(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded if x == x else np.uint32(0x7FC0)


def as_element(source: Any, at: int, step: int, real: bool, panel: Any) -> Any:
    """The panel's element for source[at], of a pair also source[at + step], zero in its place unless `real`."""
    if panel.dtype != np.uint32:
        return source[at]
    return to_bf16(source[at]) | (to_bf16(source[at + step]) if real else np.uint32(0)) << np.uint32(16)


@overload(as_element, jit_options=FLAGS)
def _as_element(source: Any, at: Any, step: Any, real: Any, panel: Any) -> Any:
    if panel.dtype != types.uint32:

        def element(source: Any, at: Any, step: Any, real: Any, panel: Any) -> Any:
            return source[at]

    else:

        def element(source: Any, at: Any, step: Any, real: Any, panel: Any) -> Any:
            high = to_bf16(source[at + step]) if real else np.uint32(0)
            return to_bf16(source[at]) | np.uint32(high << np.uint32(16))

    return element


class Vectors:
    """Emits loads of numbers as vectors of `width` panel elements, and the transposition of SQUARE of them."""

    def __init__(self, builder: Any, source: Any, panel: Any, width: int = SQUARE) -> None:
        self.builder, self.width = builder, width
        self.pairs = panel.dtype == types.uint32
        self.size = 8 if source.dtype == types.float64 else 4
        self.number = ir.DoubleType() if self.size == 8 else ir.FloatType()
        self.element = ir.VectorType(ir.IntType(32) if self.pairs else self.number, width)

    def address(self, context: Any, array_type: Any, array: Any, index: Any) -> Any:
        """The integer address of array[index]."""
        data = context.make_array(array_type)(context, self.builder, array).data
        offset = self.builder.mul(index, ir.IntType(64)(self.size))
        return self.builder.add(self.builder.ptrtoint(data, ir.IntType(64)), offset)

    def load(self, address: Any, count: int) -> Any:
        pointer = self.builder.inttoptr(address, ir.VectorType(self.number, count).as_pointer())
        value = self.builder.load(pointer)
        value.align = self.size
        return value

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer())).align = self.size

    def along_k(self, address: Any) -> Any:
        """SQUARE elements whose numbers are consecutive; little-endian order makes pairs of neighbours."""
        if not self.pairs:
            return self.load(address, SQUARE)
        halves = self.round(self.load(address, 2 * SQUARE), 2 * SQUARE)
        halves = self.builder.trunc(halves, ir.VectorType(ir.IntType(16), 2 * SQUARE))
        return self.builder.bitcast(halves, self.element)

    def across_k(self, address: Any, next_k: Any) -> Any:
        """`width` neighbouring elements of one k, paired with those at the address `next_k`."""
        if not self.pairs:
            return self.load(address, self.width)
        low, high = (self.round(self.load(place, self.width), self.width) for place in (address, next_k))
        return self.builder.or_(low, self.builder.shl(high, ir.Constant(self.element, [16] * self.width)))

    def round(self, value: Any, count: int) -> Any:
        """`to_bf16` of each lane."""
        builder, bits_type = self.builder, ir.VectorType(ir.IntType(32), count)

        def constant(number: int) -> Any:
            return ir.Constant(bits_type, [number] * count)

        bits = builder.bitcast(value, bits_type)
        odd = builder.and_(builder.lshr(bits, constant(16)), constant(1))
        rounded = builder.lshr(builder.add(builder.add(bits, constant(0x7FFF)), odd), constant(16))
        return builder.select(builder.fcmp_ordered("ord", value, value), rounded, constant(0x7FC0))

    def transpose(self, rows: list[Any]) -> list[Any]:
        """Each round interleaves the first half of the rows with the second; log2(SQUARE) rounds transpose."""
        half = SQUARE // 2
        for _ in range(SQUARE.bit_length() - 1):
            pairs = [(rows[r], rows[r + half]) for r in range(half)]
            rows = [self._interleave(a, b, start) for a, b in pairs for start in (0, half)]
        return rows

    def store_transposed(self, context: Any, rows: list[Any], panel: Any, array: Any, at: Any, width: Any) -> None:
        """The transposed rows to array[at], array[at + width], ..."""
        for number, row in enumerate(self.transpose(rows)):
            place = self.builder.add(at, self.builder.mul(width, ir.IntType(64)(number)))
            self.store(row, self.address(context, panel, array, place))

    def _interleave(self, a: Any, b: Any, start: int) -> Any:
        lanes = [lane + offset for lane in range(start, start + SQUARE // 2) for offset in (0, SQUARE)]
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), lanes))


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
def _copy_across(typing_context: Any, source: Any, at: Any, stride: Any, panel: Any, panel_at: Any) -> Any:
    """panel[panel_at + r] <- source[at + r], of a pair also source[at + stride + r], r below SQUARE."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = Vectors(builder, source, panel)
        address, next_k = (
            vectors.address(context, source, args[0], index) for index in (args[1], builder.add(args[1], args[2]))
        )
        vectors.store(vectors.across_k(address, next_k), vectors.address(context, panel, args[3], args[4]))
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, panel, types.intp), codegen


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


def _transpose_in_numpy(source: Any, at: int, stride: int, panel: Any, panel_at: int, width: int) -> None:
    for r in range(SQUARE):
        for k in range(SQUARE):
            number = at + r * stride + k * per_element(panel)
            panel[panel_at + k * width + r] = as_element(source, number, 1, True, panel)


def _copy_in_numpy(source: Any, at: int, stride: int, panel: Any, panel_at: int) -> None:
    for r in range(SQUARE):
        panel[panel_at + r] = as_element(source, at + r, stride, True, panel)


def _copy_both_in_numpy(source: Any, at: int, stride: int, panel: Any, panel_at: int, next_at: int) -> None:
    _copy_in_numpy(source, at, stride, panel, panel_at)
    _copy_in_numpy(source, at + SQUARE, stride, panel, next_at)


transpose_square: Any = _transpose_in_numpy if config.DISABLE_JIT else _transpose_square
copy_across: Any = _copy_in_numpy if config.DISABLE_JIT else _copy_across
copy_both: Any = _copy_both_in_numpy if config.DISABLE_JIT else _copy_both


@jit
def pack_rows(
    source: Any, at: int, stride: int, rows: int, k0: int, k1: int, panel: Any, panel_at: int, width: int
) -> None:
    """One panel from numbers that lie along k.

    panel[panel_at:] as [k][width] <- numbers k0 <= k < k1 of the rows at source[at], source[at + stride], ...; flat
    arrays. Columns rows .. width - 1 of the panel become zero.
    """
    pair = per_element(panel)
    span, count = SQUARE * pair, (k1 - k0 + pair - 1) // pair
    whole = (k1 - k0) // span * SQUARE
    square_rows = rows // SQUARE * SQUARE
    if rows < width:
        panel[panel_at : panel_at + count * width] = 0
    for k in range(0, whole, SQUARE):
        for r in range(0, square_rows, SQUARE):
            transpose_square(source, at + r * stride + k0 + k * pair, stride, panel, panel_at + k * width + r, width)
        for r in range(square_rows, rows):
            for step in range(k, k + SQUARE):
                number = at + r * stride + k0 + step * pair
                panel[panel_at + step * width + r] = as_element(source, number, 1, True, panel)
    for k in range(whole, count):
        for r in range(rows):
            number = at + r * stride + k0 + k * pair
            panel[panel_at + k * width + r] = as_element(source, number, 1, k0 + k * pair + 1 < k1, panel)


@jit
def pack_columns(
    source: Any, at: int, stride: int, columns: int, k0: int, k1: int, panel: Any, panel_at: Any, width: Any,
    narrow: bool,
) -> None:  # fmt: skip
    """Panels from numbers that lie across k: columns of a matrix whose row k starts at source[at + k * stride].

    The last panel is as narrow as its columns if `narrow`, else filled up with zeros.
    """
    pair = per_element(panel)
    count, whole = (k1 - k0 + pair - 1) // pair, (k1 - k0) // pair
    whole_columns = columns // width * width
    stop_column = whole_columns // (2 * SQUARE) * (2 * SQUARE)
    if whole_columns < columns and not narrow:
        panel[panel_at + whole_columns * count : panel_at + (whole_columns + width) * count] = 0
    for start in range(0, whole, K_GROUP):
        stop = min(start + K_GROUP, whole)
        for column in range(0, stop_column, 2 * SQUARE):
            number, second = at + (k0 + start * pair) * stride + column, column + SQUARE
            place = panel_at + (column - column % width) * count + start * width + column % width
            next_place = panel_at + (second - second % width) * count + start * width + second % width
            for k in range(stop - start):
                copy_both(
                    source, number + k * pair * stride, stride, panel, place + k * width, next_place + k * width
                )  # fmt: skip
    for both in (True, False):  # what is left: the last columns, then the last number if it has none to pair with
        first, start, stop = (stop_column, 0, whole) if both else (0, whole, count)
        _pack_edges(
            source, at + k0 * stride, stride, first, columns, start, stop, panel, panel_at, count, width, narrow, both
        )  # fmt: skip


@jit
def _pack_edges(
    source: Any, at: int, stride: int, first_column: int, columns: int, start: int, stop: int, panel: Any,
    panel_at: int, count: int, width: int, narrow: bool, both: bool,
) -> None:  # fmt: skip
    """What `pack_columns` cannot copy two squares at a time: elements start .. stop - 1 of the columns from one on.

    both: whether the second number of the elements' pairs exists. What the columns do not fill is zero already.
    """
    pair = per_element(panel)
    if start == stop:
        return
    for first in range(first_column - first_column % width, columns, width):
        real, begin = min(width, columns - first), max(first_column - first, 0)
        across, whole = real if narrow else width, real - real % SQUARE if both else begin
        for k in range(start, stop):
            number, place = at + k * pair * stride + first, panel_at + first * count + k * across
            for r in range(begin, whole, SQUARE):
                copy_across(source, number + r, stride, panel, place + r)
            for r in range(whole, real):
                panel[place + r] = as_element(source, number + r, stride, both, panel)
