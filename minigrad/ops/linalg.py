"""Matrix products. Those of floating numbers are the kernels', those of integers NumPy's."""

from __future__ import annotations

import math

import numpy as np

import kernels
from minigrad.arguments import Operand
from minigrad.autocast import bf16_enabled
from minigrad.broadcasting import broadcast_shape, unbroadcast
from minigrad.deferred import DeferredGradient
from minigrad.function import Context, Function
from minigrad.ops.common import promote
from minigrad.ops.op import op
from minigrad.ops.op_case import Dims, ErrorCase, Rng, Sample, broadcastable, normal
from minigrad.tensor import Tensor

Array = np.ndarray
_KERNEL_DTYPES = frozenset(map(np.dtype, (np.float32, np.float64)))
_ENOUGH_ROWS = 256  # of a product that sums over them: with more of them, adding up results costs little


def as_rows(x: Array) -> Array:
    """All leading dimensions as one; unlike reshape(-1, n) also for n = 0."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _matmul(a: Array, b: Array, bf16: bool) -> Array:
    """a @ b in one dtype; the threads of NumPy's BLAS would be in the way of the kernels'."""
    if a.dtype not in _KERNEL_DTYPES:
        return np.matmul(a, b)
    if b.ndim == 2:  # one matrix for all rows
        return kernels.matmul(as_rows(a), b, bf16).reshape(*a.shape[:-1], b.shape[1])
    if a.ndim == b.ndim == 3 and len(a) == len(b):
        return kernels.bmm(a, b, bf16)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = _batches(a, batch), _batches(b, batch)
    return kernels.bmm(left, right, bf16).reshape(*batch, a.shape[-2], b.shape[-1])


def _batches(x: Array, batch: tuple[int, ...]) -> Array:
    """(..., n, m) -> (B, n, m), repeated where x has fewer matrices than the batch; a copy only if it has to be."""
    matrix = x.shape[-2:]
    return np.broadcast_to(x, (*batch, *matrix)).reshape(math.prod(batch), *matrix)


def _transposed_product(left: Array, right: Array, bf16: bool) -> Array:
    """left^T @ right: the sum over their rows of outer products."""
    return _matmul(left.T, right, bf16)


def _product_of_rows(left: Array, right: Array, bf16: bool) -> DeferredGradient:
    """left^T @ right, with the rows of a weight's other uses if there are any."""
    shape = (left.shape[1], right.shape[1])
    return DeferredGradient(_transposed_product, (left, right), (bf16,), shape, right.dtype, _ENOUGH_ROWS)


class MatMul(Function):
    """y = a @ b for matrices and batches of them (kernels.matmul, kernels.bmm): da = dy @ b^T, db = a^T @ dy"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save_for_backward(a, b)
        ctx.bf16 = bf16_enabled()
        return _matmul(a, b, ctx.bf16)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b = ctx.saved
        da: Array | None = None
        db: Array | DeferredGradient | None = None
        if ctx.needs_input_grad[0]:
            da = unbroadcast(_matmul(grad, b.swapaxes(-1, -2), ctx.bf16), a.shape)
        if ctx.needs_input_grad[1] and b.ndim == 2:  # the sum over the batch is part of the product
            db = _product_of_rows(as_rows(a), as_rows(grad), ctx.bf16)
        elif ctx.needs_input_grad[1]:
            db = unbroadcast(_matmul(a.swapaxes(-1, -2), grad, ctx.bf16), b.shape)
        return da, db


class Linear(Function):
    """y = x @ weight^T + bias on rows (kernels.linear_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, weight: Array, bias: Array | None) -> Array:
        ctx.save_for_backward(x, weight)
        ctx.bf16 = bf16_enabled()
        return kernels.linear_forward(as_rows(x), weight, bias, ctx.bf16).reshape(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        x, weight = ctx.saved
        dy, rows = as_rows(grad), as_rows(x)
        needs = (ctx.needs_input_grad[0], False, ctx.needs_input_grad[2])
        dx, _, dbias = kernels.linear_backward(dy, rows, weight, needs, ctx.bf16)
        dweight = _product_of_rows(dy, rows, ctx.bf16) if ctx.needs_input_grad[1] else None
        return None if dx is None else dx.reshape(x.shape), dweight, dbias


@op()
def matmul(a: Operand, b: Operand) -> Tensor:
    """a @ b: vectors, matrices, and batches of matrices whose leading dimensions broadcast."""
    a, b = promote(a, b)
    if not a.ndim or not b.ndim:
        raise RuntimeError(f"matmul: got shapes {a.shape} and {b.shape}; both need at least 1 dimension")
    rows, columns = a.shape[-1], b.shape[-2] if b.ndim > 1 else b.shape[0]
    if rows != columns:
        raise RuntimeError(f"matmul: shapes {a.shape} and {b.shape} do not fit; {rows} is not {columns}")
    broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
    left, right = a.unsqueeze(0) if a.ndim == 1 else a, b.unsqueeze(1) if b.ndim == 1 else b
    y = MatMul.apply(left, right)
    y = y.squeeze(-2) if a.ndim == 1 else y
    return y.squeeze(-1) if b.ndim == 1 else y


@op()
def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Products of two batches of matrices: (B,n,m) @ (B,m,p) -> (B,n,p)."""
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0]:
        raise RuntimeError(f"bmm: got shapes {a.shape} and {b.shape}; expected (B,n,m) and (B,m,p)")
    return matmul(a, b)


def _product(name: str, a: Tensor, b: Tensor, ndims: tuple[int, int]) -> Tensor:
    """matmul of operands with exactly these numbers of dimensions."""
    if (a.ndim, b.ndim) != ndims:
        raise RuntimeError(f"{name}: got shapes {a.shape} and {b.shape}; expected {ndims[0]} and {ndims[1]} dimensions")
    return matmul(a, b)


@op()
def mm(a: Tensor, b: Tensor) -> Tensor:
    """Product of two matrices: (n,m) @ (m,p) -> (n,p)."""
    return _product("mm", a, b, (2, 2))


@op()
def mv(a: Tensor, b: Tensor) -> Tensor:
    """Product of a matrix and a vector: (n,m) @ (m,) -> (n,)."""
    return _product("mv", a, b, (2, 1))


@op()
def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of two vectors: (n,) . (n,) -> ()."""
    return _product("dot", a, b, (1, 1))


def _vectors(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, dims[:1]), normal(rng, dims[1:2])))


def _refuses_matrix() -> ErrorCase:
    matrix = Tensor(np.zeros((2, 3)))
    return ErrorCase(lambda: outer(matrix, matrix[0]), RuntimeError, "outer: got 2 and 1 dimensions; expected vectors")


@op(oracle=np.outer, sample=_vectors, errors=(_refuses_matrix(),))
def outer(a: Tensor, b: Tensor) -> Tensor:
    """Every product of an element of ``a`` and one of ``b``: (n,) and (m,) -> (n,m)."""
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"outer: got {a.ndim} and {b.ndim} dimensions; expected vectors")
    return a.unsqueeze(1) * b


def _sum_and_product(rng: Rng, dims: Dims) -> Sample:
    n, m, p = dims
    factors = {"beta": 0.5, "alpha": 2.0} if rng.integers(2) else {}
    return Sample((normal(rng, broadcastable(rng, (n, p))), normal(rng, (n, m)), normal(rng, (m, p))), factors)


@op(oracle=lambda x, a, b, beta=1.0, alpha=1.0: beta * x + alpha * (a @ b), sample=_sum_and_product)
def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (mat1 @ mat2): ``x`` broadcasts to (n,p), matrices (n,m) and (m,p)."""
    return x * beta + mm(mat1, mat2) * alpha


@op()
def baddbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (batch1 @ batch2): ``x`` broadcasts to (B,n,p), batches (B,n,m) and (B,m,p)."""
    return x * beta + bmm(batch1, batch2) * alpha


@op(is_method=False)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) @ weight (out, in)^T + bias (out,) -> (..., out)."""
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        raise RuntimeError(
            f"linear: input has shape {x.shape}, weight {weight.shape}; expected (..., in) and (out, in)"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"linear: bias has shape {bias.shape}; expected ({weight.shape[0]},)")
    if x.dtype != weight.dtype or (bias is not None and x.dtype != bias.dtype):
        raise RuntimeError(f"linear: input has dtype {x.dtype}, weight {weight.dtype}; expected one dtype")
    if x.dtype not in _KERNEL_DTYPES:
        y = matmul(x, weight.T)
        return y if bias is None else y + bias
    return Linear.apply(x, weight, bias)
