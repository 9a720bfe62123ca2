"""Ops that order elements along a dimension: extremes with their indices, sorting, the k largest.

NaN counts as larger than every number, as in PyTorch: it comes first among the largest and last among the smallest.
The extremes themselves are NaN wherever one takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kernels import as_array
from minigrad.function import Context, Function
from minigrad.ops import choose
from minigrad.ops.common import normalize_dim
from minigrad.ops.op import CASES, OPS, op, refuses_dim
from minigrad.ops.op_case import Dims, OpCase, Rng, Sample, distinct, numpy_reduction, over_all, over_dim, some_dim
from minigrad.ops.reduce import Extreme, require_elements
from minigrad.tensor import Tensor

Array = np.ndarray


class ValuesIndices(NamedTuple):
    """Values picked along a dimension, and where they stand."""

    values: Tensor
    indices: Tensor


class MedianAlong(Function):
    """y, index = the element in the middle along one dim, the lower of two; the first NaN if there is one"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, keepdim: bool) -> tuple[Array, Array]:
        middle = (x.shape[dim] - 1) // 2
        index = _order(x, dim, False)[(slice(None),) * dim + (slice(middle, middle + 1),)]
        if x.dtype.kind == "f":
            nan = np.isnan(x)
            index = np.where(nan.any(axis=dim, keepdims=True), np.expand_dims(nan.argmax(axis=dim), dim), index)
        ctx.index, ctx.shape, ctx.dim, ctx.keepdim = index, x.shape, dim, keepdim
        values = np.take_along_axis(x, index, dim)
        return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))

    @staticmethod
    def backward(ctx: Context, grad: Array, _index: None) -> tuple:
        grad = grad if ctx.keepdim else np.expand_dims(grad, ctx.dim)
        return _spread(grad, ctx.index, ctx.shape, ctx.dim), None, None


class Median(Function):
    """y = the element in the middle of all; those that are equal to it share the gradient"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        flat = x.reshape(-1)
        y = flat[_order(flat, 0, False)[(flat.size - 1) // 2]]
        if x.dtype.kind == "f":
            y = np.where(np.isnan(flat).any(), np.nan, y).astype(x.dtype)
        ctx.save_for_backward((x == y) | ((x != x) & (y != y)))
        return as_array(y)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (where,) = ctx.saved
        return as_array(np.where(where, grad / where.sum(dtype=grad.dtype), grad.dtype.type(0)))


def _index_of_extreme(x: Array, dim: int, smallest: bool) -> Array:
    """Where along a dim the largest stands. CuPy takes no maximum of a zero-size array, not even of no row."""
    if x.size:
        return as_array((x.argmin if smallest else x.argmax)(axis=dim))
    return np.empty([n for axis, n in enumerate(x.shape) if axis != dim], np.int64, like=x)


def _spread(grad: Array, index: Array, shape: tuple[int, ...], dim: int) -> Array:
    """Zeros of a shape with the gradient where an index along a dim points."""
    dx = np.zeros(shape, grad.dtype, like=grad)
    np.put_along_axis(dx, index, grad, dim)
    return dx


class ExtremeAlong(Function):
    """y, index = the largest (or smallest) x along one dim; the gradient goes to that one element"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, keepdim: bool, smallest: bool) -> tuple[Array, Array]:
        index = np.expand_dims(_index_of_extreme(x, dim, smallest), dim)
        ctx.index, ctx.shape, ctx.dim, ctx.keepdim = index, x.shape, dim, keepdim
        values = np.take_along_axis(x, index, dim)
        return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))

    @staticmethod
    def backward(ctx: Context, grad: Array, _index: None) -> tuple:
        grad = grad if ctx.keepdim else np.expand_dims(grad, ctx.dim)
        return _spread(grad, ctx.index, ctx.shape, ctx.dim), None, None, None


class TopK(Function):
    """the k largest along a dim, equal ones by index; the gradient goes back where they came from"""

    @staticmethod
    def forward(ctx: Context, x: Array, k: int, dim: int, largest: bool) -> tuple[Array, Array]:
        index = _order(x, dim, largest)[(slice(None),) * dim + (slice(k),)]
        ctx.index, ctx.shape, ctx.dim = index, x.shape, dim
        return np.take_along_axis(x, index, dim), index

    @staticmethod
    def backward(ctx: Context, grad: Array, _index: None) -> tuple:
        return _spread(grad, ctx.index, ctx.shape, ctx.dim), None, None, None


def _order(x: Array, dim: int, descending: bool) -> Array:
    """The indices of the ordered elements along a dim; equal ones by index, NaN as the largest.

    Downwards it is the order upwards of the mirrored array, mirrored. To negate the values would put NaN last, and fail
    for unsigned integers and truths.
    """
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    return x.shape[dim] - 1 - np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)


def _ordered(user: str, x: Tensor, dim: int, descending: bool, k: int | None = None) -> ValuesIndices:
    """The first ``k`` (all if None) of the ordered elements. A 0-d tensor is one element in order."""
    axis = normalize_dim(dim, x.ndim, user)
    size = x.shape[axis] if x.ndim else 1
    k = size if k is None else k
    if not 0 <= k <= size:
        raise RuntimeError(f"{user}: k is {k}; expected 0 to {size}, the size of dimension {dim}")
    pair = TopK.apply(x if x.ndim else x.reshape(1), int(k), axis, descending)
    return ValuesIndices(*(pair if x.ndim or not k else [tensor.reshape(()) for tensor in pair]))


def _extreme(user: str, x: Tensor, dim: Any, keepdim: bool, smallest: bool) -> Any:
    """The extreme of all, or with ``dim`` those along it and their indices."""
    if dim is None:
        dims = tuple(range(x.ndim))
        require_elements(user, x, dims)
        return Extreme.apply(x, dims, False, smallest, True)
    axis = normalize_dim(dim, x.ndim, user)
    if not x.ndim:
        return ValuesIndices(*ExtremeAlong.apply(x.reshape(1), 0, False, smallest))
    require_elements(user, x, (axis,))
    return ValuesIndices(*ExtremeAlong.apply(x, axis, keepdim, smallest))


def _with_indices(value: Callable, index: Callable) -> Callable[..., tuple]:
    return lambda x, dim, keepdim: (value(x, axis=dim, keepdims=keepdim), index(x, axis=dim, keepdims=keepdim))


@op(oracle=_with_indices(np.max, np.argmax), sample=over_dim(distinct), min_size=1)
def max(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """``max(x)``: the largest. ``max(x, dim)``: (values, indices). ``max(x, other)``: elementwise."""
    return choose.maximum(x, dim) if isinstance(dim, Tensor) else _extreme("max", x, dim, keepdim, False)


@op(oracle=_with_indices(np.min, np.argmin), sample=over_dim(distinct), min_size=1)
def min(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """As ``max``, the smallest."""
    return choose.minimum(x, dim) if isinstance(dim, Tensor) else _extreme("min", x, dim, keepdim, True)


for _name, _oracle in (("max", np.max), ("min", np.min)):
    CASES.append(OpCase(f"{_name}[all]", OPS[_name], _oracle, over_all, min_size=1))


def _middle(x: Array, axis: int, keepdims: bool) -> Array:
    return np.quantile(x, 0.5, axis=axis, keepdims=keepdims, method="lower").astype(x.dtype)


def _where_middle(x: Array, axis: int, keepdims: bool) -> Array:
    return (x == _middle(x, axis, True)).argmax(axis=axis, keepdims=keepdims)


@op(
    oracle=_with_indices(_middle, _where_middle), sample=over_dim(distinct), min_size=1, errors=(refuses_dim("median"),)
)
def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """``median(x)``: the element in the middle. ``median(x, dim)``: (values, indices).

    Of two in the middle it is the lower; NaN where one takes part. In ``median(x)`` equal ones share the gradient.
    """
    if dim is None:
        require_elements("median", x, tuple(range(x.ndim)))
        return Median.apply(x)
    axis = normalize_dim(dim, x.ndim, "median")
    if not x.ndim:
        return ValuesIndices(*(each.reshape(()) for each in MedianAlong.apply(x.reshape(1), 0, False)))
    require_elements("median", x, (axis,))
    return ValuesIndices(*MedianAlong.apply(x, axis, keepdim))


CASES.append(OpCase("median[all]", OPS["median"], lambda x: _middle(x.reshape(-1), 0, False), over_all, min_size=1))


def _index(user: str, x: Tensor, dim: int | None, keepdim: bool, smallest: bool) -> Tensor:
    if dim is None or not x.ndim:
        normalize_dim(dim or 0, x.ndim, user)
        require_elements(user, x, tuple(range(x.ndim)))
        index = as_array((x.array.argmin if smallest else x.array.argmax)())
        return Tensor(index.reshape((1,) * x.ndim) if keepdim else index)
    axis = normalize_dim(dim, x.ndim, user)
    require_elements(user, x, (axis,))
    index = _index_of_extreme(x.array, axis, smallest)
    return Tensor(np.expand_dims(index, axis) if keepdim else index)


@op(oracle=numpy_reduction(np.argmax), sample=over_dim(distinct), min_size=1, differentiable=False)
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the first largest (of the first NaN, if there is one) along ``dim``, or in the flattened tensor."""
    return _index("argmax", x, dim, keepdim, False)


@op(oracle=numpy_reduction(np.argmin), sample=over_dim(distinct), min_size=1, differentiable=False)
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the first smallest (of the first NaN, if there is one) along ``dim``, or in the flattened tensor."""
    return _index("argmin", x, dim, keepdim, True)


def _largest(rng: Rng, dims: Dims) -> Sample:
    shape = dims[: int(rng.integers(1, 4))]
    dim = some_dim(rng, len(shape))
    k = int(rng.integers(0, shape[dim] + 1))
    return Sample((distinct(rng, shape),), {"k": k, "dim": dim, "largest": bool(rng.integers(2))})


def _topk(x: Array, k: int, dim: int, largest: bool) -> tuple[Array, Array]:
    order = np.argsort(-x if largest else x, axis=dim).take(np.arange(k), axis=dim)
    return np.take_along_axis(x, order, axis=dim), order


@op(oracle=_topk, sample=_largest, errors=(refuses_dim("topk", k=1),))
def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The ``k`` largest (or smallest) along ``dim`` in order, and their indices; NaN counts as the largest."""
    return _ordered("topk", x, dim, largest, k)


def _all_in_order(rng: Rng, dims: Dims) -> Sample:
    shape = dims[: int(rng.integers(1, 4))]
    options = {"dim": some_dim(rng, len(shape)), "descending": bool(rng.integers(2))}
    return Sample((distinct(rng, shape),), options)


def _sort(x: Array, dim: int, descending: bool) -> tuple[Array, Array]:
    return _topk(x, x.shape[dim], dim, descending)


@op(oracle=_sort, sample=_all_in_order)
def sort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = True) -> ValuesIndices:
    """All of ``x`` in order along ``dim``, and where each stood; equal ones keep their order, NaN is the largest."""
    return _ordered("sort", x, dim, descending)


@op(oracle=lambda x, **options: _sort(x, **options)[1], sample=_all_in_order, differentiable=False)
def argsort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Tensor:
    """Where each element of the ordered ``x`` stood along ``dim``; equal ones keep their order, NaN is the largest."""
    return _ordered("argsort", x, dim, descending).indices
