"""What several entries do with arrays of the device: conversions, rows by index, and small numbers from the host."""

from typing import Any

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.capture import on_device
from kernels.cuda.runtime.launcher import current_device, module


def number(value: Any) -> Any:
    """(1,) or 0-d float32 on the device, of a Python float or of a 0-d array of any floating dtype that lies there."""
    if type(value) is current_device().cupy.ndarray:
        return value.astype(np.float32, copy=False)
    return on_device(np.array([value], np.float32))


def bf16(x: Any) -> Any:
    """float32 -> uint16 that holds bfloat16, to nearest even."""
    out = np.empty(x.shape, np.uint16, like=x)
    module("runtime/convert").f32_to_bf16(geometry.convert(x.size), (x, out, np.uint64(x.size)))
    return out


def float32(x: Any) -> Any:
    """uint16 that holds bfloat16 -> float32."""
    out = np.empty(x.shape, np.float32, like=x)
    module("runtime/convert").bf16_to_f32(geometry.convert(x.size), (x, out, np.uint64(x.size)))
    return out


def gather(x: Any, index: Any) -> Any:
    """Rows of x (., C), float32 or bfloat16 in uint16, by index (R,) int64 on the device, -1 for a row of zeros."""
    out, kernels = np.empty((len(index), x.shape[1]), x.dtype, like=x), module("runtime/convert")
    kernel = kernels.gather_rows_f32 if x.dtype == np.float32 else kernels.gather_rows_bf16
    kernel(geometry.row_blocks(*out.shape), (x, index, out, *map(np.int32, out.shape)))
    return out


def rows_of(row: Any, count: int) -> Any:
    """row (C,) float32 -> (count, C), a copy in each row: what a product is added to."""
    out = np.empty((count, len(row)), np.float32, like=row)
    module("runtime/convert").fill_rows(geometry.row_blocks(*out.shape), (row, out, *map(np.int32, out.shape)))
    return out


def scale(x: Any, factor: Any) -> None:
    """x *= factor, in place; factor a float32 number on the device."""
    module("runtime/convert").scale_by(geometry.convert(x.size), (x, factor, np.uint64(x.size)))


def column_sums(x: Any) -> Any:
    """x (M, C), float32 or bfloat16 in uint16 -> (C,) float32."""
    (M, C), kernels = x.shape, module("runtime/column_sums")
    slices = geometry.column_slices(M, C)
    sums = np.empty((slices, C), np.float32, like=x)
    kernel = kernels.column_sums_f32 if x.dtype == np.float32 else kernels.column_sums_bf16
    kernel(geometry.column_sums(C, slices), (x, sums, *map(np.int32, (M, C, -(-M // slices)))))
    if slices == 1:
        return sums[0]
    out = np.empty(C, np.float32, like=x)
    kernels.column_sums_join(geometry.column_sums_join(C), (sums, out, np.int32(slices), np.int32(C)))
    return out


def int64(ids: Any) -> Any:
    """Integers of any shape and dtype -> flat int64."""
    return ids.astype(np.int64, copy=False).reshape(-1)
