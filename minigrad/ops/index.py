"""Reading and writing by index."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad.device import resolve, two_devices, use
from minigrad.function import Context, Function
from minigrad.grad_mode import is_grad_enabled
from minigrad.ops.common import as_tensor, normalize_dim, to_dtype, unbroadcast
from minigrad.tensor import Tensor

Array = np.ndarray


Steps = tuple[Any, ...]  # indices applied one after the other; all but the last are of integers and slices


def _steps(index: Any, x: Tensor) -> Steps:
    """An index of ``x`` as NumPy wants it, in steps; arrays are copied, since backward needs them as they are now.

    ``x[0, :, rows]`` picks element 0 first, as in PyTorch; NumPy would count the 0 as another array of indices and put
    the picked dimension in front.
    """
    parts = [_plain(part) for part in (index if isinstance(index, tuple) else (index,))]
    if x.is_cuda:
        parts = [np.array(part, None if part else np.int64) if isinstance(part, list) else part for part in parts]
        parts = [kernels.like(part, x.array) if isinstance(part, np.ndarray) else part for part in parts]
        _report_out_of_range(parts, x.shape)
    elif use.started and any(kernels.on_device(part) for part in parts):
        raise two_devices("getitem: a tensor and its index", x.device, resolve("cuda"))
    is_number = [isinstance(part, int | np.integer) and not isinstance(part, bool | np.bool_) for part in parts]
    if not any(is_number) or not any(map(_is_list, parts)):
        return (tuple(parts),)
    first: list[Any] = []
    for part, number in zip(parts, is_number, strict=True):
        dims = np.ndim(part) if _is_list(part) and _is_mask(part) else 1
        first += [part] if number or part is Ellipsis else [] if part is None else [slice(None)] * dims
    return tuple(first), tuple(part for part, number in zip(parts, is_number, strict=True) if not number)


def _report_out_of_range(parts: list[Any], shape: tuple[int, ...]) -> None:
    """Have indices on a GPU looked at there; CuPy itself takes them modulo the size."""
    used = [
        0 if part is None or part is Ellipsis else part.ndim if _is_list(part) and _is_mask(part) else 1
        for part in parts
    ]
    axis = 0
    for part, dims in zip(parts, used, strict=True):
        if part is Ellipsis:
            axis += len(shape) - sum(used)
        elif _is_list(part) and not _is_mask(part) and axis < len(shape):
            report_index(part, shape[axis])
        axis += dims


def report_index(index: Array, size: int) -> None:
    """Have an index on a GPU looked at: -size to size - 1."""
    above = index >= size
    kernels.report_ids(above if index.dtype.kind == "u" else above | (index < -size))


def _plain(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.array.copy() if part.ndim else kernels.to_host(part.array)[()]
    return part.copy() if isinstance(part, np.ndarray) else part


def _is_list(part: Any) -> bool:
    return isinstance(part, list) or kernels.is_array(part)


def _is_mask(part: Any) -> bool:
    return (np.asarray(part) if isinstance(part, list) else part).dtype == np.bool_


def _may_repeat(index: tuple) -> bool:
    """Whether an index can name one element twice: only integer arrays can."""
    return any(_is_list(part) and not _is_mask(part) for part in index)


def _place(x: Array, steps: Steps) -> Array:
    """The view of ``x`` that the last step is applied to."""
    for step in steps[:-1]:
        x = x[step]
    return x


class GetItem(Function):
    """y = x[index]; an element read twice gets both gradients"""

    view = True

    @staticmethod
    def forward(ctx: Context, x: Array, steps: Steps) -> Array:
        ctx.shape, ctx.steps = x.shape, steps
        place, index = _place(x, steps), steps[-1]
        part = place[index]
        # A single element comes from NumPy as a number; with an ellipsis it is a view of 0 dimensions.
        return place[(*index, ...)] if isinstance(part, np.generic) else part

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dx = np.zeros(ctx.shape, grad.dtype, like=grad)
        place, index = _place(dx, ctx.steps), ctx.steps[-1]
        if _may_repeat(index):
            kernels.add_at(place, index, grad)
        else:
            place[index] = grad
        return dx, None

    @staticmethod
    def put_back(base: Tensor, changed: Tensor, *constants: Any) -> None:
        setitem(base, constants[0][-1], changed)


class SetItem(Function):
    """base[index] = value, in place; what was overwritten gets no gradient, the value gets that of its place

    One buffer carries the gradient through a whole loop of assignments: each step reads its part and clears it.
    """

    consumes_grad = True

    @staticmethod
    def forward(ctx: Context, base: Array, value: Array, steps: Steps) -> Array:
        # Leading dimensions of size 1 mean nothing in an assignment, but NumPy refuses them for a single element.
        ones = next((axis for axis, n in enumerate(value.shape) if n != 1), value.ndim)
        ctx.steps, ctx.value_shape, ctx.core_shape = steps, value.shape, value.shape[ones:]
        _place(base, steps)[steps[-1]] = value.reshape(ctx.core_shape)  # a number if it comes from the host
        return base

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        place, index = _place(grad, ctx.steps), ctx.steps[-1]
        dvalue = None
        if ctx.needs_input_grad[1]:
            part = kernels.as_array(place[index].copy())
            dvalue = unbroadcast(part, ctx.core_shape).reshape(ctx.value_shape)
        place[index] = 0
        return grad, dvalue, None


class Gather(Function):
    """y[..., i, ...] = x[..., index[..., i, ...], ...] along a dim; an element read twice gets both gradients"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, index: Array) -> Array:
        ctx.where, ctx.shape = places(index, dim), x.shape
        return x[ctx.where]

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dx = np.zeros(ctx.shape, grad.dtype, like=grad)
        kernels.add_at(dx, ctx.where, grad)
        return dx, None, None


def places(where: Array, dim: int) -> tuple[Array, ...]:
    """The places (..., where[i, ...], ...): position ``dim`` comes from ``where``, the others are its own."""
    shape = where.shape
    own = [
        np.arange(n, like=where).reshape([-1 if other == axis else 1 for other in range(len(shape))])
        for axis, n in enumerate(shape)
    ]
    return (*own[:dim], where, *own[dim + 1 :])


def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]``: a view for slices and integers, a copy for arrays and masks."""
    return GetItem.apply(x, _steps(index, x))


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value`` on the tape: the gradient goes to ``value``, and to what of ``x`` is left.

    An assignment to a view is an assignment to its part of the tensor it views. RuntimeError for a leaf that requires
    a gradient, or a view of one.
    """
    if not isinstance(value, Tensor):
        value = as_tensor(value) if kernels.on_device(value) else Tensor(np.asarray(value).astype(x.dtype))
    value = to_dtype(value, x.dtype)
    if value.is_cuda != x.is_cuda and (value.ndim or value.requires_grad or not x.is_cuda):
        value = value.to(device=x.device)
    recording = is_grad_enabled() and (x.requires_grad or value.requires_grad)
    if recording and x.is_leaf and x.requires_grad:
        raise RuntimeError(
            "in-place assignment to a leaf that requires a gradient; use no_grad() or assign to a clone()"
        )
    if value.is_cuda == x.is_cuda and np.may_share_memory(value.array, x.array):
        value = value.clone()
    if recording and x.view_of is not None:
        return _assign_to_view(x, index, value)
    result = SetItem.apply(x, value, _steps(index, x))
    x.changed_in_place(recording)
    if result.grad_fn is not None:
        x.attach(result.grad_fn, 0)


def _assign_to_view(x: Tensor, index: Any, value: Tensor) -> None:
    """Change a copy of the view, assign that to the base, and take the view again."""
    assert x.view_of is not None
    base, function, constants = x.view_of
    changed = x.clone()
    setitem(changed, index, value)
    function.put_back(base, changed, *constants)
    x.take_place_of(function.apply(base, *constants))


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Elements of ``x`` picked along ``dim`` by ``index`` (int64, as many dimensions as ``x``)."""
    if index.ndim != x.ndim:
        raise RuntimeError(f"gather: index has {index.ndim} dimensions; expected {x.ndim} as the input")
    if index.is_cuda != x.is_cuda:
        raise two_devices("gather", x.device, index.device)
    if x.is_cuda and x.ndim:
        report_index(index.array, x.shape[normalize_dim(dim, x.ndim)])
    return Gather.apply(x, normalize_dim(dim, x.ndim), index.array.copy())


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Rows ``index`` (int64, 1-D) of dimension ``dim``."""
    return getitem(x, (slice(None),) * normalize_dim(dim, x.ndim) + (index,))


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` (bool, the shape of ``x``) holds, as a 1-D tensor."""
    return getitem(x, mask)
