"""Changing a tensor in place: each is an assignment to all of it, so the tape's rules for assignment hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import random
from minigrad.dtypes import category
from minigrad.grad_mode import is_grad_enabled
from minigrad.ops.convert import clone
from minigrad.ops.elementwise import (
    abs,
    add,
    clamp,
    div,
    exp,
    masked_fill,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sqrt,
    sub,
    tanh,
)
from minigrad.ops.index import setitem
from minigrad.ops.select import scatter, scatter_add
from minigrad.tensor import Tensor

Array = np.ndarray

_PIECE = 1 << 20  # numbers drawn at a time


def copy_(x: Tensor, source: Any) -> Tensor:
    """Every element from ``source``, broadcast."""
    setitem(x, ..., source)
    return x


def fill_(x: Tensor, value: Any) -> Tensor:
    return copy_(x, value)


def zero_(x: Tensor) -> Tensor:
    return copy_(x, 0)


def _computed(x: Tensor, result: Tensor) -> Tensor:
    """``x`` overwritten by a result computed from it; RuntimeError where integers would have to hold floats."""
    if category(result.dtype) > category(x.dtype):
        raise RuntimeError(f"in place: the result has dtype {result.dtype}, which a tensor of {x.dtype} cannot hold")
    return copy_(x, result)


def _kept(x: Tensor, *others: Any) -> Tensor:
    """``x``, or a copy of it where a gradient needs the values that are about to be overwritten."""
    needed = is_grad_enabled() and any(isinstance(other, Tensor) and other.requires_grad for other in others)
    return clone(x) if needed else x


def add_(x: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """x += alpha * other."""
    return _computed(x, add(x, other if alpha == 1 else mul(other, alpha)))


def sub_(x: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """x -= alpha * other."""
    return _computed(x, sub(x, other if alpha == 1 else mul(other, alpha)))


def mul_(x: Tensor, other: Any) -> Tensor:
    """x *= other."""
    return _computed(x, mul(_kept(x, other), other))


def div_(x: Tensor, other: Any) -> Tensor:
    """x /= other."""
    return _computed(x, div(_kept(x, other), other))


def clamp_(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max]."""
    return _computed(x, clamp(x, min, max))


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function`` of a tensor, written over that tensor."""

    def changed(x: Tensor, *arguments: Any) -> Tensor:
        return _computed(x, function(_kept(x, x), *arguments))

    changed.__name__, changed.__doc__ = f"{function.__name__}_", f"``{function.__name__}``, in place."
    return changed


neg_, exp_, sqrt_, abs_ = _in_place(neg), _in_place(exp), _in_place(sqrt), _in_place(abs)
tanh_, sigmoid_, relu_, pow_ = _in_place(tanh), _in_place(sigmoid), _in_place(relu), _in_place(pow)
scatter_, scatter_add_ = _in_place(scatter), _in_place(scatter_add)


def masked_fill_(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    return copy_(x, masked_fill(x, mask, value))


def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0) -> Tensor:
    """Fill with draws from U[from_, to)."""
    generator = random.generator()
    return _fill(x, lambda count: generator.uniform(from_, to, count))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with draws from N(mean, std**2)."""
    generator = random.generator()
    return _fill(x, lambda count: generator.normal(mean, std, count))


def _fill(x: Tensor, draw: Callable[[int], Array]) -> Tensor:
    """Fill with draws in float64, a piece at a time: all at once would be twice the memory of a float32 table."""
    values = np.empty(x.shape, x.dtype)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        piece[:] = draw(piece.size)
    return copy_(x, Tensor(values))
