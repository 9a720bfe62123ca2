"""Copies: of another dtype, on another device, of the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.device import device as Device
from minigrad.device import device_of, moved
from minigrad.dtypes import as_dtype, is_floating
from minigrad.function import Context, Function
from minigrad.ops.op import op
from minigrad.ops.op_case import Dims, Rng, Sample, normal, operand, some_shape
from minigrad.tensor import Tensor

Array = np.ndarray


class Cast(Function):
    """x in another dtype; the tape casts the gradient back"""

    @staticmethod
    def forward(ctx: Context, x: Array, dtype: np.dtype) -> Array:
        return x.astype(dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return grad, None


class Clone(Function):
    """a copy, on the tape"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        return x.copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return grad


class Move(Function):
    """x on another device; the gradient is moved back"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, where: Device) -> Array:
        ctx.back = device_of(x)
        return moved(x, where)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return moved(grad, ctx.back), None


def _to_float64(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, some_shape(rng, dims)),), {"dtype": np.dtype(np.float64)})


@op(is_method=False, oracle=lambda x, dtype: x.astype(dtype), sample=_to_float64)
def cast(x: Tensor, dtype: Any) -> Tensor:
    """``x`` in another dtype; on the tape between floating dtypes."""
    dtype = as_dtype("cast", dtype)
    if is_floating(dtype):
        return Cast.apply(x, dtype)
    with np.errstate(invalid="ignore"):  # NaN becomes some integer, as in PyTorch
        return Tensor(x.array.astype(dtype))


@op(oracle=np.copy, sample=operand(normal))
def clone(x: Tensor) -> Tensor:
    """A copy with memory of its own, on the tape."""
    return Clone.apply(x)
