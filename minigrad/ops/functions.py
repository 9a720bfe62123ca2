"""Further elementwise functions of one tensor: sines, logarithm and exponential near their simple points, powers."""

from __future__ import annotations

import numpy as np

from kernels import as_array
from minigrad.arguments import Operand
from minigrad.function import Context, Function
from minigrad.ops import elementwise
from minigrad.ops.common import as_tensor, floating
from minigrad.tensor import Tensor

Array = np.ndarray


class Sin(Function):
    """sin x; derivative cos x"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save_for_backward(x)
        return as_array(np.sin(x))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(grad * np.cos(ctx.saved[0]))


class Cos(Function):
    """cos x; derivative -sin x"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save_for_backward(x)
        return as_array(np.cos(x))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(-grad * np.sin(ctx.saved[0]))


class Log1p(Function):
    """log(1 + x), exact near 0; derivative 1 / (1 + x)"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save_for_backward(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return as_array(np.log1p(x))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(grad / (1 + ctx.saved[0]))


class Expm1(Function):
    """e**x - 1, exact near 0; derivative in the output: y + 1"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        with np.errstate(over="ignore"):
            y = as_array(np.expm1(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(grad * (ctx.saved[0] + 1))


def sin(x: Operand) -> Tensor:
    """The sine of radians, elementwise."""
    return Sin.apply(floating(x))


def cos(x: Operand) -> Tensor:
    """The cosine of radians, elementwise."""
    return Cos.apply(floating(x))


def log1p(x: Operand) -> Tensor:
    """log(1 + x), elementwise; -inf at -1, NaN below."""
    return Log1p.apply(floating(x))


def expm1(x: Operand) -> Tensor:
    """exp(x) - 1, elementwise."""
    return Expm1.apply(floating(x))


def square(x: Operand) -> Tensor:
    """x * x, elementwise."""
    x = as_tensor(x)
    return elementwise.mul(x, x)


def reciprocal(x: Operand) -> Tensor:
    """1 / x, elementwise."""
    return elementwise.div(1.0, x)


def rsqrt(x: Operand) -> Tensor:
    """1 / sqrt(x), elementwise; inf at 0, NaN below."""
    return reciprocal(elementwise.sqrt(x))
