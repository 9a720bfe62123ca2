"""Numbers of a narrow B become float32 in the registers of a tile: a few instructions, which wait for no sum."""

from typing import Any

from llvmlite import ir

WORD = ir.IntType(32)


def from_int8(builder: Any, narrow: Any, sums: ir.VectorType) -> Any:
    """A vector of int8 as `sums`, of float32."""
    return builder.sitofp(builder.sext(narrow, ir.VectorType(WORD, sums.count)), sums)


def from_half(builder: Any, narrow: Any, sums: ir.VectorType, has_half: bool) -> Any:
    """The bits of a vector of float16 as `sums`, of float32.

    Without an instruction for it, sign, exponent and fraction go to their places, and a product with a power of two
    makes up for the other bias of exponents, those of subnormal numbers too. What is then too large for float16 is an
    infinity or a NaN.
    """
    if has_half:
        return builder.fpext(builder.bitcast(narrow, ir.VectorType(ir.HalfType(), sums.count)), sums)
    word = ir.VectorType(WORD, sums.count)

    def constant(kind: Any, value: Any) -> Any:
        return ir.Constant(kind, [value] * sums.count)

    bits = builder.shl(builder.sext(narrow, word), constant(word, 13))
    size = builder.bitcast(builder.and_(bits, constant(word, 0x0FFFE000)), sums)
    size = builder.fmul(size, constant(sums, 2.0**112))
    is_finite, size = builder.fcmp_ordered("<", size, constant(sums, 65536.0)), builder.bitcast(size, word)
    size = builder.select(is_finite, size, builder.or_(size, constant(word, 0x7F800000)))
    return builder.bitcast(builder.or_(size, builder.and_(bits, constant(word, 0x80000000))), sums)
