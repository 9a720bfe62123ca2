"""Reading and writing by index."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import kernels
from minigrad.arguments import Operand
from minigrad.broadcasting import unbroadcast
from minigrad.deferred import PartGradient
from minigrad.device import resolve, two_devices, use
from minigrad.function import Context, Function
from minigrad.grad_mode import is_grad_enabled
from minigrad.ops.common import filler, normalize_dim
from minigrad.ops.index_errors import index_error
from minigrad.ops.op import op
from minigrad.tensor import Tensor

Array = np.ndarray


Steps = tuple[Any, ...]  # indices applied one after the other; all but the last are of integers and slices


def _items(index: Any) -> list[Any]:
    """The items of an index, its tensors as arrays of their own, since backward needs them as they are now."""
    return [_plain(item) for item in (index if isinstance(index, tuple) else (index,))]


def _steps(items: list[Any], x: Tensor) -> Steps:
    """The items of an index of ``x`` as NumPy wants them, in steps.

    ``x[0, :, rows]`` picks element 0 first, as in PyTorch; NumPy would count the 0 as another array of indices and put
    the picked dimension in front.
    """
    if x.is_cuda:
        items = [np.array(item, None if item else np.int64) if isinstance(item, list) else item for item in items]
        items = [kernels.like(item, x.array) if isinstance(item, np.ndarray) else item for item in items]
        _report_out_of_range(items, x.shape)
    elif use.started and any(kernels.on_device(item) for item in items):
        raise two_devices("getitem: a tensor and its index", x.device, resolve("cuda"))
    is_number = [isinstance(item, int | np.integer) and not isinstance(item, bool | np.bool_) for item in items]
    if not any(is_number) or not any(map(_is_list, items)):
        return (tuple(items),)
    first: list[Any] = []
    for item, number in zip(items, is_number, strict=True):
        dims = np.ndim(item) if _is_list(item) and _is_mask(item) else 1
        first += [item] if number or item is Ellipsis else [] if item is None else [slice(None)] * dims
    return tuple(first), tuple(item for item, number in zip(items, is_number, strict=True) if not number)


def _report_out_of_range(items: list[Any], shape: tuple[int, ...]) -> None:
    """Have indices on a GPU looked at there; CuPy itself takes them modulo the size."""
    used = [
        0 if item is None or item is Ellipsis else item.ndim if _is_list(item) and _is_mask(item) else 1
        for item in items
    ]
    axis = 0
    for item, dims in zip(items, used, strict=True):
        if item is Ellipsis:
            axis += len(shape) - sum(used)
        elif _is_list(item) and not _is_mask(item) and axis < len(shape):
            report_index(item, shape[axis])
        axis += dims


def report_index(index: Array, size: int) -> None:
    """Have an index on a GPU looked at: -size to size - 1."""
    above = index >= size
    kernels.report_ids(above if index.dtype.kind == "u" else above | (index < -size))


def _plain(item: Any) -> Any:
    """A item of an index as NumPy takes it; uint8 tensors are masks, as in PyTorch, which warns of them as we do."""
    if isinstance(item, Tensor) and item.dtype == np.uint8:
        warnings.warn("index: a tensor of dtype uint8 is taken for a mask; use bool", stacklevel=5)
        return item.array.astype(np.bool_)
    if isinstance(item, Tensor):
        return item.array.copy() if item.ndim else kernels.to_host(item.array)[()]
    return item.copy() if isinstance(item, np.ndarray) else item


def _is_list(item: Any) -> bool:
    return isinstance(item, list) or kernels.is_array(item)


def _is_mask(item: Any) -> bool:
    return (np.asarray(item) if isinstance(item, list) else item).dtype == np.bool_


def _lists_rows(index: tuple) -> bool:
    """Whether an index is a list of rows behind full slices: x[:, rows]."""
    *before, rows = index if len(index) > 1 else (None, None)
    listed = kernels.is_array(rows) and rows.ndim == 1 and not _is_mask(rows)
    return listed and all(isinstance(item, slice) and item == slice(None) for item in before)


def _may_repeat(index: tuple) -> bool:
    """Whether an index can name one element twice: only integer arrays can."""
    return any(_is_list(item) and not _is_mask(item) for item in index)


def _target(x: Array, steps: Steps) -> Array:
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
        target, index = _target(x, steps), steps[-1]
        # Behind full slices NumPy lays rows that are listed in another order, and whoever reads them copies all again.
        selected = target.take(index[-1], len(index) - 1) if _lists_rows(index) else target[index]
        # A single element comes from NumPy as a number; with an ellipsis it is a view of 0 dimensions.
        return target[(*index, ...)] if isinstance(selected, np.generic) else selected

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        def add(dx: Array) -> None:
            target, index = _target(dx, ctx.steps), ctx.steps[-1]
            if _may_repeat(index):
                kernels.add_at(target, index, grad)
            else:
                target[index] += grad

        return PartGradient(add, ctx.shape, grad), None

    @staticmethod
    def put_back(base: Tensor, changed: Tensor, *constants: Any) -> None:
        setitem(base, constants[0][-1], changed)


class SetItem(Function):
    """base[index] = value, in place; what was overwritten gets no gradient, the value gets that of what it wrote

    One buffer carries the gradient through a whole loop of assignments: each step reads what it assigned and clears it.
    """

    consumes_grad = True
    in_place = True

    @staticmethod
    def forward(ctx: Context, base: Array, value: Array, steps: Steps) -> Array:
        # Leading dimensions of size 1 mean nothing in an assignment, but NumPy refuses them for a single element.
        ones = next((axis for axis, n in enumerate(value.shape) if n != 1), value.ndim)
        ctx.steps, ctx.value_shape, ctx.core_shape = steps, value.shape, value.shape[ones:]
        _target(base, steps)[steps[-1]] = value.reshape(ctx.core_shape)  # a number if it comes from the host
        return base

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        target, index = _target(grad, ctx.steps), ctx.steps[-1]
        dvalue = None
        if ctx.needs_input_grad[1]:
            selected = kernels.as_array(target[index].copy())
            dvalue = unbroadcast(selected, ctx.core_shape).reshape(ctx.value_shape)
        target[index] = 0
        return grad, dvalue, None


class Gather(Function):
    """y[..., i, ...] = x[..., index[..., i, ...], ...] along a dim; an element read twice gets both gradients"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, index: Array) -> Array:
        ctx.where, ctx.shape = coordinates(index, dim), x.shape
        return x[ctx.where]

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return PartGradient(lambda dx: kernels.add_at(dx, ctx.where, grad), ctx.shape, grad), None, None


def coordinates(where: Array, dim: int) -> tuple[Array, ...]:
    """The coordinates (..., where[i, ...], ...): position ``dim`` comes from ``where``, the others are its own."""
    shape = where.shape
    own = [
        np.arange(n, like=where).reshape([-1 if other == axis else 1 for other in range(len(shape))])
        for axis, n in enumerate(shape)
    ]
    return (*own[:dim], where, *own[dim + 1 :])


@op(is_method=False)
def getitem(x: Tensor, index: Any) -> Tensor:
    """``x[index]``: a view for slices and integers, a copy for arrays and masks; IndexError where it does not fit."""
    items = _items(index)
    try:
        return GetItem.apply(x, _steps(items, x))
    except (IndexError, TypeError, ValueError):
        raise index_error("getitem", items, x.shape) from None


@op(is_method=False)
def setitem(x: Tensor, index: Any, value: Operand) -> None:
    """``x[index] = value`` on the tape: the gradient goes to ``value``, and to what of ``x`` is left.

    An assignment to a view is an assignment to the same elements of the tensor it views. RuntimeError for a leaf that
    requires a gradient, or a view of one, and for a value that does not broadcast to them; IndexError for an index that
    does not fit.
    """
    source = _source(x, value)
    recording = is_grad_enabled() and (x.requires_grad or source.requires_grad)
    if recording and x.is_leaf and x.requires_grad:
        raise RuntimeError(
            "in-place assignment to a leaf that requires a gradient; use no_grad() or assign to a clone()"
        )
    if source.is_cuda == x.is_cuda and np.may_share_memory(source.array, x.array):
        source = source.clone()
    if recording and x.view_of is not None:
        return _assign_to_view(x, index, source)
    result = _assigned(x, _items(index), source)
    x.changed_in_place(recording)
    if result.grad_fn is not None:
        x.take_place_of(result)


def _source(x: Tensor, value: Any) -> Tensor:
    """What is assigned to elements of ``x``, in its dtype and where it lies."""
    source = filler("setitem", value, x.dtype)
    moved = source.is_cuda != x.is_cuda and (source.ndim or source.requires_grad or not x.is_cuda)
    return source.to(device=x.device) if moved else source


def _assigned(x: Tensor, items: list[Any], value: Tensor) -> Tensor:
    if not x.is_cuda and not x.array.flags.writeable:
        raise RuntimeError("setitem: the tensor is read-only, or its elements share memory; clone() it first")
    try:
        return SetItem.apply(x, value, _steps(items, x))
    except (IndexError, TypeError, ValueError):
        raise _refusal(x, items, value) from None


def _refusal(x: Tensor, items: list[Any], value: Tensor) -> Exception:
    """Why an assignment failed: its index does not fit, or else its value."""
    try:
        selected = GetItem.apply(x.detach(), _steps(items, x)).shape
    except (IndexError, TypeError, ValueError):
        return index_error("setitem", items, x.shape)
    return RuntimeError(f"setitem: value has shape {value.shape}; expected one that broadcasts to {selected}")


def _assign_to_view(x: Tensor, index: Any, value: Tensor) -> None:
    """Change a copy of the view, assign that to the base, and take the view again."""
    assert x.view_of is not None
    base, function, constants = x.view_of
    changed = x.clone()
    setitem(changed, index, value)
    function.put_back(base, changed, *constants)
    x.take_place_of(function.apply(base, *constants))


def int64_index(user: str, index: Tensor, x: Tensor) -> Tensor:
    """``index`` (int32 or int64) as int64; RuntimeError for another dtype, or unless it lies where ``x`` lies."""
    if index.dtype not in (np.int32, np.int64):
        raise RuntimeError(f"{user}: index has dtype {index.dtype}; expected int64 or int32")
    if index.is_cuda != x.is_cuda:
        raise two_devices(user, x.device, index.device)
    return index.to(dtype=np.int64)


def index_along(user: str, x: Tensor, axis: int, index: Tensor) -> Array:
    """A copy of ``index``; RuntimeError unless it has the dimensions of ``x`` and counts its elements along one."""
    index = int64_index(user, index, x)
    if index.ndim != x.ndim:
        raise RuntimeError(f"{user}: index has {index.ndim} dimensions; expected {x.ndim} as the input")
    if any(n > m for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if d != axis):
        raise RuntimeError(
            f"{user}: index has shape {index.shape}; expected no size above those of {x.shape} but {axis}"
        )
    size = x.shape[axis] if x.ndim else 1
    if x.is_cuda:
        report_index(index.array, size)
    elif index.numel() and not (index.array.min() >= 0 and index.array.max() < size):
        wrong = index.array[(index.array < 0) | (index.array >= size)].flat[0]
        raise RuntimeError(f"{user}: index {wrong} is out of bounds for dimension {axis} with size {size}")
    return index.array.copy()


@op()
def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Elements of ``x`` picked along ``dim`` by ``index`` (int64 or int32, as many dimensions as ``x``)."""
    axis = normalize_dim(dim, x.ndim, "gather")
    elements = index_along("gather", x, axis, index)
    return Gather.apply(x, axis, elements) if x.ndim else x.clone()


@op()
def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Rows ``index`` (integers, 1-D or 0-D) of dimension ``dim``."""
    axis = normalize_dim(dim, x.ndim, "index_select")
    index = int64_index("index_select", index, x)
    if index.ndim > 1:
        raise IndexError(f"index_select: index has shape {index.shape}; expected 1 dimension")
    size = x.shape[axis] if x.ndim else 1
    if index.numel() and not x.is_cuda and not (index.array.min() >= 0 and index.array.max() < size):
        raise IndexError(f"index_select: index holds {index.tolist()}; expected 0 to {size - 1}")
    if not x.ndim:
        return x.clone()
    return getitem(x, (slice(None),) * axis + (index.reshape(index.numel()),))
