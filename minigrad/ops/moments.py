"""Variance, standard deviation and norms. Each has its own backward, since the composed one is NaN at 0."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels import as_array
from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops.common import axes, normalize_dims
from minigrad.ops.op import op
from minigrad.ops.op_case import Rng, distinct, normal, numpy_reduction, over_dims
from minigrad.ops.reduce import Dims, count_over, extreme, reduced, require_elements, require_floating, restore
from minigrad.tensor import Tensor

Array = np.ndarray


class Var(Function):
    """y = sum (x - mean)**2 / freedom over dims; dx = 2 (x - mean) / freedom"""

    @staticmethod
    def forward(ctx: Context, x: Array, dims: tuple[int, ...], keepdim: bool, freedom: float) -> Array:
        count = x.size // max(1, math.prod(n for axis, n in enumerate(x.shape) if axis not in dims))
        with np.errstate(divide="ignore", invalid="ignore"):
            centred = x - x.sum(axis=axes(dims), keepdims=True) / x.dtype.type(count)
            y = as_array((centred * centred).sum(axis=axes(dims), keepdims=keepdim) / x.dtype.type(max(freedom, 0)))
        ctx.save_for_backward(centred)
        ctx.dims, ctx.keepdim, ctx.freedom = dims, keepdim, freedom
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        (centred,) = ctx.saved
        # y = sum centred**2 / freedom; the mean of centred is 0, so that of dx needs not be taken away
        slope = grad.dtype.type(2) / grad.dtype.type(ctx.freedom) * centred
        return restore(grad, centred.shape, ctx.dims, ctx.keepdim) * slope, None, None, None


class Deviation(Function):
    """y = the square root of a variance; dx = dy / (2 y), and 0 where y is 0: there all elements are equal"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = as_array(np.sqrt(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved
        return as_array(np.where(y == 0, grad.dtype.type(0), grad / (2 * y)))


class Norm(Function):
    """y = (sum |x|**p)**(1/p) over dims; dx = sign(x) (|x| / y)**(p - 1), and 0 where that is not defined"""

    @staticmethod
    def forward(ctx: Context, x: Array, p: float, dims: tuple[int, ...], keepdim: bool) -> Array:
        with np.errstate(divide="ignore", over="ignore"):
            kept = as_array(_norm(x, p, dims))
        ctx.save_for_backward(x, kept)
        ctx.p, ctx.dims, ctx.keepdim = p, dims, keepdim
        return reduced(kept, dims, keepdim).copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        x, y = ctx.saved
        dy = restore(grad, x.shape, ctx.dims, ctx.keepdim)
        return as_array(dy * _slope(x, y, ctx.p, ctx.dims)), None, None, None


def _norm(x: Array, p: float, dims: tuple[int, ...]) -> Array:
    """The norm over dims, which stay as size 1."""
    if math.isinf(p):
        return extreme(np.abs(x), dims, smallest=p < 0)
    if p == 0:
        return (x != 0).sum(axis=axes(dims), keepdims=True).astype(x.dtype)
    if p == 2:
        return np.sqrt((x * x).sum(axis=axes(dims), keepdims=True))
    sums = (np.abs(x) ** p if p != 1 else np.abs(x)).sum(axis=axes(dims), keepdims=True)
    return sums ** (1 / p) if p != 1 else sums


def _slope(x: Array, y: Array, p: float, dims: tuple[int, ...]) -> Array:
    """d y / d x for one y."""
    if p == 0:  # a count, constant between its steps
        return np.zeros_like(x)
    if p == 1:
        return np.sign(x)
    if math.isinf(p):
        ties = (np.abs(x) == y) | np.isnan(x)
        return np.sign(x) * ties / ties.sum(axis=axes(dims), keepdims=True)
    # y = (sum |x|**p)**(1/p)
    ratio = x / y if p == 2 else np.sign(x) * (np.abs(x) / y) ** (p - 1)
    return np.where((y == 0) | (x == 0), x.dtype.type(0), ratio)


def _variance(
    user: str, x: Tensor, dim: Dims | bool, unbiased: bool, keepdim: bool, correction: float | None
) -> Tensor:
    over: Dims = None if isinstance(dim, bool) else dim
    if isinstance(dim, bool):  # PyTorch's std(unbiased)
        unbiased = dim
    dims = normalize_dims(over, require_floating(user, x).ndim, user)
    freedom = count_over(x, dims) - (int(unbiased) if correction is None else correction)
    if freedom <= 0:
        warnings.warn(f"{user}: of {count_over(x, dims)} elements there are no degrees of freedom left", stacklevel=4)
    return Var.apply(x, dims, keepdim, float(freedom))


def _unbiased(function: Callable) -> Callable:
    return lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims, ddof=1)


@op(oracle=numpy_reduction(_unbiased(np.var)), sample=over_dims(distinct), min_size=2)
def var(
    x: Tensor,
    dim: Dims | bool = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Mean squared distance from the mean, divided by (count - correction); ``unbiased`` means correction 1.

    Where that divisor is not positive, the result is NaN or inf, with a warning.
    """
    return _variance("var", x, dim, unbiased, keepdim, correction)


@op(oracle=numpy_reduction(_unbiased(np.std)), sample=over_dims(distinct), min_size=2)
def std(
    x: Tensor,
    dim: Dims | bool = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Square root of ``var``. Where all elements are equal, the gradient is 0."""
    return Deviation.apply(_variance("std", x, dim, unbiased, keepdim, correction))


def _above_zero(rng: Rng, shape: tuple[int, ...]) -> Array:
    return np.abs(normal(rng, shape)) + 0.5


def _root_of_squares(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims))


@op(oracle=numpy_reduction(_root_of_squares), sample=over_dims(_above_zero), min_size=1)
def norm(x: Tensor, p: float | str = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """(sum |x|**p) ** (1/p) over ``dim`` (all if None) of a floating tensor.

    Args:
        x: any shape, floating.
        p: any number; inf and -inf are the largest and the smallest |x|, 0 counts what is not 0, "fro" means 2.
        dim: over which.
        keepdim: whether reduced dimensions stay as size 1.

    The gradient is 0 where the norm has none: at 0, and for p = 0.
    """
    if not (p == "fro" if isinstance(p, str) else isinstance(p, int | float | np.number)):
        raise NotImplementedError(f"norm: p is {described(p)}; expected a number or 'fro'")
    order = 2.0 if isinstance(p, str) else float(p)
    dims = normalize_dims(dim, require_floating("norm", x).ndim, "norm")
    if order < 0 or order == math.inf:
        require_elements("norm", x, dims)
    return Norm.apply(x, order, dims, keepdim)
