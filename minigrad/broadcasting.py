"""Arrays of two shapes side by side: the gradient of one that was stretched."""

from __future__ import annotations

from typing import Any

import numpy as np


def stretches_to(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether broadcasting makes ``other`` of ``shape``."""
    try:
        return np.broadcast_shapes(shape, other) == other
    except ValueError:
        return False


def unbroadcast(grad: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting from ``shape``: sum over the axes that broadcasting added or stretched."""
    if grad.shape == shape:
        return grad
    if grad.ndim > len(shape):
        grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and grad.shape[axis] != 1)
    return grad.sum(axis=stretched, keepdims=True) if stretched else grad
