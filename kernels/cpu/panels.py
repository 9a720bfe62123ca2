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
from kernels.cpu.tiles import COLUMNS, COLUMNS_64, PAIR_ROWS, ROWS, SCALE_ROWS, SHAPE

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

    def load(self, address: Any, count: int, lanes: Any = None) -> Any:
        """Numbers; if `lanes` is given, so many of them, zeros behind, and no other memory is touched."""
        kind = ir.VectorType(self.number, count)
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        if lanes is not None:
            align, empty = ir.IntType(32)(self.size), ir.Constant(kind, None)
            return self._masked("load", kind, kind, [pointer, align, self._first(lanes, count), empty])
        value = self.builder.load(pointer)
        value.align = self.size
        return value

    def store(self, value: Any, address: Any, lanes: Any = None) -> None:
        """A vector, or the first `lanes` of it."""
        pointer = self.builder.inttoptr(address, value.type.as_pointer())
        if lanes is None:
            self.builder.store(value, pointer).align = self.size
            return
        mask = self._first(lanes, value.type.count)
        self._masked("store", value.type, ir.VoidType(), [value, pointer, ir.IntType(32)(self.size), mask])

    def _first(self, lanes: Any, count: int) -> Any:
        """Whether a lane is among the first ones; `lanes` may be less than 0 or more than there are."""
        kind, i32 = ir.VectorType(ir.IntType(32), count), ir.IntType(32)
        empty = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(empty, self.builder.trunc(lanes, i32), i32(0))
        bound = self.builder.shuffle_vector(first, empty, ir.Constant(kind, None))
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(count))), bound)

    def _masked(self, what: str, kind: Any, result: Any, arguments: list[Any]) -> Any:
        suffix = f"v{kind.count}{'i' if isinstance(kind.element, ir.IntType) else 'f'}{8 * self.size}"
        module, name = self.builder.module, f"llvm.masked.{what}.{suffix}.p0"
        function = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(module.globals.get(name) or ir.Function(module, function, name), arguments)

    def along_k(self, address: Any, lanes: Any = None) -> Any:
        """SQUARE elements whose numbers, of which there may be `lanes`, are consecutive; little-endian order makes
        pairs of neighbours."""
        if not self.pairs:
            return self.load(address, SQUARE, lanes)
        halves = self.round(self.load(address, 2 * SQUARE, lanes), 2 * SQUARE)
        halves = self.builder.trunc(halves, ir.VectorType(ir.IntType(16), 2 * SQUARE))
        return self.builder.bitcast(halves, self.element)

    def across_k(self, address: Any, next_k: Any, lanes: Any = None, next_lanes: Any = None) -> Any:
        """`width` neighbouring elements of one k, paired with those at the address `next_k`."""
        if not self.pairs:
            return self.load(address, self.width, lanes)
        low, high = (
            self.round(self.load(place, self.width, some), self.width)
            for place, some in ((address, lanes), (next_k, next_lanes))
        )
        return self.builder.or_(low, self.builder.shl(high, ir.Constant(self.element, [16] * self.width)))

    def if_below(self, number: int, bound: Any, lanes: Any) -> Any:
        """`lanes` where the number is below the bound, else none."""
        i64 = ir.IntType(64)
        return self.builder.select(self.builder.icmp_signed("<", i64(number), bound), lanes, i64(0))

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

    def store_transposed(
        self, context: Any, rows: list[Any], panel: Any, array: Any, at: Any, width: Any, lanes: Any = None
    ) -> None:
        """The transposed rows to array[at], array[at + width], ..., or so many `lanes` of each."""
        for number, row in enumerate(self.transpose(rows)):
            place = self.builder.add(at, self.builder.mul(width, ir.IntType(64)(number)))
            self.store(row, self.address(context, panel, array, place), lanes and lanes[number])

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


def _copy_row_in_numpy(source: Any, at: int, target: Any, to: int, columns: int) -> None:
    target[to : to + columns] = source[at : at + columns]


transpose_square: Any = _transpose_in_numpy if config.DISABLE_JIT else _transpose_square
transpose_edge: Any = _transpose_edge_in_numpy if config.DISABLE_JIT else _transpose_edge
copy_edge: Any = _copy_edge_in_numpy if config.DISABLE_JIT else _copy_edge
copy_both: Any = _copy_both_in_numpy if config.DISABLE_JIT else _copy_both
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
    source: Any, at: int, stride: int, columns: int, k0: int, k1: int, panel: Any, panel_at: Any, width: Any,
    narrow: bool,
) -> None:  # fmt: skip
    """Panels from numbers that lie across k: columns of a matrix whose row k starts at source[at + k * stride].

    The last panel is as narrow as its columns if `narrow`, else filled up with zeros.
    """
    pair, count = per_element(panel), panel_depth(panel, k1 - k0)
    whole = (k1 - k0) // pair
    stop_column = columns // width * width // (2 * SQUARE) * (2 * SQUARE)
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
    for column in range(0, columns if narrow else (columns + width - 1) // width * width, SQUARE):
        first, real = column - column % width, columns - column
        across = min(width, columns - first) if narrow else width
        for k in range(whole if column < stop_column else 0, count):
            low, high = real if k * pair < k1 - k0 else 0, real if k * pair + 1 < k1 - k0 else 0
            copy_edge(
                source, at + (k0 + k * pair) * stride + column, stride, panel,
                panel_at + first * count + k * across + column % width, low, high, across - column % width,
            )  # fmt: skip
