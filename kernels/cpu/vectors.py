"""Numbers on their way into a panel, held in vector registers: LLVM's instructions to load, round, transpose and store.

What is at the edge of a matrix is loaded and stored under a mask, which touches no other memory.
"""

from typing import Any

from llvmlite import ir
from numba import types

from kernels.cpu.processor import SHAPE

SQUARE = SHAPE.square  # side of a transposed block; divides the rows and the columns of a tile


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
