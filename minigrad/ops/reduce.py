"""Reductions over dimensions, and what is built from them, as running sums. Moments and norms: ``moments``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import as_array
from minigrad.arguments import Operand
from minigrad.dtypes import int64, is_floating
from minigrad.function import Context, Function
from minigrad.ops import elementwise
from minigrad.ops.common import axes, floating, normalize_dim, normalize_dims, tensor_of
from minigrad.ops.op import CASES, OPS, op, refuses_dim
from minigrad.ops.op_case import Dims as Sizes
from minigrad.ops.op_case import OpCase, Rng, Sample, distinct, normal, numpy_reduction, over_all, over_dim, over_dims
from minigrad.tensor import Tensor

Array = np.ndarray
Dims = int | tuple[int, ...] | list[int] | None


def restore(grad: Array, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Array:
    """A reduced gradient with its lost dimensions back as size 1."""
    return grad if keepdim else grad.reshape([1 if axis in dims else n for axis, n in enumerate(shape)])


def reduced(kept: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    """A result whose reduced dimensions are of size 1, without them unless they are kept."""
    return kept if keepdim else kept.reshape([n for axis, n in enumerate(kept.shape) if axis not in dims])


def extreme(x: Array, dims: tuple[int, ...], smallest: bool = False) -> Array:
    """The largest over dims, which stay as size 1. Of a zero-size array CuPy takes no maximum, not even of no row."""
    if x.size:
        return as_array((x.min if smallest else x.max)(axis=axes(dims), keepdims=True))
    return np.zeros([1 if axis in dims else n for axis, n in enumerate(x.shape)], x.dtype, like=x)


class Sum(Function):
    """y = sum of x over dims; every x gets the gradient of its y"""

    @staticmethod
    def forward(ctx: Context, x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
        ctx.shape, ctx.dims, ctx.keepdim = x.shape, dims, keepdim
        return as_array(x.sum(axis=axes(dims), keepdims=keepdim))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return np.broadcast_to(restore(grad, ctx.shape, ctx.dims, ctx.keepdim), ctx.shape), None, None


class Extreme(Function):
    """y = largest (or smallest) x over dims; ties share the gradient equally, and so do NaNs if asked for"""

    @staticmethod
    def forward(ctx: Context, x: Array, dims: tuple[int, ...], keepdim: bool, smallest: bool, share_nan: bool) -> Array:
        top = extreme(x, dims, smallest)
        ctx.save_for_backward(x, top)
        ctx.dims, ctx.keepdim, ctx.share_nan = dims, keepdim, share_nan
        # A copy: the result may be changed in place, and backward still needs the largest.
        return reduced(top, dims, keepdim).copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        x, top = ctx.saved
        ties = (x == top) | (np.isnan(x) if ctx.share_nan else False)
        counts = ties.sum(axis=axes(ctx.dims), keepdims=True, dtype=x.dtype)
        share = restore(grad, x.shape, ctx.dims, ctx.keepdim) / counts
        # Without the sharing a NaN ties with nothing: 0 * (dy / 0) is the NaN that PyTorch's amax has there.
        dx = np.where(ties, share, x.dtype.type(0)) if ctx.share_nan else ties * share
        return dx, None, None, None, None


class CumSum(Function):
    """y_i = x_0 + ... + x_i along a dim; x_i is in all later sums, so dx is the sum from the end"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int) -> Array:
        ctx.dim = dim
        return x.cumsum(axis=dim)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return np.flip(np.flip(grad, ctx.dim).cumsum(axis=ctx.dim), ctx.dim), None


class Prod(Function):
    """y = product of x along a dim; dx_i is the product of all others, before and after it, so zeros need no care"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, keepdim: bool) -> Array:
        ctx.save_for_backward(x)
        ctx.dim, ctx.keepdim = dim, keepdim
        return as_array(x.prod(axis=dim, keepdims=keepdim))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        x = np.moveaxis(ctx.saved[0], ctx.dim, 0)
        before, after = np.ones_like(x), np.ones_like(x)
        before[1:] = x[:-1].cumprod(axis=0)
        after[:-1] = x[:0:-1].cumprod(axis=0)[::-1]
        dy = np.moveaxis(grad, ctx.dim, 0) if ctx.keepdim else grad
        return np.moveaxis(dy * before * after, 0, ctx.dim), None, None


def _summable(x: Any, dtype: Any) -> Tensor:
    """``x`` in ``dtype``, by default its own; bool and integers as int64."""
    x = tensor_of(x)
    if dtype is None and is_floating(x.dtype):
        return x
    return x.to(dtype=int64 if dtype is None else dtype)


@op(oracle=numpy_reduction(np.sum), sample=over_dims(normal), errors=(refuses_dim("sum"),))
def sum(x: Operand, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over ``dim`` (all if None); bool and integers sum to int64."""
    x = _summable(x, dtype)
    return Sum.apply(x, normalize_dims(dim, x.ndim, "sum"), keepdim)


@op(oracle=numpy_reduction(np.prod), sample=over_dim(normal), errors=(refuses_dim("prod"),))
def prod(x: Operand, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product along ``dim`` (of all elements if None); bool and integers multiply to int64."""
    x = _summable(x, dtype)
    if dim is None or not x.ndim:
        normalize_dims(dim, x.ndim, "prod")
        return Prod.apply(x.reshape(x.numel()), 0, False)
    return Prod.apply(x, normalize_dim(dim, x.ndim, "prod"), keepdim)


CASES.append(OpCase("prod[all]", OPS["prod"], np.prod, over_all))


def require_floating(user: str, x: Tensor) -> Tensor:
    """``x`` itself; RuntimeError unless its dtype is floating."""
    if not is_floating(x.dtype):
        raise RuntimeError(f"{user}: got dtype {x.dtype}; expected a floating dtype")
    return x


def require_elements(user: str, x: Tensor, dims: tuple[int, ...]) -> None:
    """RuntimeError where a result would be compared out of no elements."""
    if 0 in [x.shape[d] for d in dims]:
        raise RuntimeError(f"{user}: no elements to compare in a tensor of shape {x.shape} over dimensions {dims}")


def count_over(x: Tensor, dims: tuple[int, ...]) -> int:
    """How many elements of ``x`` one result of a reduction over ``dims`` is made of."""
    return int(np.prod([x.shape[d] for d in dims], dtype=np.int64))


@op(oracle=numpy_reduction(np.mean), sample=over_dims(normal), min_size=1, errors=(refuses_dim("mean"),))
def mean(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over ``dim`` (all if None) of a floating tensor; NaN of nothing."""
    x = require_floating("mean", x if dtype is None else x.to(dtype=dtype))
    dims = normalize_dims(dim, x.ndim, "mean")
    return elementwise.div(Sum.apply(x, dims, keepdim), count_over(x, dims))


@op(oracle=numpy_reduction(np.max), sample=over_dims(distinct), min_size=1)
def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest over ``dim`` (all if None), NaN where there is one; ties share the gradient."""
    dims = normalize_dims(dim, x.ndim, "amax")
    require_elements("amax", x, dims)
    return Extreme.apply(x, dims, keepdim, False, False)


@op(oracle=numpy_reduction(np.min), sample=over_dims(distinct), min_size=1)
def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest over ``dim`` (all if None), NaN where there is one; ties share the gradient."""
    dims = normalize_dims(dim, x.ndim, "amin")
    require_elements("amin", x, dims)
    return Extreme.apply(x, dims, keepdim, True, False)


@op(oracle=lambda x, dim: np.cumsum(x, axis=dim), sample=over_dim(normal, keepdim=False))
def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sum along ``dim``; bool and integers sum to int64."""
    axis = normalize_dim(dim, x.ndim, "cumsum")
    x = _summable(x, dtype)
    return CumSum.apply(x, axis) if x.ndim else x.clone()


def _logsumexp(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


@op(oracle=numpy_reduction(_logsumexp), sample=over_dims(normal), min_size=1)
def logsumexp(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """log(sum(e**x)) over ``dim``, shifted by the largest so that nothing overflows; -inf of nothing."""
    dims = normalize_dims(dim, x.ndim, "logsumexp")
    x = floating(x)
    top = Tensor(np.nan_to_num(extreme(x.array, dims), nan=np.nan, posinf=0, neginf=0))
    result = elementwise.log(Sum.apply(elementwise.exp(x - top), dims, True)) + top
    return result if keepdim else result.reshape([n for axis, n in enumerate(x.shape) if axis not in dims])


def _truths(rng: Rng, dims: Sizes) -> Sample:
    sample = over_dim(normal)(rng, dims)
    return Sample((sample.arrays[0] > 0,), sample.options)


@op(oracle=numpy_reduction(np.any), sample=_truths, differentiable=False)
def any(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether one element holds."""
    return Tensor(as_array(x.array.any(axis=axes(normalize_dims(dim, x.ndim, "any")), keepdims=keepdim)))


@op(oracle=numpy_reduction(np.all), sample=_truths, differentiable=False)
def all(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element holds."""
    return Tensor(as_array(x.array.all(axis=axes(normalize_dims(dim, x.ndim, "all")), keepdims=keepdim)))
