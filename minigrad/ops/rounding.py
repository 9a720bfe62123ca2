"""Steps: rounding, signs, division with a remainder. Between its steps each is constant, so its gradient is zero there.

The tape still goes through them, as in PyTorch: a gradient of zero arrives instead of none, and the rest of the graph
gets its own. ``floor_divide`` is the exception, there too: its backward is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels import as_array
from minigrad.arguments import Operand
from minigrad.broadcasting import unbroadcast
from minigrad.dtypes import is_floating
from minigrad.function import Context, Function
from minigrad.ops.common import no_bool, pair, tensor_of
from minigrad.ops.op import op
from minigrad.ops.op_case import Dims, Rng, Sample, normal, operand, operands, positive, some_shape, special
from minigrad.tensor import Tensor

Array = np.ndarray


class Step(Function):
    """A function that is constant between its steps; the gradient is 0"""

    @staticmethod
    def forward(ctx: Context, function: Callable[..., Array], *arrays: Array) -> Array:
        ctx.shapes = [array.shape for array in arrays]
        with np.errstate(divide="ignore", invalid="ignore"):
            return as_array(function(*arrays))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return None, *(np.zeros(shape, grad.dtype, like=grad) for shape in ctx.shapes)


class FloorDivide(Function):
    """a / b rounded down; as in PyTorch without a gradient"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return as_array(np.floor_divide(a, b))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        raise RuntimeError(
            "floor_divide: // has no gradient; use div(a, b, rounding_mode='floor'), whose gradient is 0, or detach()"
        )


class Remainder(Function):
    """y = a - b floor(a / b), of the sign of b"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save_for_backward(a, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            return as_array(np.remainder(a, b))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b = ctx.saved
        da = unbroadcast(grad, a.shape) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return da, None
        # y = a - b floor(a / b), where the floor is constant
        return da, unbroadcast(-grad * np.floor_divide(a, b), b.shape)


def _rounded(name: str, function: Callable[..., Array], description: str, oracle: Callable) -> Callable[..., Tensor]:
    """An op that rounds floating numbers, and leaves integers as they are."""

    def rounded(x: Operand) -> Tensor:
        x = no_bool(name, tensor_of(x))
        return Step.apply(function, x) if is_floating(x.dtype) else x.clone()

    rounded.__name__ = rounded.__qualname__ = name
    rounded.__doc__ = f"{description}; its gradient is 0."
    return op(oracle=oracle, sample=operand(special), differentiable=False)(rounded)


floor = _rounded("floor", np.floor, "The largest integer not above, elementwise", np.floor)
ceil = _rounded("ceil", np.ceil, "The smallest integer not below, elementwise", lambda x: -np.floor(-x))
trunc = _rounded(
    "trunc",
    np.trunc,
    "The nearest integer towards 0, elementwise",
    lambda x: np.copysign(np.floor(np.abs(x)), x),
)


@op(oracle=np.rint, sample=operand(special), differentiable=False)
def round(x: Operand, *, decimals: int = 0) -> Tensor:
    """The nearest number of ``decimals`` digits behind the point, halves to even, elementwise; its gradient is 0."""
    x = no_bool("round", tensor_of(x))
    return Step.apply(lambda array: np.round(array, int(decimals)), x) if is_floating(x.dtype) else x.clone()


def _sign(x: Array) -> Array:
    return (x > 0).astype(x.dtype) - (x < 0)


@op(oracle=lambda x: np.where(np.isnan(x), 0, np.sign(x)), sample=operand(special), differentiable=False)
def sign(x: Operand) -> Tensor:
    """-1, 0 or 1, elementwise (0 of NaN, as in PyTorch); its gradient is 0."""
    x = tensor_of(x)
    return x.clone() if x.dtype == np.bool_ else Step.apply(_sign, x)


def _divisible(name: str, a: Any, b: Any) -> list[Tensor]:
    """The operands of a division; RuntimeError for an integer 0 on the host; a GPU is not waited for."""
    a, b = (no_bool(name, x, "logical_and or logical_or") for x in pair(name, a, b))
    if not is_floating(b.dtype) and a.numel() and not b.is_cuda and (b.array == 0).any():
        raise RuntimeError(f"{name}: an integer is divided by zero; expected no 0 in b")
    return [a, b]


@op(oracle=lambda a, b: np.floor(a / b), sample=operands(normal, positive), differentiable=False)
def floor_divide(a: Operand, b: Operand) -> Tensor:
    """a / b rounded down, broadcast. Its backward is refused; ``div(a, b, rounding_mode="floor")`` has one."""
    return FloorDivide.apply(*_divisible("floor_divide", a, b))


def divide_down(a: Operand, b: Operand) -> Tensor:
    """``floor_divide`` with a gradient of 0."""
    return Step.apply(np.floor_divide, *_divisible("div", a, b))


def divide_towards_zero(a: Operand, b: Operand) -> Tensor:
    """a / b without the digits behind the point; its gradient is 0. Integers stay exact."""
    a, b = _divisible("div", a, b)
    return Step.apply(_truncated_ratio, a, b)


def _truncated_ratio(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.trunc(a / b)
    down = np.floor_divide(a, b)
    return down + ((down < 0) & (down * b != a)).astype(down.dtype)


def _between_steps(rng: Rng, dims: Dims) -> Sample:
    """A divisor of either sign and a dividend whose ratio to it keeps away from integers."""
    shape = some_shape(rng, dims)
    divisor = rng.choice([-1.0, 1.0], shape) * positive(rng, shape)
    return Sample((divisor * (rng.integers(-3, 3, shape) + rng.uniform(0.2, 0.8, shape)), divisor))


@op(oracle=np.mod, sample=_between_steps)
def remainder(a: Operand, b: Operand) -> Tensor:
    """a - b * floor(a / b), broadcast: of the sign of b. Its gradients are 1 and -floor(a / b)."""
    return Remainder.apply(*_divisible("remainder", a, b))
