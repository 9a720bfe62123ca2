"""The tile of a processor with a matrix unit: Intel's AMX (Sapphire Rapids, 2023, and later), for pairs of bfloat16.

    C[r, :] (+)= sum over pairs p of A[r, p] . B[p, :]        r < TILE_ROWS, columns of C: TILE_COLUMNS

The unit has eight registers of 16 rows of 64 bytes. One of A holds BLOCK pairs of 16 rows, one of B 16 columns of BLOCK
pairs, one of C 16 x 16 sums; `tdpbf16ps` adds the product of the first two to the third in 16 cycles, sixteen times the
work of `vdpbf16ps` on 64 bytes, and is done after 52. So a tile has four registers of C, two beside two others: enough
products that do not wait for each other, and each load of A or B is good for two. It is as wide as a panel of B, whose
layout is that of all processors but for its end, filled up to a whole block with zeros. A panel of A is
`[block of pairs][TILE_ROWS][BLOCK]`; a tile takes two of them, or one where few rows are left.

Order of sums. The first numbers of a block's pairs are added up from front to back, and so are the second ones; then
both together are added to C (Intel, "Architecture Instruction Set Extensions Programming Reference", TDPBF16PS). These
are not the bits of `vdpbf16ps`, but they too depend on nothing but the row. Subnormal numbers count as zero.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.jit import config
from kernels.cpu.processor import SHAPE

TILE_ROWS, TILE_COLUMNS, BLOCK = 16, 32, 16
PANEL_BYTES = 4 * TILE_COLUMNS  # of one pair of B, for all columns
REGISTER_BYTES = 64 * 16

I8, I64, POINTER = ir.IntType(8), ir.IntType(64), ir.IntType(8).as_pointer()
C, A, B = ((0, 1), (2, 3)), (4, 5), (6, 7)  # the registers: C's by the rows of A, then by the columns of B


class _Unit:
    """Emits instructions of the unit at the builder's position; addresses are integers."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def call(self, name: str, *arguments: Any) -> None:
        """LLVM's function for an instruction; a register is an int, anything else a value."""
        values = [I8(argument) if isinstance(argument, int) else argument for argument in arguments]
        module, name = self.builder.module, f"llvm.x86.{name}"
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        self.builder.call(module.globals.get(name) or ir.Function(module, kind, name), values)

    def load(self, register: int, address: Any, stride: Any) -> None:
        """Rows that lie `stride` bytes apart."""
        self.call("tileloadd64", register, self.builder.inttoptr(address, POINTER), stride)

    def plus(self, address: Any, bytes_: Any) -> Any:
        return self.builder.add(address, bytes_ if isinstance(bytes_, ir.Value) else I64(bytes_))

    def configure(self) -> None:
        """Registers of whole size, which become zero."""
        words = [1, 0, *[0x0040_0040_0040_0040] * 2, 0, 0, 0x1010_1010_1010_1010, 0]  # palette; bytes of a row; rows
        with self.builder.goto_entry_block():
            place = self.builder.alloca(ir.ArrayType(I64, 8))
        self.builder.store(ir.Constant(ir.ArrayType(I64, 8), [I64(word) for word in words]), place)
        self.call("ldtilecfg", self.builder.bitcast(place, POINTER))

    def tile(self, a: Any, b: Any, c: Any, c_stride: Any, depth: Any, more: Any, heights: int) -> None:
        """Of one panel of A or two; `depth` is a multiple of BLOCK, at least that."""
        builder, places = self.builder, self.places(c, c_stride, heights)
        with builder.if_else(more) as (add, overwrite):
            with add:
                for register, place in places:
                    self.load(register, place, c_stride)
            with overwrite:
                for register, _ in places:
                    self.call("tilezero", register)
        before, loop, done = builder.block, builder.append_basic_block("blocks"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        pair = builder.phi(I64)
        pair.add_incoming(I64(0), before)
        a_panels = [self.plus(a, builder.mul(depth, I64(4 * TILE_ROWS * height))) for height in range(heights)]
        self.multiply(
            [self.plus(panel, builder.mul(pair, I64(4 * TILE_ROWS))) for panel in a_panels],
            self.plus(b, builder.mul(pair, I64(PANEL_BYTES))),
        )
        following = self.plus(pair, BLOCK)
        pair.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)
        builder.position_at_end(done)
        for register, place in places:
            self.call("tilestored64", register, builder.inttoptr(place, POINTER), c_stride)

    def places(self, c: Any, c_stride: Any, heights: int) -> list[tuple[int, Any]]:
        """The registers of C, and where they come from and go to."""
        rows = [self.plus(c, self.builder.mul(c_stride, I64(TILE_ROWS * height))) for height in range(heights)]
        return [(C[height][side], self.plus(rows[height], 64 * side)) for height in range(heights) for side in range(2)]

    def multiply(self, a: list[Any], b: Any) -> None:
        """C += a block of each panel of A times one of B."""
        for side in range(2):
            self.load(B[side], self.plus(b, 64 * side), I64(PANEL_BYTES))
        for height, panel in enumerate(a):
            self.load(A[height], panel, I64(4 * BLOCK))
            for side in range(2):
                self.call("tdpbf16ps", C[height][side], A[height], B[side])


def _make_matrix_tile(heights: int) -> Any:
    """The intrinsic for `heights` panels of A; see `tiles.tile`.

    For arrays that are not of pairs nothing is emitted, as none may get there.
    """

    @intrinsic
    def tile_of_panels(
        typing_context: Any, a: Any, a_at: Any, b: Any, b_at: Any, c: Any, c_at: Any, ldc: Any, depth: Any, more: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if SHAPE.has_matrix_unit and a.dtype == types.uint32:

                def start(position: int) -> Any:
                    array = context.make_array(signature.args[position])(context, builder, args[position])
                    base = builder.ptrtoint(array.data, I64)
                    return builder.add(base, builder.mul(args[position + 1], I64(4)))

                c_stride = builder.mul(args[6], I64(4))
                _Unit(builder).tile(start(0), start(2), start(4), c_stride, args[7], args[8], heights)
            return context.get_dummy_value()

        i = types.intp
        return types.void(a, i, b, i, c, i, i, i, types.boolean), codegen

    return tile_of_panels


@intrinsic
def _configure(typing_context: Any) -> Any:
    """Make the unit ready for tiles; until `release` nothing else of it may be used."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if SHAPE.has_matrix_unit:
            _Unit(builder).configure()
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _release(typing_context: Any) -> Any:
    """Leave the registers empty, so that a change of threads has nothing of them to keep."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if SHAPE.has_matrix_unit:
            _Unit(builder).call("tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


def _nothing() -> None:
    """What both are without the compiler."""


matrix_tile: Any = _make_matrix_tile(1)
matrix_tile_of_two: Any = _make_matrix_tile(2)
configure: Any = _nothing if config.DISABLE_JIT else _configure
release: Any = _nothing if config.DISABLE_JIT else _release


def rows_of_blocks(panels: np.ndarray, depth: int) -> np.ndarray:
    """(rows, depth) of panels of A."""
    return panels.reshape(-1, depth // BLOCK, TILE_ROWS, BLOCK).transpose(0, 2, 1, 3).reshape(-1, depth)
