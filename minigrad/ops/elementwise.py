"""Elementwise ops: arithmetic, exponentials, activations.

Each class has its forward and, below it, the derivative that inverts it; the function that users call follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import as_array, is_array
from minigrad.arguments import Operand
from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops import rounding
from minigrad.ops.common import as_tensor, floating, no_bool, pair, unbroadcast
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
        y = as_array(a**b)
        ctx.save_for_backward(a, b, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b, y = ctx.saved
        da = db = None
        if ctx.needs_input_grad[0]:
            # d/da a**b = b a**(b-1), and exactly 0 where b = 0, also at a = 0
            da = unbroadcast(grad * _unless(b == 0, b * a ** (b - 1)), a.shape)
        if ctx.needs_input_grad[1]:
            # d/db a**b = a**b log a, which tends to 0 at a = 0 for b >= 0
            db = unbroadcast(grad * _unless((a == 0) & (b >= 0), y * np.log(a)), b.shape)
        return da, db


class Neg(Function):
    """-x"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        return as_array(-x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(-grad)


class Exp(Function):
    """e**x; the derivative is the output itself"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        with np.errstate(over="ignore"):
            y = as_array(np.exp(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(grad * ctx.saved[0])


class Log(Function):
    """natural logarithm; -inf at 0, NaN below"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save_for_backward(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return as_array(np.log(x))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(grad / ctx.saved[0])


class Sqrt(Function):
    """square root; d/dx = 1 / (2 sqrt x)"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        with np.errstate(invalid="ignore"):
            y = as_array(np.sqrt(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(grad / (2 * ctx.saved[0]))


class Abs(Function):
    """|x|; the derivative at 0 is 0"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save_for_backward(x)
        return as_array(np.abs(x))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return as_array(grad * np.sign(ctx.saved[0]))


class Tanh(Function):
    """tanh x; derivative in the output: 1 - y**2"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = as_array(np.tanh(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        y = ctx.saved[0]
        return as_array(grad * (1 - y * y))


class Sigmoid(Function):
    """1 / (1 + e**-x), as tanh so that nothing overflows; derivative in the output: y (1 - y)"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = as_array(0.5 * np.tanh(0.5 * x) + 0.5)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        y = ctx.saved[0]
        return as_array(grad * y * (1 - y))


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


def add(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a + alpha * b, broadcast."""
    return Add.apply(*pair("add", a, b if alpha == 1 else mul(b, alpha)))


def sub(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a - alpha * b, broadcast."""
    a, b = pair("sub", a, b if alpha == 1 else mul(b, alpha))
    return Sub.apply(no_bool("sub", a, "bitwise_xor or logical_xor"), b)


def mul(a: Operand, b: Operand) -> Tensor:
    """a * b, broadcast."""
    return Mul.apply(*pair("mul", a, b))


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


def pow(a: Operand, b: Operand) -> Tensor:
    """a ** b, broadcast; RuntimeError for integers to negative powers."""
    a, b = pair("pow", a, b)
    if b.dtype.kind == "i" and not b.is_cuda and (b.array < 0).any():
        raise RuntimeError("pow: an integer is raised to a negative power; expected a floating base or exponent")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Pow.apply(a, b)


def neg(x: Operand) -> Tensor:
    """-x, elementwise."""
    return Neg.apply(no_bool("neg", as_tensor(x)))


def exp(x: Operand) -> Tensor:
    """e to the power of x, elementwise; integers become float32."""
    return Exp.apply(floating(x))


def log(x: Operand) -> Tensor:
    """The natural logarithm, elementwise; -inf at 0, NaN below."""
    return Log.apply(floating(x))


def sqrt(x: Operand) -> Tensor:
    """The square root, elementwise; NaN below 0."""
    return Sqrt.apply(floating(x))


def abs(x: Operand) -> Tensor:
    """|x|, elementwise; its gradient at 0 is 0."""
    return Abs.apply(no_bool("abs", as_tensor(x)))


def tanh(x: Operand) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return Tanh.apply(floating(x))


def sigmoid(x: Operand) -> Tensor:
    """1 / (1 + exp(-x)), elementwise."""
    return Sigmoid.apply(floating(x))


def relu(x: Operand) -> Tensor:
    """max(x, 0), elementwise; its gradient at 0 is 0."""
    return ReLU.apply(no_bool("relu", as_tensor(x)))
