"""Changing a tensor in place: each is an assignment to all of it, so the tape's rules for assignment hold."""

from __future__ import annotations

from typing import Any

from minigrad import random
from minigrad.grad_mode import is_grad_enabled
from minigrad.ops.convert import clone
from minigrad.ops.elementwise import add, clamp, div, masked_fill, mul, sub
from minigrad.ops.index import setitem
from minigrad.tensor import Tensor


def copy_(x: Tensor, source: Any) -> Tensor:
    """Every element from ``source``, broadcast."""
    setitem(x, ..., source)
    return x


def fill_(x: Tensor, value: Any) -> Tensor:
    return copy_(x, value)


def zero_(x: Tensor) -> Tensor:
    return copy_(x, 0)


def add_(x: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """x += alpha * other."""
    return copy_(x, add(x, other if alpha == 1 else mul(other, alpha)))


def sub_(x: Tensor, other: Any) -> Tensor:
    return copy_(x, sub(x, other))


def mul_(x: Tensor, other: Any) -> Tensor:
    return copy_(x, mul(_kept(x, other), other))


def div_(x: Tensor, other: Any) -> Tensor:
    return copy_(x, div(_kept(x, other), other))


def _kept(x: Tensor, other: Any) -> Tensor:
    """``x``, or a copy of it where the gradient of ``other`` needs the values that are about to be overwritten."""
    needed = is_grad_enabled() and isinstance(other, Tensor) and other.requires_grad
    return clone(x) if needed else x


def clamp_(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return copy_(x, clamp(x, min, max))


def masked_fill_(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    return copy_(x, masked_fill(x, mask, value))


def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0) -> Tensor:
    """Fill with draws from U[from_, to)."""
    return copy_(x, Tensor(random.generator().uniform(from_, to, x.shape).astype(x.dtype)))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with draws from N(mean, std**2)."""
    return copy_(x, Tensor(random.generator().normal(mean, std, x.shape).astype(x.dtype)))
