"""Ops that choose between elements of several tensors: limits, the larger of two, masks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kernels import as_array
from minigrad.arguments import Operand
from minigrad.broadcasting import broadcast_shape, unbroadcast
from minigrad.dtypes import is_floating
from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops.common import check_number, filler, no_bool, pair, promote, tensor_of
from minigrad.ops.op import OPS, op
from minigrad.ops.op_case import GAP, Dims, ErrorCase, Rng, Sample, broadcastable, normal, some_shape
from minigrad.tensor import Tensor

Array = np.ndarray


class Clamp(Function):
    """x limited to [low, high], numbers or None; the gradient passes where low <= x <= high"""

    @staticmethod
    def forward(ctx: Context, x: Array, low: Any, high: Any) -> Array:
        inside = x >= low if low is not None else x <= high
        if low is not None and high is not None:
            inside = inside & (x <= high)
        ctx.save_for_backward(inside)
        return as_array(np.clip(x, low, high)).astype(x.dtype, copy=False)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return _kept(ctx.saved[0], grad), None, None


class ClampBetween(Function):
    """x limited to [low, high], tensors that broadcast; the gradient goes to the one whose value is taken"""

    @staticmethod
    def forward(ctx: Context, x: Array, low: Array, high: Array) -> Array:
        ctx.save_for_backward(x, low, high)
        return as_array(np.minimum(np.maximum(x, low), high))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        x, low, high = ctx.saved
        # y = min(max(x, low), high)
        taken = (x >= low) & (x <= high), (low < high) & (x < low), (x > high) | (high < low)
        return tuple(unbroadcast(_kept(where, grad), a.shape) for where, a in zip(taken, ctx.saved, strict=True))


class Maximum(Function):
    """The larger of a and b; where they are equal each gets half of the gradient, where one is NaN both get all"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save_for_backward(a, b)
        return as_array(np.maximum(a, b))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b = ctx.saved
        return _share(grad, a < b, a, b), _share(grad, b < a, b, a)


class Minimum(Function):
    """The smaller of a and b; the gradient as that of the larger"""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save_for_backward(a, b)
        return as_array(np.minimum(a, b))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        a, b = ctx.saved
        return _share(grad, b < a, a, b), _share(grad, a < b, b, a)


def _share(grad: Array, beaten: Array, own: Array, other: Array) -> Array:
    """What one of two gets of the gradient: nothing where it is beaten, half where they are equal, else all."""
    shared = np.where(own == other, grad * grad.dtype.type(0.5), grad)
    return unbroadcast(_kept(~beaten, shared), own.shape)


def _kept(condition: Array, grad: Array) -> Array:
    """The gradient where the condition holds, elsewhere 0, which 0 times an infinite one is not."""
    return as_array(np.where(condition, grad, grad.dtype.type(0)))


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
        da, db = (unbroadcast(_kept(w, grad), s) for w, s in zip((condition, ~condition), ctx.shapes, strict=True))
        return None, da, db


def _untied(rng: Rng, dims: Dims) -> Sample:
    """Two operands no entry of which ties with one of the other: even and odd multiples of 2 GAP."""
    shape = some_shape(rng, dims)
    other = broadcastable(rng, shape)
    return Sample((rng.integers(-9, 9, shape) * 4 * GAP, (rng.integers(-9, 9, other) * 2 + 1) * 2 * GAP))


@op(oracle=lambda a, b: np.where(a > b, a, b), sample=_untied)
def maximum(a: Operand, b: Operand) -> Tensor:
    """The larger of each pair, broadcast; NaN where one is NaN."""
    return Maximum.apply(*pair("maximum", a, b))


@op(oracle=lambda a, b: np.where(a < b, a, b), sample=_untied)
def minimum(a: Operand, b: Operand) -> Tensor:
    """The smaller of each pair, broadcast; NaN where one is NaN."""
    return Minimum.apply(*pair("minimum", a, b))


def _away_from_limits(rng: Rng, dims: Dims) -> Sample:
    low, high = [(-0.5, 0.5), (-0.5, None), (None, 0.5)][int(rng.integers(3))]
    x = normal(rng, some_shape(rng, dims))
    return Sample((np.where(np.abs(np.abs(x) - 0.5) < GAP, x + 2 * GAP, x),), {"min": low, "max": high})


_WITHOUT_LIMITS = ErrorCase(lambda: OPS["clamp"](Tensor(np.zeros(2))), ValueError, "clamp: at least one of min and max")


@op(oracle=lambda x, min, max: np.clip(x, min, max), sample=_away_from_limits, errors=(_WITHOUT_LIMITS,))
def clamp(x: Operand, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """``x`` limited to [min, max], numbers or tensors that broadcast; at least one of them must be given.

    Tensors get the gradient where their value is taken. Where min is above max, max is taken.
    """
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max must be given; got None for both")
    x = no_bool("clamp", tensor_of(x), "logical_and or logical_or")
    if not isinstance(min, Tensor) and not isinstance(max, Tensor):
        x = promote(x, *[bound for bound in (min, max) if bound is not None])[0]
        return Clamp.apply(x, _in_range(min, x.dtype), _in_range(max, x.dtype))
    low, high = (_bound(x, bound, sign) for bound, sign in ((min, -1), (max, 1)))
    tensors = promote(x, low, high)
    broadcast_shape("clamp", *(tensor.shape for tensor in tensors))
    return ClampBetween.apply(*tensors)


def _in_range(bound: Any, dtype: np.dtype) -> Any:
    """A limit of integers, which limits no less than what they can hold."""
    if not isinstance(bound, int) or is_floating(dtype):
        return bound
    limits = np.iinfo(dtype)
    return max(limits.min, min(bound, limits.max))


def _bound(x: Tensor, bound: Any, sign: int) -> Any:
    """A limit of ``x``; for None one that limits nothing."""
    if bound is not None:
        return bound
    if is_floating(x.dtype):
        return Tensor(np.asarray(sign * np.inf, x.dtype))
    limits = np.iinfo(x.dtype)
    return Tensor(np.asarray(limits.max if sign > 0 else limits.min, x.dtype))


@op(oracle=lambda x, min, max: np.clip(x, min, max), sample=_away_from_limits)
def clip(x: Operand, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """As ``clamp``, under NumPy's name."""
    return clamp(x, min, max)


def _choice(rng: Rng, dims: Dims) -> Sample:
    shape = some_shape(rng, dims)
    condition = rng.random(broadcastable(rng, shape)) < 0.5
    return Sample((condition, normal(rng, shape), normal(rng, broadcastable(rng, shape))))


_NUMBERS_FOR_TRUTHS = ErrorCase(
    lambda: OPS["where"](*[Tensor(np.zeros(2))] * 3), RuntimeError, "condition has dtype float64; expected bool"
)


@op(is_method=False, oracle=np.where, sample=_choice, errors=(_NUMBERS_FOR_TRUTHS,))
def where(condition: Operand, a: Operand | None = None, b: Operand | None = None) -> Any:
    """``a`` where ``condition`` (bool) holds, else ``b``, broadcast; alone, the indices where it holds."""
    chosen = tensor_of(condition)
    if a is None and b is None:
        return tuple(Tensor(indices) for indices in np.nonzero(np.atleast_1d(chosen.array)))
    if a is None or b is None:
        raise TypeError(f"where: {'a' if a is None else 'b'} is None; expected both a and b, or neither")
    chosen, values = _condition(chosen), {"a": a, "b": b}
    a, b = promote(a, b)
    for name, value in values.items():
        check_number("where", name, value, a.dtype)
    broadcast_shape("where", chosen.shape, a.shape, b.shape)
    return Where.apply(chosen, a, b)


def _condition(condition: Tensor) -> Tensor:
    """``condition`` as bool; uint8 is taken for a mask, as in PyTorch, which warns of it as we do."""
    if condition.dtype == np.uint8:
        warnings.warn("where: a condition of dtype uint8 is taken for a mask; use bool", stacklevel=4)
        return condition.to(dtype=np.bool_)
    if condition.dtype != np.bool_:
        raise RuntimeError(f"where: condition has dtype {condition.dtype}; expected bool")
    return condition


def mask_of(user: str, mask: Tensor) -> Tensor:
    """``mask`` itself; RuntimeError unless it is of dtype bool."""
    if mask.dtype != np.bool_:
        raise RuntimeError(f"{user}: mask has dtype {mask.dtype}; expected bool")
    return mask


def _masked(rng: Rng, dims: Dims) -> Sample:
    shape = some_shape(rng, dims)
    return Sample((normal(rng, shape), rng.random(broadcastable(rng, shape)) < 0.5), {"value": -2.5})


@op(oracle=lambda x, mask, value: np.where(mask, x.dtype.type(value), x), sample=_masked)
def masked_fill(x: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """``x`` with ``value``, a number or a 0-d tensor, where ``mask`` (bool) holds; the two broadcast.

    A tensor ``value`` gets the sum of the gradients where it is written.
    """
    fill = filler("masked_fill", value, x.dtype)
    if fill.ndim:
        raise RuntimeError(f"masked_fill: value is {described(value)}; expected a number or a 0-d tensor")
    broadcast_shape("masked_fill", x.shape, mask_of("masked_fill", mask).shape)
    return Where.apply(mask, fill, x)
