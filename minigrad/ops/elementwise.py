"""Elementwise ops: arithmetic, exponentials, activations, sines.

An op of one array is its derivative above its function (``unary``). An op of two is a class, its forward and below it
the derivative that inverts it, and the function that users call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import as_array, is_array
from minigrad.arguments import Operand
from minigrad.broadcasting import unbroadcast
from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops import rounding
from minigrad.ops.common import no_bool, pair, tensor_of
from minigrad.ops.op import CASES, OPS, op, unary
from minigrad.ops.op_case import (
    Dims,
    OpCase,
    Rng,
    Sample,
    away_from_zero,
    broadcastable,
    normal,
    operand,
    operands,
    positive,
    some_shape,
)
from minigrad.tensor import Tensor

Array = np.ndarray


class Add(Function):
    """a + b"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.shapes = a.shape, b.shape
        return as_array(a + b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return unbroadcast(grad, ctx.shapes[0]), unbroadcast(grad, ctx.shapes[1])


class Sub(Function):
    """a - b"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.shapes = a.shape, b.shape
        return as_array(a - b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return unbroadcast(grad, ctx.shapes[0]), unbroadcast(-grad, ctx.shapes[1])


def _needed(ctx: Context, a: Array, b: Array) -> tuple[Array | None, Array | None]:
    """Of the factors of a product, those whose partner wants a gradient: the others may be changed in place later."""
    return a if ctx.needs_input_grad[1] else None, b if ctx.needs_input_grad[0] else None


class Mul(Function):
    """a * b"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.shapes = a.shape, b.shape
        ctx.save_for_backward(*_needed(ctx, a, b))
        return as_array(a * b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b = ctx.saved
        da = unbroadcast(grad * b, ctx.shapes[0]) if ctx.needs_input_grad[0] else None
        db = unbroadcast(grad * a, ctx.shapes[1]) if ctx.needs_input_grad[1] else None
        return da, db


class Div(Function):
    """a / b"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.shapes = a.shape, b.shape
        ctx.save_for_backward(a if ctx.needs_input_grad[1] else None, b)
        return as_array(a / b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b = ctx.saved
        da = unbroadcast(grad / b, ctx.shapes[0]) if ctx.needs_input_grad[0] else None
        db = unbroadcast(-grad * (a / b / b), ctx.shapes[1]) if ctx.needs_input_grad[1] else None
        return da, db


def _unless(condition: Any, values: Array) -> Array:
    """The values, 0 where the condition holds: an array, or one truth for all of them."""
    return np.where(condition, 0, values) if is_array(condition) else np.zeros_like(values) if condition else values


class Pow(Function):
    """a ** b"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        y = as_array(a >= b if a.dtype == np.bool_ else a**b)  # of truths: all but 0 ** 1
        ctx.save_for_backward(a, b, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b, y = ctx.saved
        da = db = None
        if ctx.needs_input_grad[0]:
            # d/da a**b = b a**(b-1), and exactly 0 where b = 0, also at a = 0
            da = unbroadcast(_unless(b == 0, grad * (b * a ** (b - 1))), a.shape)
        if ctx.needs_input_grad[1]:
            # d/db a**b = a**b log a, which tends to 0 at a = 0 for b >= 0
            db = unbroadcast(grad * _unless((a == 0) & (b >= 0), y * np.log(a)), b.shape)
        return da, db


class ReLU(Function):
    """max(x, 0); the derivative at 0 is 0"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = as_array(np.maximum(x, 0))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(np.where(ctx.saved[0] <= 0, grad.dtype.type(0), grad))  # NaN goes through


@op(oracle=np.add, sample=operands(normal, normal))
def add(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a + alpha * b, broadcast."""
    return Add.apply(*pair("add", a, b if alpha == 1 else mul(b, alpha)))


@op(oracle=np.subtract, sample=operands(normal, normal))
def sub(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a - alpha * b, broadcast."""
    a, b = pair("sub", a, b if alpha == 1 else mul(b, alpha))
    return Sub.apply(no_bool("sub", a, "bitwise_xor or logical_xor"), b)


@op(oracle=np.multiply, sample=operands(normal, normal))
def mul(a: Operand, b: Operand) -> Tensor:
    """a * b, broadcast."""
    return Mul.apply(*pair("mul", a, b))


@op(oracle=np.divide, sample=operands(normal, positive))
def div(a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """a / b, broadcast; integers divide to float32.

    Args:
        a, b: tensors or numbers.
        rounding_mode: "floor" rounds down, "trunc" towards 0; the result then has the operands' dtype, its gradient
            is 0.
    """
    if not (rounding_mode is None or (isinstance(rounding_mode, str) and rounding_mode in ("floor", "trunc"))):
        raise ValueError(f"div: rounding_mode is {described(rounding_mode)}; expected None, 'floor' or 'trunc'")
    if rounding_mode == "floor":
        return rounding.divide_down(a, b)
    if rounding_mode == "trunc":
        return rounding.divide_towards_zero(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Div.apply(*pair("div", a, b, floating=True))


@op(oracle=np.power, sample=operands(positive, normal))
def pow(a: Operand, b: Operand) -> Tensor:
    """a ** b, broadcast; RuntimeError for integers to negative powers."""
    a, b = pair("pow", a, b)
    if b.dtype.kind == "i" and not b.is_cuda and (b.array < 0).any():
        raise RuntimeError("pow: an integer is raised to a negative power; expected a floating base or exponent")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Pow.apply(a, b)


def _integer_power(rng: Rng, dims: Dims) -> Sample:
    return Sample((away_from_zero(rng, some_shape(rng, dims)),), {"b": int(rng.integers(-2, 4))})


CASES.append(OpCase("pow[integer]", OPS["pow"], lambda x, b: x ** float(b), _integer_power))


def _weighted(rng: Rng, dims: Dims) -> Sample:
    shape = some_shape(rng, dims)
    return Sample((normal(rng, shape), normal(rng, shape), normal(rng, broadcastable(rng, shape))))


@op(oracle=lambda a, b, weight: a + weight * (b - a), sample=_weighted)
def lerp(a: Tensor, b: Tensor, weight: Operand) -> Tensor:
    """a + weight * (b - a), from ``a`` at weight 0 to ``b`` at 1; a number, or a tensor that broadcasts."""
    return add(a, mul(weight, sub(b, a)))


@unary(lambda grad: -grad, oracle=np.negative, integers=True)
def neg(x: Array) -> Array:
    """-x, elementwise."""
    return -x


@unary(lambda grad, y: grad * y, oracle=np.exp)
@np.errstate(over="ignore")
def exp(x: Array) -> Array:
    """e to the power of x, elementwise; integers become float32."""
    return np.exp(x)


@unary(lambda grad, y: grad * (y + 1), oracle=lambda x: np.exp(x) - 1)
@np.errstate(over="ignore")
def expm1(x: Array) -> Array:
    """exp(x) - 1, elementwise, exact near 0."""
    return np.expm1(x)


@unary(lambda grad, x: grad / x, oracle=np.log, values=positive)
@np.errstate(divide="ignore", invalid="ignore")
def log(x: Array) -> Array:
    """The natural logarithm, elementwise; -inf at 0, NaN below."""
    return np.log(x)


@unary(lambda grad, x: grad / (1 + x), oracle=lambda x: np.log(1 + x), values=positive)
@np.errstate(divide="ignore", invalid="ignore")
def log1p(x: Array) -> Array:
    """log(1 + x), elementwise, exact near 0; -inf at -1, NaN below."""
    return np.log1p(x)


@unary(lambda grad, y: grad / (2 * y), oracle=np.sqrt, values=positive)
@np.errstate(invalid="ignore")
def sqrt(x: Array) -> Array:
    """The square root, elementwise; NaN below 0."""
    return np.sqrt(x)


@unary(lambda grad, x: grad * np.sign(x), oracle=np.abs, values=away_from_zero, integers=True)
def abs(x: Array) -> Array:
    """|x|, elementwise; its gradient at 0 is 0."""
    return np.abs(x)


@unary(lambda grad, y: grad * (1 - y * y), oracle=np.tanh)
def tanh(x: Array) -> Array:
    """The hyperbolic tangent, elementwise."""
    return np.tanh(x)


@unary(lambda grad, y: grad * y * (1 - y), oracle=lambda x: 1 / (1 + np.exp(-x)))
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), elementwise; as tanh, so that nothing overflows."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


@unary(lambda grad, x: grad * np.cos(x), oracle=np.sin)
def sin(x: Array) -> Array:
    """The sine of radians, elementwise."""
    return np.sin(x)


@unary(lambda grad, x: -grad * np.sin(x), oracle=np.cos)
def cos(x: Array) -> Array:
    """The cosine of radians, elementwise."""
    return np.cos(x)


@op(oracle=lambda x: np.where(x > 0, x, 0), sample=operand(away_from_zero))
def relu(x: Operand) -> Tensor:
    """max(x, 0), elementwise; its gradient at 0 is 0."""
    return ReLU.apply(no_bool("relu", tensor_of(x)))


@op(oracle=lambda x: x**2, sample=operand(normal))
def square(x: Operand) -> Tensor:
    """x * x, elementwise; of truths an integer."""
    x = tensor_of(x)
    return pow(x, 2) if x.dtype == np.bool_ else mul(x, x)


@op(oracle=lambda x: 1 / x, sample=operand(positive))
def reciprocal(x: Operand) -> Tensor:
    """1 / x, elementwise."""
    return div(1.0, x)


@op(oracle=lambda x: 1 / np.sqrt(x), sample=operand(positive))
def rsqrt(x: Operand) -> Tensor:
    """1 / sqrt(x), elementwise; inf at 0, NaN below."""
    return reciprocal(sqrt(x))
