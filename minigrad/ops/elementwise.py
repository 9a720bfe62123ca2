"""Elementwise ops: arithmetic, exponentials, activations, selection.

Each class has its forward and, below it, the derivative that inverts it; the function that users call follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import as_array, is_array
from minigrad.function import Context, Function
from minigrad.ops import compare
from minigrad.ops.common import as_tensor, floating, promote, unbroadcast
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
        db = unbroadcast(-grad * a / (b * b), ctx.shapes[1]) if ctx.needs_input_grad[1] else None
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
            with np.errstate(divide="ignore", invalid="ignore"):
                da = unbroadcast(grad * _unless(b == 0, b * a ** (b - 1)), a.shape)
        if ctx.needs_input_grad[1]:
            # d/db a**b = a**b log a, which tends to 0 at a = 0
            with np.errstate(divide="ignore", invalid="ignore"):
                db = unbroadcast(grad * _unless(a == 0, y * np.log(a)), b.shape)
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
        with np.errstate(divide="ignore", invalid="ignore"):
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
        with np.errstate(divide="ignore", invalid="ignore"):
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
        return as_array(grad * (ctx.saved[0] > 0))


class Clamp(Function):
    """x limited to [low, high] (either may be None); the gradient passes where low <= x <= high"""

    @staticmethod
    def forward(ctx: Context, x: Array, low: Any, high: Any) -> Array:
        inside = x >= low if low is not None else x <= high
        if low is not None and high is not None:
            inside = inside & (x <= high)
        ctx.save_for_backward(inside)
        return as_array(np.clip(x, low, high)).astype(x.dtype, copy=False)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return grad * ctx.saved[0], None, None


class Maximum(Function):
    """The larger of a and b; where they are equal each gets half of the gradient"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save_for_backward(a, b)
        return as_array(np.maximum(a, b))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b = ctx.saved
        half = (a == b) * grad.dtype.type(0.5)
        return unbroadcast(grad * ((a > b) + half), a.shape), unbroadcast(grad * ((b > a) + half), b.shape)


class Where(Function):
    """a where the condition holds, else b"""

    @staticmethod
    def forward(ctx: Context, condition: Array, a: Array, b: Array) -> Array:
        ctx.save_for_backward(condition)
        ctx.shapes = a.shape, b.shape
        return as_array(np.where(condition, a, b))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        condition = ctx.saved[0]
        zero = grad.dtype.type(0)
        da = unbroadcast(np.where(condition, grad, zero), ctx.shapes[0])
        return None, da, unbroadcast(np.where(condition, zero, grad), ctx.shapes[1])


def add(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a + alpha * b, broadcast."""
    return Add.apply(*promote(a, b if alpha == 1 else mul(b, alpha)))


def sub(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a - alpha * b, broadcast."""
    return Sub.apply(*promote(a, b if alpha == 1 else mul(b, alpha)))


def mul(a: Any, b: Any) -> Tensor:
    """a * b, broadcast."""
    return Mul.apply(*promote(a, b))


def div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Tensor:
    """a / b, broadcast; integers divide to float32.

    Args:
        a, b: tensors or numbers.
        rounding_mode: "floor" rounds down, "trunc" towards 0; the result then has the operands' dtype and no gradient.
    """
    if rounding_mode == "floor":
        return compare.floor_divide(a, b)
    if rounding_mode == "trunc":
        return compare.trunc(div(a, b)).to(dtype=promote(a, b)[0].dtype)
    if rounding_mode is not None:
        raise ValueError(f"div: rounding_mode is {rounding_mode!r}; expected None, 'floor' or 'trunc'")
    with np.errstate(divide="ignore", invalid="ignore"):
        return Div.apply(*promote(a, b, floating=True))


def pow(a: Any, b: Any) -> Tensor:
    """a ** b, broadcast."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return Pow.apply(*promote(a, b))


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of each pair, broadcast."""
    return Maximum.apply(*promote(a, b))


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of each pair, broadcast."""
    a, b = promote(a, b)
    return neg(maximum(neg(a), neg(b)))


def where(condition: Any, a: Any = None, b: Any = None) -> Any:
    """``a`` where ``condition`` (bool) holds, else ``b``, broadcast; alone, the places where it holds."""
    condition = as_tensor(condition)
    if a is None and b is None:
        return tuple(Tensor(places) for places in np.nonzero(np.atleast_1d(condition.array)))
    if condition.dtype != np.bool_:
        raise TypeError(f"where: condition has dtype {condition.dtype}; expected bool")
    return Where.apply(condition, *promote(a, b))


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``x`` with ``value`` where ``mask`` (bool, broadcast to ``x``) holds."""
    value = value.to(dtype=x.dtype).detach() if isinstance(value, Tensor) else Tensor(np.asarray(value, x.dtype))
    return where(mask, value, x)


def neg(x: Any) -> Tensor:
    """-x, elementwise."""
    return Neg.apply(as_tensor(x))


def exp(x: Any) -> Tensor:
    """e to the power of x, elementwise; integers become float32."""
    return Exp.apply(floating(x))


def log(x: Any) -> Tensor:
    """The natural logarithm, elementwise; -inf at 0, NaN below."""
    return Log.apply(floating(x))


def sqrt(x: Any) -> Tensor:
    """The square root, elementwise; NaN below 0."""
    return Sqrt.apply(floating(x))


def abs(x: Any) -> Tensor:
    """|x|, elementwise; its gradient at 0 is 0."""
    return Abs.apply(as_tensor(x))


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return Tanh.apply(floating(x))


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)), elementwise."""
    return Sigmoid.apply(floating(x))


def relu(x: Any) -> Tensor:
    """max(x, 0), elementwise; its gradient at 0 is 0."""
    return ReLU.apply(as_tensor(x))


def clamp(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """``x`` limited to [min, max]; at least one of them must be given."""
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max must be given")
    return Clamp.apply(as_tensor(x), min, max)
