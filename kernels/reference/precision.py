"""float32 numbers as bfloat16 holds them: 8 bits of exponent, 8 of precision."""

import numpy as np


def round_bf16(x: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest bfloat16, ties to even, as float32; a NaN stays one."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


def product(a: np.ndarray, b: np.ndarray, bf16: bool) -> np.ndarray:
    """a @ b; with bf16 both float32 operands are rounded first, and sums are in float32. float64 is never rounded."""
    if bf16 and a.dtype == np.float32:
        a, b = round_bf16(a), round_bf16(b)
    return a @ b
