"""Reading and writing by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.function import Context, Function
from minigrad.grad_mode import is_grad_enabled
from minigrad.ops.common import normalize_dim, to_dtype, unbroadcast
from minigrad.tensor import Tensor

Array = np.ndarray


def _plain(index: Any) -> Any:
    """An index as NumPy wants it; arrays are copied, since backward needs them as they are now."""
    if isinstance(index, tuple):
        return tuple(_plain(part) for part in index)
    if isinstance(index, Tensor):
        return index.array.copy() if index.ndim else index.array[()]
    return index.copy() if isinstance(index, np.ndarray) else index


def _may_repeat(index: Any) -> bool:
    """Whether an index can name one element twice: only integer arrays can."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, list | np.ndarray) and np.asarray(p).dtype != np.bool_ for p in parts)


class GetItem(Function):
    """y = x[index]; an element read twice gets both gradients"""

    view = True

    @staticmethod
    def forward(ctx: Context, x: Array, index: Any) -> Array:
        ctx.shape, ctx.index = x.shape, index
        return np.asarray(x[index])

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dx = np.zeros(ctx.shape, grad.dtype)
        if _may_repeat(ctx.index):
            np.add.at(dx, ctx.index, grad)
        else:
            dx[ctx.index] = grad
        return dx, None


class SetItem(Function):
    """base[index] = value, in place; what was overwritten gets no gradient, the value gets that of its place

    One buffer carries the gradient through a whole loop of assignments: each step reads its part and clears it.
    """

    consumes_grad = True

    @staticmethod
    def forward(ctx: Context, base: Array, value: Array, index: Any) -> Array:
        # Leading dimensions of size 1 mean nothing in an assignment, but NumPy refuses them for a single element.
        ones = next((axis for axis, n in enumerate(value.shape) if n != 1), value.ndim)
        ctx.index, ctx.value_shape, ctx.core_shape = index, value.shape, value.shape[ones:]
        base[index] = value.reshape(ctx.core_shape)
        return base

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dvalue = None
        if ctx.needs_input_grad[1]:
            dvalue = unbroadcast(np.array(grad[ctx.index]), ctx.core_shape).reshape(ctx.value_shape)
        grad[ctx.index] = 0
        return grad, dvalue, None


class Gather(Function):
    """y[..., i, ...] = x[..., index[..., i, ...], ...] along a dim; an element read twice gets both gradients"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, index: Array) -> Array:
        where: list[Array] = list(np.indices(index.shape, sparse=True))
        where[dim] = index
        ctx.where, ctx.shape = tuple(where), x.shape
        return x[ctx.where]

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dx = np.zeros(ctx.shape, grad.dtype)
        np.add.at(dx, ctx.where, grad)
        return dx, None, None


def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]``: a view for slices and integers, a copy for arrays and masks."""
    return GetItem.apply(x, _plain(index))


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value`` on the tape: the gradient goes to ``value``, and to what of ``x`` is left.

    RuntimeError for a leaf that requires a gradient, and for a view while a gradient is to be recorded: assign to the
    tensor that it views.
    """
    if not isinstance(value, Tensor):
        value = Tensor(np.asarray(value).astype(x.dtype))
    value = to_dtype(value, x.dtype)
    recording = is_grad_enabled() and (x.requires_grad or value.requires_grad)
    if recording:
        _require_assignable(x)
    if np.may_share_memory(value.array, x.array):
        value = value.clone()
    result = SetItem.apply(x, value, _plain(index))
    x.changed_in_place(recording)
    if result.grad_fn is not None:
        x.attach(result.grad_fn, 0)


def _require_assignable(x: Tensor) -> None:
    if x.is_leaf and x.requires_grad:
        raise RuntimeError(
            "in-place assignment to a leaf that requires a gradient; use no_grad() or assign to a clone()"
        )
    if x.is_view:
        raise RuntimeError(
            "in-place assignment to a view cannot be recorded on the tape; assign to the tensor it views"
        )


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Elements of ``x`` picked along ``dim`` by ``index`` (int64, as many dimensions as ``x``)."""
    if index.ndim != x.ndim:
        raise RuntimeError(f"gather: index has {index.ndim} dimensions; expected {x.ndim} as the input")
    return Gather.apply(x, normalize_dim(dim, x.ndim), index.array.copy())


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Rows ``index`` (int64, 1-D) of dimension ``dim``."""
    return getitem(x, (slice(None),) * normalize_dim(dim, x.ndim) + (index,))


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` (bool, the shape of ``x``) holds, as a 1-D tensor."""
    return getitem(x, mask)
