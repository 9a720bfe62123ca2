"""Diagonals of matrices: read, made, summed."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad.function import Context, Function
from minigrad.ops.common import normalize_dim
from minigrad.ops.op import op
from minigrad.ops.op_case import Dims, ErrorCase, Rng, Sample, normal
from minigrad.ops.reduce import sum as sum_
from minigrad.tensor import Tensor

Array = np.ndarray


def _place(size: int, offset: int, x: Array) -> tuple[Array, Array]:
    """Rows and columns of ``size`` elements of a diagonal, where ``x`` lies."""
    steps = kernels.like(np.arange(size), x)
    return steps + max(-offset, 0), steps + max(offset, 0)


class Diagonal(Function):
    """y_i = x_(i, i + offset) in two dims, which become one, the last"""

    view = True

    @staticmethod
    def forward(ctx: Context, x: Array, offset: int, dim0: int, dim1: int) -> Array:
        ctx.shape, ctx.offset, ctx.dims = x.shape, offset, (dim0, dim1)
        return x.diagonal(offset, dim0, dim1)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dx = np.zeros(ctx.shape, grad.dtype, like=grad)
        rows, columns = _place(grad.shape[-1], ctx.offset, grad)
        np.moveaxis(dx, ctx.dims, (-2, -1))[..., rows, columns] = grad
        return dx, None, None, None

    @staticmethod
    def put_back(base: Tensor, changed: Tensor, *constants: Any) -> None:
        raise RuntimeError("in-place assignment to a diagonal: assign to x[i, i] with i = torch.arange(n) instead")


class DiagonalMatrix(Function):
    """a square matrix with the vector x on a diagonal, zeros elsewhere"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, offset: int) -> Array:
        ctx.offset = offset
        size = len(x) + abs(offset)
        y = np.zeros((size, size), x.dtype, like=x)
        y[_place(len(x), offset, x)] = x
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return grad.diagonal(ctx.offset).copy(), None


def _of_two_dims(rng: Rng, dims: Dims) -> Sample:
    first, second = (int(d) for d in rng.permutation(3)[:2])
    return Sample((normal(rng, dims),), {"offset": int(rng.integers(-2, 3)), "dim1": first, "dim2": second})


def _oracle(x: Array, offset: int, dim1: int, dim2: int) -> Array:
    moved = np.moveaxis(x, (dim1, dim2), (0, 1))
    picked = [moved[i, i + offset] for i in range(moved.shape[0]) if 0 <= i + offset < moved.shape[1]]
    return np.stack(picked, -1) if picked else np.zeros((*moved.shape[2:], 0), x.dtype)


def _matrix_error(name: str) -> ErrorCase:
    vector = Tensor(np.zeros(2))
    call = {"trace": lambda: trace(vector), "diagonal": lambda: diagonal(vector, dim1=0, dim2=0)}[name]
    text = {"trace": "the tensor has 1 dimensions; expected 2", "diagonal": "dim1 and dim2 are both 0"}[name]
    return ErrorCase(call, RuntimeError, f"{name}: {text}")


@op(oracle=_oracle, sample=_of_two_dims, errors=(_matrix_error("diagonal"),))
def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements at (i, i + offset) of dimensions ``dim1`` and ``dim2``, as the last dimension; a read-only view."""
    first, second = normalize_dim(dim1, x.ndim, "diagonal", "dim1"), normalize_dim(dim2, x.ndim, "diagonal", "dim2")
    if first == second:
        raise RuntimeError(f"diagonal: dim1 and dim2 are both {first}; expected two dimensions")
    return Diagonal.apply(x, int(offset), first, second)


def _vector_or_matrix(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, dims[: int(rng.integers(1, 3))]),), {"diagonal": int(rng.integers(-2, 3))})


@op(oracle=lambda x, diagonal: np.diag(x, diagonal), sample=_vector_or_matrix)
def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """Of a vector the square matrix that has it on a diagonal; of a matrix that diagonal."""
    if x.ndim == 1:
        return DiagonalMatrix.apply(x, int(diagonal))
    if x.ndim != 2:
        raise RuntimeError(f"diag: the tensor has {x.ndim} dimensions; expected 1 or 2")
    return Diagonal.apply(x, int(diagonal), 0, 1)


@op(oracle=np.trace, sample=lambda rng, dims: Sample((normal(rng, dims[:2]),)), errors=(_matrix_error("trace"),))
def trace(x: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if x.ndim != 2:
        raise RuntimeError(f"trace: the tensor has {x.ndim} dimensions; expected 2")
    return sum_(Diagonal.apply(x, 0, 0, 1))
