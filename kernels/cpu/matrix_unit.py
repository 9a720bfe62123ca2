"""The tile of a processor with a matrix unit: Intel's AMX (Sapphire Rapids, 2023, and later), for pairs of bfloat16.

    C[r, :] (+)= sum over pairs p of A[r, p] . B[p, :]        r < TILE_ROWS, columns of C: TILE_COLUMNS

The unit has eight registers of 16 rows of 64 bytes. One of A holds BLOCK pairs of 16 rows, one of B 16 columns of BLOCK
pairs, one of C 16 x 16 sums; `tdpbf16ps` adds the product of the first two to the third in 16 cycles, sixteen times the
work of `vdpbf16ps` on 64 bytes. Two registers of C lie side by side, so a tile is as wide as a panel of B, whose layout
is that of all processors. A panel of A is `[block of pairs][TILE_ROWS][BLOCK]`, the last block as narrow as its pairs;
rows that do not exist are zero.

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
C_LEFT, C_RIGHT, A, B_LEFT, B_RIGHT, LAST_A, LAST_B_LEFT, LAST_B_RIGHT = range(8)  # the registers


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

    def configure(self, depth: Any) -> None:
        """Shapes of the registers: whole ones, and those of a last block of `depth` pairs. They become zero."""
        builder = self.builder
        last = self.pairs_of_last_block(depth)
        words = [I64(0)] * 8  # palette; bytes of a row, 16 bits for each register; rows, 8 bits for each
        words[0] = I64(1)
        words[2] = I64(0x0040_0040_0040_0040)
        words[3] = builder.or_(I64(0x0040_0040_0000_0040), builder.shl(last, I64(16 + 2)))
        rows = builder.or_(builder.shl(last, I64(48)), builder.shl(last, I64(56)))
        words[6] = builder.or_(I64(0x0000_1010_1010_1010), rows)
        with builder.goto_entry_block():
            place = builder.alloca(ir.ArrayType(I64, 8))
        for index, word in enumerate(words):
            builder.store(word, builder.gep(place, [I64(0), I64(index)]))
        self.call("ldtilecfg", builder.bitcast(place, POINTER))

    def pairs_of_last_block(self, depth: Any) -> Any:
        """1 to BLOCK."""
        return self.plus(self.builder.and_(self.builder.sub(depth, I64(1)), I64(BLOCK - 1)), 1)

    def tile(self, a: Any, b: Any, c: Any, c_stride: Any, depth: Any, more: Any) -> None:
        """The registers must be configured for this depth, which is at least 1."""
        builder = self.builder
        with builder.if_else(more) as (add, overwrite):
            with add:
                self.load(C_LEFT, c, c_stride)
                self.load(C_RIGHT, self.plus(c, 64), c_stride)
            with overwrite:
                self.call("tilezero", C_LEFT)
                self.call("tilezero", C_RIGHT)
        before = builder.block
        blocks = builder.udiv(builder.sub(depth, I64(1)), I64(BLOCK))  # before the last one
        loop, last = builder.append_basic_block("blocks"), builder.append_basic_block("last")
        builder.cbranch(builder.icmp_signed(">", blocks, I64(0)), loop, last)
        builder.position_at_end(loop)
        block = builder.phi(I64)
        block.add_incoming(I64(0), before)
        places = (self.plus(a, builder.mul(block, I64(REGISTER_BYTES))), self.plus(b, self.b_bytes(block)))
        self.multiply((A, B_LEFT, B_RIGHT), *places, I64(4 * BLOCK))
        following = self.plus(block, 1)
        block.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, blocks), loop, last)
        builder.position_at_end(last)
        places = (self.plus(a, builder.mul(blocks, I64(REGISTER_BYTES))), self.plus(b, self.b_bytes(blocks)))
        a_stride = builder.mul(self.pairs_of_last_block(depth), I64(4))
        self.multiply((LAST_A, LAST_B_LEFT, LAST_B_RIGHT), *places, a_stride)
        self.call("tilestored64", C_LEFT, builder.inttoptr(c, POINTER), c_stride)
        self.call("tilestored64", C_RIGHT, builder.inttoptr(self.plus(c, 64), POINTER), c_stride)

    def b_bytes(self, blocks: Any) -> Any:
        return self.builder.mul(blocks, I64(BLOCK * PANEL_BYTES))

    def multiply(self, registers: tuple[int, int, int], a: Any, b: Any, a_stride: Any) -> None:
        """Both halves of C += a block of A times one of B."""
        of_a, of_left, of_right = registers
        self.load(of_a, a, a_stride)
        self.load(of_left, b, I64(PANEL_BYTES))
        self.load(of_right, self.plus(b, 64), I64(PANEL_BYTES))
        self.call("tdpbf16ps", C_LEFT, of_a, of_left)
        self.call("tdpbf16ps", C_RIGHT, of_a, of_right)


@intrinsic
def _matrix_tile(
    typing_context: Any, a: Any, a_at: Any, b: Any, b_at: Any, c: Any, c_at: Any, ldc: Any, depth: Any, more: Any
) -> Any:  # fmt: skip
    """As `tiles.tile` of TILE_ROWS rows, for arrays of pairs; for others nothing is emitted, as none may get there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if SHAPE.has_matrix_unit and a.dtype == types.uint32:

            def start(position: int) -> Any:
                array = context.make_array(signature.args[position])(context, builder, args[position])
                base = builder.ptrtoint(array.data, I64)
                return builder.add(base, builder.mul(args[position + 1], I64(4)))

            _Unit(builder).tile(start(0), start(2), start(4), builder.mul(args[6], I64(4)), args[7], args[8])
        return context.get_dummy_value()

    return types.void(a, types.intp, b, types.intp, c, types.intp, types.intp, types.intp, types.boolean), codegen


@intrinsic
def _configure(typing_context: Any, depth: Any) -> Any:
    """Make the unit ready for tiles of so many pairs, at least 1; until `release` nothing else of it may be used."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if SHAPE.has_matrix_unit:
            _Unit(builder).configure(args[0])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def _release(typing_context: Any) -> Any:
    """Leave the registers empty, so that a change of threads has nothing of them to keep."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if SHAPE.has_matrix_unit:
            _Unit(builder).call("tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


def _nothing(*depth: int) -> None:
    """What both are without the compiler."""


matrix_tile: Any = _matrix_tile
configure: Any = _nothing if config.DISABLE_JIT else _configure
release: Any = _nothing if config.DISABLE_JIT else _release


def rows_of_blocks(panel: np.ndarray, depth: int) -> np.ndarray:
    """(TILE_ROWS, depth) of a panel of A."""
    whole = depth // BLOCK * BLOCK
    blocks = panel[: whole * TILE_ROWS].reshape(-1, TILE_ROWS, BLOCK).transpose(1, 0, 2).reshape(TILE_ROWS, whole)
    last = panel[whole * TILE_ROWS : depth * TILE_ROWS].reshape(TILE_ROWS, depth - whole)
    return np.concatenate([blocks, last], axis=1)
