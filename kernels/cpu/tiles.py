"""The innermost loop of every matrix product: one tile of the result, held in registers.

    C[r, :] (+)= sum over k of A[k, r] * B[k, :]        r < rows <= ROWS, columns of C: COLUMNS

A panel of A is `[depth][rows]`, a panel of B `[depth][COLUMNS]`, so both are read front to back. Each step of k loads
VECTORS vectors of B, spreads one number of A at a time over all lanes, and does rows * VECTORS multiply-adds into as
many vector registers. The loop is written in LLVM's vector instructions through Numba's `intrinsic`; LLVM turns it into
AVX-512, AVX2, NEON or whatever the processor has (Goto and van de Geijn, "Anatomy of high-performance matrix
multiplication", 2008, describe the scheme). What lies AHEAD in B, and the rows of C, which are a page apart, is asked
for before it is needed, since no processor foresees both.

Element types: float32, float64, and pairs of bfloat16 in one uint32 (low half first), whose two products are added to a
float32 sum. Where the processor has `vdpbf16ps` it does that in one instruction, elsewhere two multiply-adds of
unpacked halves do. A processor with a matrix unit has a tile of its own for them (`kernels.cpu.matrix_unit`).

B alone may be narrow, beside an A of float32: float16, whose bits are a uint16, or int8 with a float32 scale for each
column. They become float32 in the registers. A scale stands for all k, so it waits for the sum: C (+)= scale * sum.
Before the numbers of an int8 panel lie its scales, in the place of SCALE_ROWS rows of them.

Order of sums. Every element of C is summed over k from front to back, whatever the tile's height, so a row of a product
has the same bits whichever rows are computed beside it, and by whichever thread. (The unit's order is another one, and
as fixed.)
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.jit import config, jit
from kernels.cpu.matrix_unit import TILE_COLUMNS, TILE_ROWS, matrix_tile, matrix_tile_of_two, rows_of_blocks
from kernels.cpu.processor import SHAPE
from kernels.cpu.widening import from_half, from_int8

ROWS, VECTOR_BYTES, VECTORS = SHAPE.rows, SHAPE.vector_bytes, SHAPE.vectors
COLUMNS = VECTOR_BYTES // 4 * VECTORS  # of float32 and bfloat16
COLUMNS_64 = VECTOR_BYTES // 8 * VECTORS  # of float64
AHEAD = 16  # steps of k
LINE = 64  # bytes of a cache line
PAIR_ROWS = TILE_ROWS if SHAPE.has_matrix_unit else ROWS  # of bfloat16
SCALE_ROWS = 4  # of int8 in the bytes of one float32
LEFT: dict[Any, Any] = {types.int8: types.float32, types.uint16: types.float32}  # of A beside a narrow B, else as B
if SHAPE.has_matrix_unit and COLUMNS != TILE_COLUMNS:
    raise ImportError(f"a panel has {COLUMNS} columns; expected the {TILE_COLUMNS} of the matrix unit")

if SHAPE.has_bf16:
    binding.initialize_native_asmparser()  # LLVM assembles the one instruction that it has no portable name for


class _Kind(NamedTuple):
    """LLVM's types for one element type of B."""

    scalar: ir.Type  # of A
    vector: ir.VectorType  # of it, spread
    stored: ir.VectorType  # of B
    sums: ir.VectorType  # of C
    name: str


def _kind(element: Any) -> _Kind:
    size = 8 if element == types.float64 else 4
    lanes = VECTOR_BYTES // size
    real = ir.DoubleType() if size == 8 else ir.FloatType()
    scalar = ir.IntType(32) if element == types.uint32 else real
    stored = ir.IntType(element.bitwidth) if element in LEFT else scalar
    suffix = f"v{lanes}f{8 * size}"
    vector, of_b, sums = (ir.VectorType(one, lanes) for one in (scalar, stored, real))
    return _Kind(scalar, vector, of_b, sums, suffix)


def _bytes(kind: ir.Type) -> int:
    """Of a number, or of one lane."""
    number = kind.element if isinstance(kind, ir.VectorType) else kind
    return number.width // 8 if isinstance(number, ir.IntType) else 8 if isinstance(number, ir.DoubleType) else 4


class _Tile:
    """Emits the loop of one tile at the builder's position."""

    def __init__(self, builder: Any, kind: _Kind, rows: int) -> None:
        self.builder, self.kind, self.rows = builder, kind, rows
        self.is_scaled = kind.stored.element == ir.IntType(8)
        function = ir.FunctionType(kind.sums, [kind.sums] * 3)
        name = f"llvm.fma.{kind.name}"
        self.fma = builder.module.globals.get(name) or ir.Function(builder.module, function, name)

    def address(self, base: Any, index: Any, kind: ir.Type) -> Any:
        """Pointer to element `index` of this kind after the integer address `base`."""
        offset = self.builder.mul(index, ir.IntType(64)(_bytes(kind)))
        return self.builder.inttoptr(self.builder.add(base, offset), kind.as_pointer())

    def load(self, base: Any, index: Any, kind: ir.Type) -> Any:
        value = self.builder.load(self.address(base, index, kind))
        value.align = _bytes(kind)
        return value

    def spread(self, scalar: Any) -> Any:
        """The scalar in every lane."""
        vector, i32 = self.kind.vector, ir.IntType(32)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, i32(0))
        lanes = ir.Constant(ir.VectorType(i32, vector.count), [0] * vector.count)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def multiply_adds(self, a: Any, b: Any, k: Any, sums: list[Any]) -> list[Any]:
        """The sums after step k.

        Pairs of bfloat16 are unpacked one half after the other, which needs no more registers than float32 does; the
        empty instruction keeps LLVM from holding both halves at once.
        """
        if self.kind.stored != self.kind.vector:
            return self._step(a, b, k, sums, self.fused, lambda value: value, self.widened)
        if self.kind.scalar != ir.IntType(32):
            return self._step(a, b, k, sums, self.fused, lambda value: value)
        if SHAPE.has_bf16:
            return self._step(a, b, k, sums, self.pair_product, lambda value: value)
        sums = self._step(a, b, k, sums, self.fused, self.low_half)
        self.builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)
        return self._step(a, b, k, sums, self.fused, self.high_half)

    def _step(
        self, a: Any, b: Any, k: Any, sums: list[Any], multiply_add: Any, number: Any, number_of_b: Any = None
    ) -> list[Any]:
        """The sums after one product each of what `number` makes of the elements."""
        builder, stored, i64 = self.builder, self.kind.stored, ir.IntType(64)
        size, number_of_b = _bytes(stored), number_of_b or number
        a_row, b_row = builder.mul(k, i64(self.rows)), builder.mul(k, i64(VECTORS * stored.count))
        b_k = [number_of_b(self.load(b, builder.add(b_row, i64(v * stored.count)), stored)) for v in range(VECTORS)]
        if self.rows > 2:  # fewer read B as fast as it comes
            for byte in range(0, VECTORS * stored.count * size, LINE):
                ahead = builder.add(b_row, i64(AHEAD * VECTORS * stored.count + byte // size))
                self.prefetch(self.address(b, ahead, stored.element), False)
        results = []
        for row in range(self.rows):
            a_k = number(self.spread(self.load(a, builder.add(a_row, i64(row)), self.kind.scalar)))
            results += [multiply_add(a_k, b_k[v], sums[row * VECTORS + v]) for v in range(VECTORS)]
        return results

    def pair_product(self, a: Any, b: Any, total: Any) -> Any:
        """total + both products of pairs of bfloat16."""
        function = ir.FunctionType(self.kind.sums, [self.kind.sums, self.kind.vector, self.kind.vector])
        return self.builder.asm(function, "vdpbf16ps $3, $2, $0", "=v,0,v,v", [total, a, b], False)

    def fused(self, a: Any, b: Any, total: Any) -> Any:
        """total + a * b in one rounding where the processor has it; a call of libm would be far slower than two."""
        if SHAPE.has_fma:
            return self.builder.call(self.fma, [a, b, total])
        return self.builder.fadd(total, self.builder.fmul(a, b))

    def low_half(self, pair: Any) -> Any:
        bits = self.builder.shl(pair, ir.Constant(self.kind.vector, [16] * self.kind.vector.count))
        return self.builder.bitcast(bits, self.kind.sums)

    def high_half(self, pair: Any) -> Any:
        bits = self.builder.and_(pair, ir.Constant(self.kind.vector, [0xFFFF0000] * self.kind.vector.count))
        return self.builder.bitcast(bits, self.kind.sums)

    def widened(self, narrow: Any) -> Any:
        """Numbers of a narrow B as float32."""
        if self.is_scaled:
            return from_int8(self.builder, narrow, self.kind.sums)
        return from_half(self.builder, narrow, self.kind.sums, SHAPE.has_half)

    def emit(self, a: Any, b: Any, c: Any, ldc: Any, depth: Any, accumulate: Any) -> None:
        """a, b, c are addresses; ldc is the distance of C's rows in elements; starts from zero or from C."""
        builder, kind, i64 = self.builder, self.kind, ir.IntType(64)
        lanes = kind.sums.count
        tile = [(row, vector) for row in range(self.rows) for vector in range(VECTORS)]
        places = [builder.add(builder.mul(ldc, i64(row)), i64(vector * lanes)) for row, vector in tile]
        for place in places:
            self.prefetch(self.address(c, place, kind.sums), True)
        start = [ir.Constant(kind.sums, None)] * len(places)
        if not self.is_scaled:  # C would be, too
            start = self.zero_or(accumulate, c, places)
        entry = builder.block

        loop, done = builder.append_basic_block("depth"), builder.append_basic_block("store")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = self._phi(i64, (i64(0), entry))
        sums = [self._phi(kind.sums, (value, entry)) for value in start]
        results = self.multiply_adds(a, b, k, sums)
        for phi, value in zip(sums, results, strict=True):
            phi.add_incoming(value, loop)
        k_next = builder.add(k, i64(1))
        k.add_incoming(k_next, loop)
        builder.cbranch(builder.icmp_signed("<", k_next, depth), loop, done)

        builder.position_at_end(done)
        if self.is_scaled:
            first = self.zero_or(accumulate, c, places)
            scales = [self.load(b, i64((vector - VECTORS) * lanes), kind.sums) for vector in range(VECTORS)]
            results = [
                self.fused(scales[number % VECTORS], value, before)
                for number, (value, before) in enumerate(zip(results, first, strict=True))
            ]
        for place, value in zip(places, results, strict=True):
            builder.store(value, self.address(c, place, kind.sums)).align = _bytes(kind.sums)

    def zero_or(self, accumulate: Any, c: Any, places: list[Any]) -> list[Any]:
        """What sums are added to: zero, or C."""
        sums, before = self.kind.sums, self.builder.block
        with self.builder.if_then(accumulate):
            loaded = [self.load(c, place, sums) for place in places]
            after = self.builder.block
        return [self._phi(sums, (ir.Constant(sums, None), before), (value, after)) for value in loaded]

    def prefetch(self, pointer: Any, to_write: bool) -> None:
        i32, module, name = ir.IntType(32), self.builder.module, "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), i32, i32, i32])
        function = module.globals.get(name) or ir.Function(module, kind, name)
        place = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        self.builder.call(function, [place, i32(int(to_write)), i32(3), i32(1)])  # 3: into all caches; 1: data

    def _phi(self, kind: ir.Type, *incoming: tuple[Any, Any]) -> Any:
        phi = self.builder.phi(kind)
        for value, block in incoming:
            phi.add_incoming(value, block)
        return phi


def _make_tile(rows: int) -> Any:
    """The intrinsic for `rows` rows; flat arrays a, b, c with the index where each panel or tile starts."""

    @intrinsic
    def tile_of_rows(
        typing_context: Any, a: Any, a_at: Any, b: Any, b_at: Any, c: Any, c_at: Any, ldc: Any, depth: Any, more: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            emitter = _Tile(builder, _kind(b.dtype), rows)

            def start(position: int) -> Any:
                kind = signature.args[position]
                array = context.make_array(kind)(context, builder, args[position])
                base = builder.ptrtoint(array.data, ir.IntType(64))
                return builder.add(base, builder.mul(args[position + 1], ir.IntType(64)(kind.dtype.bitwidth // 8)))

            emitter.emit(start(0), start(2), start(4), args[6], args[7], args[8])
            return context.get_dummy_value()

        return types.void(a, types.intp, b, types.intp, c, types.intp, types.intp, types.intp, types.boolean), codegen

    return tile_of_rows


def tile_in_numpy(
    a: np.ndarray, a_at: int, b: np.ndarray, b_at: int, c: np.ndarray, c_at: int, ldc: int, depth: int, more: bool,
    rows: int,
) -> None:  # fmt: skip
    """What `tile` does, for runs without the compiler and as the oracle of its tests."""
    columns = TILE_COLUMNS if rows > ROWS else COLUMNS_64 if a.dtype == np.float64 else COLUMNS
    a_panel = a[a_at : a_at + depth * rows]
    a_panel = rows_of_blocks(a_panel, depth).T if rows > ROWS else a_panel.reshape(depth, rows)
    b_panel: Any = b[b_at : b_at + depth * columns].reshape(depth, columns)
    scale: Any = 1
    if b.dtype == np.int8:
        scale = b[b_at - SCALE_ROWS * columns : b_at].view(np.float32)
    elif b.dtype == np.uint16:
        b_panel = b_panel.view(np.float16).astype(np.float32)
    if a.dtype == np.uint32:
        a_panel, b_panel = (
            np.stack([panel << 16, panel & 0xFFFF0000], 1).astype(np.uint32).view(np.float32).reshape(2 * depth, -1)
            for panel in (a_panel, b_panel)
        )
    for row in range(rows):
        target = c[c_at + row * ldc : c_at + row * ldc + columns]
        target[:] = (target if more else 0) + scale * (a_panel[:, row] @ b_panel)


if config.DISABLE_JIT:
    tile = tile_in_numpy
else:
    _1, _2, _3, _4, _5, _6, _7, _8 = (_make_tile(min(rows, ROWS)) for rows in range(1, 9))

    @jit
    def tile(
        a: np.ndarray, a_at: int, b: np.ndarray, b_at: int, c: np.ndarray, c_at: int, ldc: int, depth: int, more: bool,
        rows: int,
    ) -> None:  # fmt: skip
        """One tile: c (+)= a panel of `rows` rows times a panel of COLUMNS columns.

        Args:
            a, b, c: flat arrays, a and b of one element type or as in LEFT, c of its sums. For TILE_ROWS rows and more
                a's panels are those of the matrix unit, which must be configured.
            a_at, b_at, c_at: where the panels and the tile start.
            ldc: distance of the tile's rows in c.
            depth: elements (bfloat16: pairs) along k, at least 1; for the matrix unit a multiple of BLOCK.
            more: add to what c holds instead of overwriting it.
            rows: 1 to ROWS, or TILE_ROWS, or twice as many.
        """
        if rows > TILE_ROWS:
            matrix_tile_of_two(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows > ROWS:
            matrix_tile(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows == 8:
            _8(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows == 7:
            _7(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows == 6:
            _6(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows == 5:
            _5(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows == 4:
            _4(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows == 3:
            _3(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        elif rows == 2:
            _2(a, a_at, b, b_at, c, c_at, ldc, depth, more)
        else:
            _1(a, a_at, b, b_at, c, c_at, ldc, depth, more)
