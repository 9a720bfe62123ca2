"""Arrays of several shapes side by side: the shape that all are stretched to, and the gradient of one that was."""

from __future__ import annotations

import functools
from typing import Any


def broadcast_shape(user: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all broadcast to; RuntimeError where there is none."""
    result = shapes[0]
    for shape in shapes[1:]:
        if shape != result:
            result = _broadcast_pair(user, result, shape)
    return result


@functools.lru_cache  # loops ask the same over and over
def _broadcast_pair(user: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    kept = len(longer) - len(shorter)
    sizes = [m if n == 1 else n if m == 1 or m == n else -1 for m, n in zip(longer[kept:], shorter, strict=True)]
    if -1 in sizes:
        raise RuntimeError(f"{user}: shapes {a} and {b} do not broadcast; expected equal sizes, or 1, from the right")
    return (*longer[:kept], *sizes)


def stretches_to(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether broadcasting makes ``other`` of ``shape``."""
    kept = len(other) - len(shape)
    return kept >= 0 and all(size in (1, wanted) for size, wanted in zip(shape, other[kept:], strict=True))


def unbroadcast(grad: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting from ``shape``: sum over the axes that broadcasting added or stretched."""
    if grad.shape == shape:
        return grad
    if grad.ndim > len(shape):
        grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and grad.shape[axis] != 1)
    return grad.sum(axis=stretched, keepdims=True) if stretched else grad
