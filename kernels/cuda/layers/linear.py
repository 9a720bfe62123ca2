"""Matrix products and the linear layer by cuBLAS. See `kernels.reference.linear`."""

from typing import Any

import numpy as np

from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.arrays import column_sums, rows_of
from kernels.cuda.runtime.cublas import gemm


def matmul(a: Any, b: Any) -> Any:
    """See `kernels.matmul`."""
    out = np.empty((a.shape[0], b.shape[1]), a.dtype, like=a)
    (left, a_turned), (right, b_turned) = _as_it_lies(a), _as_it_lies(b)
    gemm(left, right, out, a_turned, b_turned)
    return out


def _as_it_lies(matrix: Any) -> tuple[Any, bool]:
    """A C-contiguous matrix, and whether it is the transposed one."""
    if matrix.flags.c_contiguous:
        return matrix, False
    return (matrix.T, True) if matrix.flags.f_contiguous else (matrix.copy(order="C"), False)


def linear_forward(x: Any, weight: Any, bias: Any, bf16: bool = False) -> Any:
    """See `kernels.linear_forward`."""
    y = np.empty((len(x), len(weight)), x.dtype, like=x) if bias is None else rows_of(bias, len(x))
    if bf16:
        x, weight = to_bf16(x), to_bf16(weight)
    gemm(x, weight, y, transpose_b=True, accumulate=bias is not None)
    return y


def linear_backward(
    dy: Any, x: Any, weight: Any, needs: tuple[bool, bool, bool] = (True, True, True), bf16: bool = False
) -> tuple[Any, Any, Any]:
    """See `kernels.linear_backward`."""
    dx = np.empty(x.shape, x.dtype, like=x) if needs[0] else None
    dweight = np.empty(weight.shape, x.dtype, like=x) if needs[1] else None
    dbias = column_sums(dy) if needs[2] else None
    if bf16 and (needs[0] or needs[1]):
        dy = to_bf16(dy)
    if dx is not None:
        gemm(dy, to_bf16(weight) if bf16 else weight, dx)
    if dweight is not None:
        gemm(dy, to_bf16(x) if bf16 else x, dweight, transpose_a=True)
    return dx, dweight, dbias
