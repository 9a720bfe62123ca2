"""To another dtype, device or memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.device import require_cpu
from minigrad.dtypes import is_floating
from minigrad.function import Context, Function
from minigrad.tensor import Tensor

Array = np.ndarray


class Cast(Function):
    """x in another dtype; the tape casts the gradient back"""

    @staticmethod
    def forward(ctx: Context, x: Array, dtype: np.dtype) -> Array:
        return x.astype(dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return grad, None


class Clone(Function):
    """a copy, on the tape"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        return x.copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return grad


def cast(x: Tensor, dtype: np.dtype) -> Tensor:
    """``x`` in another dtype; on the tape between floating dtypes."""
    if not is_floating(np.dtype(dtype)):
        return Tensor(x.array.astype(dtype))
    return Cast.apply(x, np.dtype(dtype))


def clone(x: Tensor) -> Tensor:
    """A copy with memory of its own, on the tape."""
    return Clone.apply(x)


def to(x: Tensor, *targets: Any, dtype: Any = None, device: Any = None, **_options: Any) -> Tensor:
    """``to(dtype)``, ``to(device)``, ``to(other)``: ``x`` itself where nothing changes."""
    for target in targets:
        if isinstance(target, Tensor):
            dtype = target.dtype
        elif isinstance(target, np.dtype | type):
            dtype = target
        else:
            device = target
    require_cpu(device)
    return x if dtype is None or np.dtype(dtype) == x.dtype else cast(x, np.dtype(dtype))


def type_as(x: Tensor, other: Tensor) -> Tensor:
    return to(x, dtype=other.dtype)


def cpu(x: Tensor) -> Tensor:
    return x


def cuda(x: Tensor, index: Any = None) -> Tensor:
    return to(x, device="cuda")


def contiguous(x: Tensor) -> Tensor:
    """``x`` itself if its elements lie in C order, else a copy."""
    return x if x.is_contiguous() else clone(x)
