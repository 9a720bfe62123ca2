"""float32 numbers as bfloat16 holds them: 8 bits of exponent, 8 of precision. And what gradients are scaled with."""

from typing import Any

import numpy as np

from kernels.arrays import on_device


def round_bf16(x: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest bfloat16, ties to even, as float32; a NaN stays one."""
    bits = (x if x.flags.c_contiguous else x.copy(order="C")).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


def product(a: np.ndarray, b: np.ndarray, bf16: bool) -> np.ndarray:
    """a @ b; with bf16 both float32 operands are rounded first, and sums are in float32. float64 is never rounded."""
    if bf16 and a.dtype == np.float32:
        a, b = round_bf16(a), round_bf16(b)
    return a @ b


def factor(scale: Any, dtype: np.dtype) -> Any:
    """A number, or a 0-d array on a GPU, rounded to a dtype."""
    return scale.astype(dtype) if on_device(scale) else dtype.type(scale)


def write(target: np.ndarray, values: np.ndarray, scale: Any) -> None:
    """target[...] = values, unless `scale` is a NaN on a GPU: then the target stays as it is."""
    target[...] = np.where(np.isnan(scale), target, values) if on_device(scale) else values
