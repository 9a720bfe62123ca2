"""Softmax along a dimension, and its logarithm (kernels.softmax_forward)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import kernels
from minigrad.arguments import Operand
from minigrad.function import Context, Function
from minigrad.ops.common import floating, normalize_dim, tensor_of
from minigrad.ops.linalg import as_rows
from minigrad.ops.op import op, refuses_dim
from minigrad.ops.op_case import normal, over_dim
from minigrad.tensor import Tensor

Array = np.ndarray


def _along(dim: int, kernel: Callable[..., Array], log: bool, *arrays: Array) -> Array:
    """What a kernel of rows makes of arrays of one shape, its rows along dim."""
    if not arrays[0].ndim:
        return kernel(*[array.reshape(1, 1) for array in arrays], log).reshape(())
    last = dim == arrays[0].ndim - 1
    turned = arrays if last else [np.moveaxis(array, dim, -1) for array in arrays]
    result = kernel(*[as_rows(array) for array in turned], log).reshape(turned[0].shape)
    return result if last else np.moveaxis(result, -1, dim)


class Softmax(Function):
    """y = e**x / sum e**x along a dim, or the logarithm of it (kernels.softmax_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, log: bool) -> Array:
        y = _along(dim, kernels.softmax_forward, log, x)
        ctx.save_for_backward(y)
        ctx.dim, ctx.log = dim, log
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return _along(ctx.dim, kernels.softmax_backward, ctx.log, grad, ctx.saved[0]), None, None


def _softmax(x: Array, dim: int) -> Array:
    return np.exp(x) / np.exp(x).sum(axis=dim, keepdims=True)


@op(oracle=_softmax, sample=over_dim(normal, keepdim=False), errors=(refuses_dim("softmax"),))
def softmax(x: Operand, dim: int = -1, dtype: Any = None) -> Tensor:
    """e**x normalised to sum 1 along ``dim``; ``x`` is cast to ``dtype`` before, if given."""
    x = floating(x if dtype is None else tensor_of(x).to(dtype=dtype))
    return Softmax.apply(x, normalize_dim(dim, x.ndim, "softmax"), False)


@op(oracle=lambda x, dim: np.log(_softmax(x, dim)), sample=over_dim(normal, keepdim=False))
def log_softmax(x: Operand, dim: int = -1, dtype: Any = None) -> Tensor:
    """log(softmax(x)) without leaving the log domain; ``x`` is cast to ``dtype`` before, if given."""
    x = floating(x if dtype is None else tensor_of(x).to(dtype=dtype))
    return Softmax.apply(x, normalize_dim(dim, x.ndim, "log_softmax"), True)
