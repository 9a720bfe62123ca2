"""Changing a tensor in place: each is an assignment to all of it, so the tape's rules for assignment hold."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import random
from minigrad.arguments import Operand
from minigrad.dtypes import category
from minigrad.grad_mode import is_grad_enabled
from minigrad.ops.choose import clamp, masked_fill
from minigrad.ops.compare import bitwise_and, bitwise_or, bitwise_xor
from minigrad.ops.copies import clone
from minigrad.ops.elementwise import (
    abs,
    add,
    div,
    exp,
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
from minigrad.ops.op import method
from minigrad.ops.rounding import ceil, floor, floor_divide, remainder, round, trunc
from minigrad.ops.select import scatter, scatter_add
from minigrad.random import Generator
from minigrad.tensor import Tensor

Array = np.ndarray

_CHUNK = 1 << 20  # elements drawn at a time


@method
def copy_(x: Tensor, source: Operand) -> Tensor:
    """Every element from ``source``, broadcast."""
    setitem(x, ..., source)
    return x


@method
def fill_(x: Tensor, value: Operand) -> Tensor:
    return copy_(x, value)


@method
def zero_(x: Tensor) -> Tensor:
    return copy_(x, 0)


def _computed(user: str, x: Tensor, result: Tensor) -> Tensor:
    """``x`` overwritten by a result computed from it; RuntimeError where ``x`` cannot hold its dtype or its shape."""
    if category(result.dtype) > category(x.dtype):
        raise RuntimeError(f"{user}: result has dtype {result.dtype}, which a tensor of {x.dtype} cannot hold")
    if result.shape != x.shape:
        raise RuntimeError(f"{user}: result has shape {result.shape}; expected {x.shape}, the shape of x")
    return copy_(x, result)


def _kept(x: Tensor, *others: Any) -> Tensor:
    """``x``, or a copy of it where a gradient needs the values that are about to be overwritten."""
    needed = is_grad_enabled() and any(isinstance(other, Tensor) and other.requires_grad for other in others)
    return clone(x) if needed else x


@method
def add_(x: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """x += alpha * other."""
    return _computed("add_", x, add(x, other if alpha == 1 else mul(other, alpha)))


@method
def sub_(x: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """x -= alpha * other."""
    return _computed("sub_", x, sub(x, other if alpha == 1 else mul(other, alpha)))


@method
def mul_(x: Tensor, other: Operand) -> Tensor:
    """x *= other."""
    return _computed("mul_", x, mul(_kept(x, other), other))


@method
def div_(x: Tensor, other: Operand) -> Tensor:
    """x /= other."""
    return _computed("div_", x, div(_kept(x, other), other))


@method
def clamp_(x: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """x limited to [min, max]."""
    return _computed("clamp_", x, clamp(x, min, max))


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function`` of a tensor, written over that tensor."""

    name = f"{function.__name__}_"

    @functools.wraps(function)  # for its signature
    def changed(x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return _computed(name, x, function(_kept(x, x), *arguments, **options))

    changed.__name__ = changed.__qualname__ = name
    first = next(iter(inspect.signature(function).parameters))
    changed.__annotations__ = function.__annotations__ | {first: "Tensor"}
    changed.__doc__ = f"``{function.__name__}``, in place."
    return changed


for _function in (
    neg, exp, sqrt, abs, tanh, sigmoid, relu, pow, scatter, scatter_add, floor, ceil, round, trunc, floor_divide,
    remainder, bitwise_and, bitwise_or, bitwise_xor,
):  # fmt: skip
    method(_in_place(_function))


@method
def masked_fill_(x: Tensor, mask: Tensor, value: Operand) -> Tensor:
    return _computed("masked_fill_", x, masked_fill(x, mask, value))


@method
def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with draws from U[from_, to); RuntimeError unless both are finite and in order."""
    if not (math.isfinite(from_) and math.isfinite(to) and from_ <= to):
        raise RuntimeError(f"uniform_: got from {from_} to {to}; expected finite numbers in order")
    draws = random.generator(generator)
    return _fill(x, lambda count: draws.uniform(from_, to, count))


@method
def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with draws from N(mean, std**2); RuntimeError for a negative std."""
    if not std >= 0:
        raise RuntimeError(f"normal_: std is {std}; expected 0 or more")
    draws = random.generator(generator)
    return _fill(x, lambda count: draws.normal(mean, std, count))


def _fill(x: Tensor, draw: Callable[[int], Array]) -> Tensor:
    """Fill with draws in float64, a chunk at a time: all at once would be twice the memory of a float32 table."""
    values = np.empty(x.shape, x.dtype)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        chunk[:] = draw(chunk.size)
    return copy_(x, Tensor(values))
