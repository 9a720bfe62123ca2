"""Reductions over dimensions, and what is built from them: softmax, topk, norms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels import as_array
from minigrad.dtypes import int64, is_floating
from minigrad.function import Context, Function
from minigrad.ops import elementwise
from minigrad.ops.common import as_tensor, axes, floating, normalize_dim, normalize_dims
from minigrad.tensor import Tensor

Array = np.ndarray
Dims = int | tuple[int, ...] | list[int] | None


class ValuesIndices(NamedTuple):
    """Extreme values along a dimension, and where they stand."""

    values: Tensor
    indices: Tensor


def _restore(grad: Array, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Array:
    """A reduced gradient with its lost dimensions back as size 1."""
    return grad if keepdim else grad.reshape([1 if axis in dims else n for axis, n in enumerate(shape)])


def _largest(x: Array, dims: tuple[int, ...]) -> Array:
    """The largest over dims, which stay as size 1. Of a zero-size array CuPy takes no maximum, not even of no row."""
    if x.size:
        return as_array(x.max(axis=axes(dims), keepdims=True))
    return np.empty([1 if axis in dims else n for axis, n in enumerate(x.shape)], x.dtype, like=x)


def _argmax(x: Array, dim: int) -> Array:
    """Where along a dim the largest stands; likewise."""
    if x.size:
        return as_array(x.argmax(axis=dim))
    return np.empty([n for axis, n in enumerate(x.shape) if axis != dim], np.int64, like=x)


class Sum(Function):
    """y = sum of x over dims; every x gets the gradient of its y"""

    @staticmethod
    def forward(ctx: Context, x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
        ctx.shape, ctx.dims, ctx.keepdim = x.shape, dims, keepdim
        return as_array(x.sum(axis=axes(dims), keepdims=keepdim))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return np.broadcast_to(_restore(grad, ctx.shape, ctx.dims, ctx.keepdim), ctx.shape), None, None


class Amax(Function):
    """y = largest x over dims; ties share the gradient equally"""

    @staticmethod
    def forward(ctx: Context, x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
        top = _largest(x, dims)
        ctx.save_for_backward(x, top)
        ctx.dims, ctx.keepdim = dims, keepdim
        # A copy: the result may be changed in place, and backward still needs the largest.
        y = top if keepdim else top.reshape([n for axis, n in enumerate(x.shape) if axis not in dims])
        return y.copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        x, top = ctx.saved
        ties = (x == top).astype(x.dtype)
        share = _restore(grad, x.shape, ctx.dims, ctx.keepdim) / ties.sum(axis=axes(ctx.dims), keepdims=True)
        return ties * share, None, None


class MaxAlong(Function):
    """y, index = the largest x along one dim; the gradient goes to that one element"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, keepdim: bool) -> tuple[Array, Array]:
        index = np.expand_dims(_argmax(x, dim), dim)
        ctx.index, ctx.shape, ctx.dim, ctx.keepdim = index, x.shape, dim, keepdim
        values = np.take_along_axis(x, index, dim)
        return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))

    @staticmethod
    def backward(ctx: Context, grad: Array, _index: None) -> tuple:
        dx = np.zeros(ctx.shape, grad.dtype, like=grad)
        np.put_along_axis(dx, ctx.index, grad if ctx.keepdim else np.expand_dims(grad, ctx.dim), ctx.dim)
        return dx, None, None


class TopK(Function):
    """the k largest along a dim, equal ones by index; the gradient goes back where they came from"""

    @staticmethod
    def forward(ctx: Context, x: Array, k: int, dim: int, largest: bool) -> tuple[Array, Array]:
        order = np.argsort(-x if largest else x, axis=dim, kind="stable")
        index = order[(slice(None),) * dim + (slice(k),)]
        ctx.index, ctx.shape, ctx.dim = index, x.shape, dim
        return np.take_along_axis(x, index, dim), index

    @staticmethod
    def backward(ctx: Context, grad: Array, _index: None) -> tuple:
        dx = np.zeros(ctx.shape, grad.dtype, like=grad)
        np.put_along_axis(dx, ctx.index, grad, ctx.dim)
        return dx, None, None, None


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


class LogSoftmax(Function):
    """y = x - log sum e**x along a dim, shifted by the largest x; dx = dy - e**y sum dy"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int) -> Array:
        shifted = x - x.max(axis=dim, keepdims=True) if x.size else x
        y = shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True)) if x.size else x.copy()
        ctx.save_for_backward(y)
        ctx.dim = dim
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        y = ctx.saved[0]
        return grad - np.exp(y) * grad.sum(axis=ctx.dim, keepdims=True), None


class Softmax(Function):
    """y = e**x / sum e**x along a dim, shifted by the largest x; dx = y (dy - sum y dy)"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int) -> Array:
        y = np.exp(x - x.max(axis=dim, keepdims=True)) if x.size else x.copy()
        y /= y.sum(axis=dim, keepdims=True)
        ctx.save_for_backward(y)
        ctx.dim = dim
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        y = ctx.saved[0]
        return y * (grad - (grad * y).sum(axis=ctx.dim, keepdims=True)), None


def sum(x: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over ``dim`` (all if None); bool and integers sum to int64."""
    x = as_tensor(x)
    x = x.to(dtype=dtype or (x.dtype if is_floating(x.dtype) else int64))
    return Sum.apply(x, normalize_dims(dim, x.ndim), keepdim)


def prod(x: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product along ``dim`` (of all elements if None); bool and integers multiply to int64."""
    x = as_tensor(x)
    x = x.to(dtype=dtype or (x.dtype if is_floating(x.dtype) else int64))
    if dim is None:
        return Prod.apply(x.reshape(x.numel()), 0, False)
    return Prod.apply(x, normalize_dim(dim, x.ndim), keepdim)


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over ``dim`` (all if None) of a floating tensor; NaN of nothing."""
    x = x if dtype is None else x.to(dtype=dtype)
    if not is_floating(x.dtype):
        raise RuntimeError(f"mean: got dtype {x.dtype}; expected a floating dtype")
    count = np.prod([x.shape[d] for d in normalize_dims(dim, x.ndim)], dtype=np.int64)
    return elementwise.div(sum(x, dim, keepdim), int(count))


def var(
    x: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> Tensor:
    """Mean squared distance from the mean, divided by (count - correction); ``unbiased`` means correction 1."""
    correction = int(unbiased) if correction is None else correction
    count = int(np.prod([x.shape[d] for d in normalize_dims(dim, x.ndim)], dtype=np.int64))
    centred = x - mean(x, dim, keepdim=True)
    return elementwise.div(sum(centred * centred, dim, keepdim), float(np.maximum(count - correction, 0)))


def std(
    x: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: int | None = None
) -> Tensor:
    """Square root of ``var``."""
    return elementwise.sqrt(var(x, dim, unbiased, keepdim, correction=correction))


def _require_elements(x: Tensor, name: str, dims: tuple[int, ...]) -> None:
    if 0 in [x.shape[d] for d in dims]:
        raise RuntimeError(f"{name}: no elements to compare in a tensor of shape {x.shape} over dimensions {dims}")


def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest over ``dim`` (all if None); ties share the gradient."""
    dims = normalize_dims(dim, x.ndim)
    _require_elements(x, "amax", dims)
    return Amax.apply(x, dims, keepdim)


def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest over ``dim`` (all if None); ties share the gradient."""
    return elementwise.neg(amax(elementwise.neg(x), dim, keepdim))


def max(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """``max(x)``: the largest. ``max(x, dim)``: (values, indices). ``max(x, other)``: elementwise."""
    if isinstance(dim, Tensor):
        return elementwise.maximum(x, dim)
    if dim is None:
        return amax(x)
    axis = normalize_dim(dim, x.ndim)
    _require_elements(x, "max", (axis,))
    return ValuesIndices(*MaxAlong.apply(x, axis, keepdim))


def min(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """As ``max``, the smallest."""
    if isinstance(dim, Tensor):
        return elementwise.minimum(x, dim)
    if dim is None:
        return amin(x)
    values, indices = max(elementwise.neg(x), dim, keepdim)
    return ValuesIndices(elementwise.neg(values), indices)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the (first) largest along ``dim``, or in the flattened tensor."""
    if dim is None:
        index = as_array(x.array.argmax())
        return Tensor(index.reshape((1,) * x.ndim) if keepdim else index)
    axis = normalize_dim(dim, x.ndim)
    _require_elements(x, "argmax", (axis,))
    index = _argmax(x.array, axis)
    return Tensor(np.expand_dims(index, axis) if keepdim else index)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the (first) smallest along ``dim``, or in the flattened tensor."""
    return argmax(Tensor(-x.array), dim, keepdim)


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The ``k`` largest (or smallest) along ``dim`` in order, and their indices."""
    axis = normalize_dim(dim, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise RuntimeError(f"topk: k is {k}; expected 0 to {x.shape[axis]}, the size of dimension {dim}")
    return ValuesIndices(*TopK.apply(x, k, axis, largest))


def sort(x: Tensor, dim: int = -1, descending: bool = False) -> ValuesIndices:
    """All of ``x`` in order along ``dim``, and where each stood; equal ones keep their order."""
    axis = normalize_dim(dim, x.ndim)
    return ValuesIndices(*TopK.apply(x, x.shape[axis], axis, descending))


def argsort(x: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """Where each element of the ordered ``x`` stood along ``dim``; equal ones keep their order."""
    return sort(x, dim, descending).indices


def cumsum(x: Tensor, dim: int) -> Tensor:
    """Running sum along ``dim``."""
    return CumSum.apply(x, normalize_dim(dim, x.ndim))


def softmax(x: Any, dim: int = -1, dtype: Any = None) -> Tensor:
    """e**x normalised to sum 1 along ``dim``; ``x`` is cast to ``dtype`` before, if given."""
    x = floating(as_tensor(x).to(dtype=dtype))
    return Softmax.apply(x, normalize_dim(dim, x.ndim))


def log_softmax(x: Any, dim: int = -1, dtype: Any = None) -> Tensor:
    """log(softmax(x)) without leaving the log domain; ``x`` is cast to ``dtype`` before, if given."""
    x = floating(as_tensor(x).to(dtype=dtype))
    return LogSoftmax.apply(x, normalize_dim(dim, x.ndim))


def logsumexp(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """log(sum(e**x)) over ``dim``, shifted by the largest so that nothing overflows."""
    dims = normalize_dims(dim, x.ndim)
    top = Tensor(np.nan_to_num(x.array.max(axis=axes(dims), keepdims=True), nan=np.nan, posinf=0, neginf=0))
    result = elementwise.log(sum(elementwise.exp(x - top), dims, keepdim=True)) + top
    return result if keepdim else result.reshape([n for axis, n in enumerate(x.shape) if axis not in dims])


def any(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether one element holds."""
    return Tensor(as_array(x.array.any(axis=axes(normalize_dims(dim, x.ndim)), keepdims=keepdim)))


def all(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element holds."""
    return Tensor(as_array(x.array.all(axis=axes(normalize_dims(dim, x.ndim)), keepdims=keepdim)))


def norm(x: Tensor, p: float = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """(sum |x|**p) ** (1/p) over ``dim``; p = inf is the largest |x|. The gradient at 0 of the 2-norm is 0."""
    size = elementwise.abs(x)
    if p == float("inf"):
        return amax(size, dim, keepdim)
    if p == 1:
        return sum(size, dim, keepdim)
    if p == 2:
        squares = sum(x * x, dim, keepdim)
        zero = Tensor(squares.array == 0)
        return elementwise.masked_fill(elementwise.sqrt(elementwise.masked_fill(squares, zero, 1)), zero, 0)
    return elementwise.pow(sum(elementwise.pow(size, p), dim, keepdim), 1 / p)
