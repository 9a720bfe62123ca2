"""Matrix products and the linear layer on the packed product. See `kernels.reference.linear` for the equations.

No product here wakes the threads of a BLAS, which would spin next to those of the kernels. A product of a few rows is
bound by reading the weight once; packing it would take several times as long, so there each element is a dot product.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.batches import multiply_batches
from kernels.cpu.chunks import SERIAL_COPY, rows_per_chunk, run_chunks
from kernels.cpu.gemm import Prepacked, multiply, prepack
from kernels.cpu.jit import jit, jit_sum
from kernels.cpu.once import multiply_once
from kernels.cpu.panels import to_bf16
from kernels.cpu.sums import column_sums, dot
from kernels.threads import chunks, run

FEW_ROWS = 4  # with bfloat16, where a dot product rounds as it goes, half of them
DOT_WORK = 1 << 18  # multiply-adds of a task of dot products


def product(a: np.ndarray, transposed: bool, b: np.ndarray, b_transposed: bool, bf16: bool) -> np.ndarray:
    """A B as a new array; a is A or, if `transposed`, its transpose, and so is b."""
    out = np.empty((a.shape[1 if transposed else 0], b.shape[0 if b_transposed else 1]), a.dtype)
    return multiply_once(a, transposed, b, b_transposed, out, bf16)


def _stored(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """The matrix as it lies in memory, and whether that is its transpose; any other layout is copied."""
    if not matrix.flags.c_contiguous and matrix.T.flags.c_contiguous:
        return matrix.T, True
    return np.ascontiguousarray(matrix), False


def matmul(a: np.ndarray, b: np.ndarray, bf16: bool = False) -> np.ndarray:
    """See `kernels.matmul`."""
    return product(*_stored(a), *_stored(b), bf16)


def bmm(a: np.ndarray, b: np.ndarray, bf16: bool = False) -> np.ndarray:
    """See `kernels.bmm`."""
    out = np.empty((*a.shape[:2], b.shape[2]), a.dtype)
    multiply_batches(a, b, bf16, out)
    return out


def linear_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> np.ndarray:
    """See `kernels.linear_forward`."""
    rounded = bf16 and x.dtype == np.float32
    if 0 < len(x) <= (FEW_ROWS // 2 if rounded else FEW_ROWS):
        y = _dot_products(x, weight, rounded)
    elif len(weight) == 1 and not rounded:  # a score for each row: a panel would be as good as empty
        y = _dot_products(weight, x, rounded).reshape(len(x), 1)
    else:
        y = product(x, False, weight, True, bf16)
    return y if bias is None else _with_bias(y, bias)


class LinearWeights(NamedTuple):
    """A layer's weights, the matrix in panels."""

    matrix: Prepacked
    bias: np.ndarray  # (O,)

    @property
    def input_size(self) -> int:
        return self.matrix.depth


def prepack_linear(weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> LinearWeights:
    """See `kernels.prepack_linear`."""
    return LinearWeights(
        prepack(weight, True, bf16), np.zeros(len(weight), weight.dtype) if bias is None else bias.copy()
    )


def linear_prepacked(x: np.ndarray, weights: LinearWeights) -> np.ndarray:
    """See `kernels.linear_prepacked`."""
    y = np.empty((len(x), weights.matrix.columns), x.dtype)
    return _with_bias(multiply(x, False, weights.matrix, y), weights.bias)


def linear_backward(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    needs: tuple[bool, bool, bool] = (True, True, True),
    bf16: bool = False,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """See `kernels.linear_backward`."""
    dx = product(dy, False, weight, False, bf16) if needs[0] else None  # y = x W^T + b
    dweight = product(dy, True, x, False, bf16) if needs[1] else None  # y = x W^T + b
    dbias = column_sums(dy) if needs[2] else None  # y = x W^T + b
    return dx, dweight, dbias


def _with_bias(y: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y (M, O) + bias (O,), in the memory of y."""
    if y.size < SERIAL_COPY:
        _add_bias(y, bias, 0, len(y))
    else:
        run_chunks(_add_bias, len(y), rows_per_chunk(y.shape[1]), y, bias)
    return y


@jit
def _add_bias(y: Any, bias: Any, start: int, stop: int) -> None:
    """y[r] += bias for rows start .. stop - 1."""
    for r in range(start, stop):
        row = y[r]
        for j in range(row.shape[0]):
            row[j] += bias[j]


def _dot_products(x: np.ndarray, weight: np.ndarray, rounded: bool) -> np.ndarray:
    """x W^T, every element a dot product of two rows, `rounded` to bfloat16 or not."""
    y = np.empty((len(x), len(weight)), x.dtype)
    parts = list(chunks(len(weight), max(1, DOT_WORK // max(x.size, 1))))
    run(lambda part: _dot_rows(x, weight, rounded, *parts[part], y), len(parts))
    return y


@jit
def _dot_rows(x: Any, weight: Any, rounded: bool, start: int, stop: int, y: Any) -> None:
    """Columns start .. stop - 1 of y."""
    for column in range(start, stop):
        for row in range(x.shape[0]):
            y[row, column] = _rounded_dot(x[row], weight[column]) if rounded else dot(x[row], weight[column])


@jit_sum
def _rounded_dot(a: Any, b: Any) -> Any:
    """The dot product of both rounded to bfloat16, summed in their dtype."""
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += a.dtype.type(_round(a[k]) * _round(b[k]))
    return total


@jit
def _round(x: Any) -> Any:
    """A number rounded to bfloat16, as float32."""
    return np.uint32(to_bf16(np.float32(x)) << np.uint32(16)).view(np.float32)
