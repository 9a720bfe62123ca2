"""Finding, repeating, masking and scattering elements, and drawing indices at random."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad import random
from minigrad.arguments import Operand
from minigrad.broadcasting import broadcast_shape
from minigrad.function import Context, Function
from minigrad.ops import choose, index, shape
from minigrad.ops.common import constant, filler, normalize_dim
from minigrad.ops.op import op
from minigrad.random import Generator
from minigrad.tensor import Tensor

Array = np.ndarray


def _corner(size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(n) for n in size)


class Scatter(Function):
    """y = x with the elements of src where the index points; there src gets the gradient and x none"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, where: Array, src: Array) -> Array:
        ctx.target, ctx.src_shape, ctx.corner = index.coordinates(where, dim), src.shape, _corner(where.shape)
        y = x.copy()
        y[ctx.target] = src[ctx.corner]
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dx, dsrc = grad.copy(), np.zeros(ctx.src_shape, grad.dtype, like=grad)
        # y[target] = src[corner]
        dx[ctx.target] = 0
        dsrc[ctx.corner] = grad[ctx.target]
        return dx, None, None, dsrc


class ScatterAdd(Function):
    """y = x plus the elements of src where the index points, each as often as it is named"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int, where: Array, src: Array) -> Array:
        ctx.target, ctx.src_shape, ctx.corner = index.coordinates(where, dim), src.shape, _corner(where.shape)
        y = x.copy()
        kernels.add_at(y, ctx.target, src[ctx.corner])
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dsrc = np.zeros(ctx.src_shape, grad.dtype, like=grad)
        # y[target] += src[corner]
        dsrc[ctx.corner] = grad[ctx.target]
        return grad, None, None, dsrc


def _scattered(function: type[Function], name: str, x: Tensor, dim: int, where: Tensor, src: Any) -> Tensor:
    src = src if isinstance(src, Tensor) else constant(np.full(where.shape, filler(name, src, x.dtype).array), x)
    if not x.ndim == where.ndim == src.ndim:
        raise RuntimeError(
            f"{name}: x, index and src have {x.ndim}, {where.ndim} and {src.ndim} dimensions; expected the same number"
        )
    if src.dtype != x.dtype:
        raise RuntimeError(f"{name}: src has dtype {src.dtype}; expected {x.dtype} as x")
    if any(n > limit for n, limit in zip(where.shape, src.shape, strict=True)):
        raise RuntimeError(f"{name}: index has shape {where.shape}; expected no size above those of src {src.shape}")
    axis = normalize_dim(dim, x.ndim, name)
    indices = index.index_along(name, x, axis, where)
    if not x.ndim:
        return _scattered(function, name, x.reshape(1), 0, where.reshape(1), src.reshape(1)).reshape(())
    return function.apply(x, axis, indices, src)


@op()
def scatter(x: Tensor, dim: int, index: Tensor, src: Tensor | float) -> Tensor:
    """A copy of ``x`` with ``src`` written along ``dim`` at ``index``: y[index[i,j], j] = src[i,j] for dim 0.

    Args:
        x: any shape.
        dim: the dimension that ``index`` counts.
        index: int64, as many dimensions as ``x``; an element named twice keeps one of its values.
        src: a tensor of the dtype of ``x``, in no dimension smaller than ``index``, or a number.
    """
    return _scattered(Scatter, "scatter", x, dim, index, src)


@op()
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """As ``scatter``, adding to what is there; elements named twice get both."""
    return _scattered(ScatterAdd, "scatter_add", x, dim, index, src)


def _matrix(user: str, x: Tensor) -> tuple[int, int]:
    """The last two sizes of ``x``."""
    if x.ndim < 2:
        raise RuntimeError(f"{user}: x has shape {x.shape}; expected at least 2 dimensions")
    return x.shape[-2], x.shape[-1]


@op()
def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """Zero above the given diagonal of the last two dimensions."""
    rows, columns = _matrix("tril", x)
    return choose.masked_fill(x, constant(~np.tri(rows, columns, diagonal, dtype=bool), x), 0)


@op()
def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """Zero below the given diagonal of the last two dimensions."""
    rows, columns = _matrix("triu", x)
    return choose.masked_fill(x, constant(np.tri(rows, columns, diagonal - 1, dtype=bool), x), 0)


@op()
def repeat_interleave(x: Tensor, repeats: Operand, dim: int | None = None) -> Tensor:
    """Each element along ``dim`` (of the flattened tensor if None) ``repeats`` times: a number, or one for each."""
    axis = normalize_dim(dim or 0, x.ndim, "repeat_interleave")
    if (dim is None and x.ndim > 1) or not x.ndim:
        x = shape.reshape(x, x.numel())
    counts = np.asarray(kernels.to_host(repeats.array) if isinstance(repeats, Tensor) else repeats)
    size = x.shape[axis]
    if counts.dtype.kind not in "iu" or counts.shape not in ((), (1,), (size,)) or (counts < 0).any():
        raise RuntimeError(
            f"repeat_interleave: repeats has shape {counts.shape} and dtype {counts.dtype}; "
            f"expected integers of 0 or more, one or {size}"
        )
    return index.getitem(x, (slice(None),) * axis + (constant(np.repeat(np.arange(size), counts), x),))


@op()
def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` (bool) holds, as a 1-D tensor; the two broadcast."""
    whole = broadcast_shape("masked_select", x.shape, choose.mask_of("masked_select", mask).shape)
    return index.getitem(shape.expand(x, whole), shape.expand(mask, whole))


@op()
def nonzero(x: Tensor, *, as_tuple: bool = False) -> Any:
    """Where ``x`` is not 0: int64 (count, ndim), or with ``as_tuple`` one (count,) for each dimension."""
    return choose.where(x != 0) if as_tuple else Tensor(np.argwhere(x.array))


class Unique(Function):
    """the different values, in order; as in PyTorch without a gradient"""

    @staticmethod
    def forward(ctx: Context, x: Array, dim: int | None) -> tuple[Array, Array, Array]:
        nan_is_nan = dim is not None  # one NaN is unlike another, but rows are compared as they are
        values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=dim, equal_nan=nan_is_nan)
        return values, inverse.reshape(x.shape if dim is None else (x.shape[dim],)), counts

    @staticmethod
    def backward(ctx: Context, *grads: Array | None) -> tuple:
        raise RuntimeError("unique: its values have no gradient; detach() what it is given")


@op()
def unique(
    x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different elements (or slices along ``dim``), always sorted.

    Args:
        x: any shape.
        sorted: accepted; the result is sorted in any case.
        return_inverse: also, int64, where in the result each element of ``x`` stands.
        return_counts: also, int64, how often each occurs.
        dim: compare slices along it.
    """
    axis = None if dim is None else normalize_dim(dim, x.ndim, "unique")
    values, inverse, counts = Unique.apply(x, axis)
    wanted = [values, *([inverse] if return_inverse else []), *([counts] if return_counts else [])]
    return tuple(wanted) if len(wanted) > 1 else values


@op()
def multinomial(
    x: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities in proportion to the weights ``x``, from the generator of ``manual_seed``.

    Args:
        x: (V,) or (N, V), floating, none negative, no row without a positive one.
        num_samples: draws per row; without ``replacement`` at most the number of positive weights.
        replacement: whether an index may be drawn again.
        generator: a stream of its own to draw from.

    Returns:
        int64 (num_samples,) or (N, num_samples).
    """
    weights = kernels.to_host(x.array).astype(np.float64)
    if x.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: weights have shape {x.shape}; expected (V,) or (N, V)")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise RuntimeError("multinomial: weights hold a negative number, inf or NaN")
    least = 1 if replacement else num_samples
    if (np.count_nonzero(weights, axis=-1) < least).any():
        raise RuntimeError(f"multinomial: num_samples is {num_samples}; expected {least} positive weights or more")
    draw = _drawn_again if replacement else _drawn_once
    return constant(draw(weights, num_samples, random.generator(generator)), x)


def _drawn_once(weights: Array, count: int, generator: np.random.Generator) -> Array:
    """The ``count`` first arrivals, where each index arrives after an exponential time of rate ``weights``."""
    waiting = generator.standard_exponential(weights.shape)
    with np.errstate(divide="ignore"):
        return np.argsort(waiting / weights, axis=-1, kind="stable")[..., :count]


def _drawn_again(weights: Array, count: int, generator: np.random.Generator) -> Array:
    """Where uniform numbers fall in the running sum of the weights."""
    ends = weights.cumsum(axis=-1)
    total = ends[..., -1:]
    points = np.minimum(generator.random((*weights.shape[:-1], count)) * total, np.nextafter(total, 0))
    return (points[..., None] >= ends[..., None, :]).sum(axis=-1)
