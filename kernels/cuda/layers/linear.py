"""Matrix products and the linear layer by cuBLAS. See `kernels.reference.linear`."""

from typing import Any

import numpy as np

from kernels.contracts.backend import contiguous
from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.arrays import column_sums, rows_of
from kernels.cuda.runtime.cublas import gemm, gemm_batches


def matmul(a: Any, b: Any, bf16: bool = False) -> Any:
    """See `kernels.matmul`."""
    return bmm(a[None], b[None], bf16)[0]


def bmm(a: Any, b: Any, bf16: bool = False) -> Any:
    """See `kernels.bmm`."""
    out = np.empty((*a.shape[:2], b.shape[2]), np.float32, like=a)
    (left, a_turned), (right, b_turned) = _as_it_lies(a), _as_it_lies(b)
    if bf16:
        left, right = to_bf16(contiguous(left)), to_bf16(contiguous(right))
    gemm_batches(left, right, out, a_turned, b_turned)
    return out


def _as_it_lies(batch: Any) -> tuple[Any, bool]:
    """A batch (B, R, C) of matrices whose rows are pieces of memory, and whether they are the transposed ones."""
    (_, rows, columns), (_, row, column), size = batch.shape, batch.strides, batch.itemsize
    if column == size and row >= columns * size:
        return batch, False
    return (batch.swapaxes(1, 2), True) if row == size and column >= rows * size else (batch.copy(order="C"), False)


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
