"""Ops that move elements without changing them: views, joining, splitting."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from minigrad.arguments import sizes
from minigrad.broadcasting import unbroadcast
from minigrad.function import Context, Function
from minigrad.ops.common import normalize_dim, normalize_dims, promote
from minigrad.ops.index import setitem
from minigrad.ops.op import op
from minigrad.tensor import Tensor

Array = np.ndarray


class Reshape(Function):
    """the same elements in another shape"""

    view = True

    @staticmethod
    def forward(ctx: Context, x: Array, shape: tuple[int, ...]) -> Array:
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return grad.reshape(ctx.shape), None

    @staticmethod
    def put_back(base: Tensor, changed: Tensor, *constants: Any) -> None:
        setitem(base, ..., reshape(changed, base.shape))


def _inverse(dims: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another one."""
    return tuple(sorted(range(len(dims)), key=dims.__getitem__))


class Permute(Function):
    """y.shape[i] = x.shape[dims[i]]; the inverse permutation leads back"""

    view = True

    @staticmethod
    def forward(ctx: Context, x: Array, dims: tuple[int, ...]) -> Array:
        ctx.inverse = _inverse(dims)
        return x.transpose(dims)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return grad.transpose(ctx.inverse), None

    @staticmethod
    def put_back(base: Tensor, changed: Tensor, *constants: Any) -> None:
        setitem(base, ..., permute(changed, _inverse(constants[0])))


class Expand(Function):
    """dimensions of size 1 stretched without copying; their gradient is the sum"""

    view = True

    @staticmethod
    def forward(ctx: Context, x: Array, shape: tuple[int, ...]) -> Array:
        ctx.shape = x.shape
        return np.broadcast_to(x, shape)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return unbroadcast(grad, ctx.shape), None

    @staticmethod
    def put_back(base: Tensor, changed: Tensor, *constants: Any) -> None:
        raise RuntimeError("in-place assignment to an expanded tensor: its elements share memory; clone() it first")


class Flip(Function):
    """the order along dims reversed; its own inverse"""

    @staticmethod
    def forward(ctx: Context, x: Array, dims: tuple[int, ...]) -> Array:
        ctx.dims = dims
        return np.flip(x, dims).copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return np.flip(grad, ctx.dims), None


class Cat(Function):
    """arrays one after the other along a dim; the gradient is split in the same way"""

    @staticmethod
    def forward(ctx: Context, dim: int, *arrays: Array) -> Array:
        ctx.dim, ctx.cuts = dim, [*accumulate(a.shape[dim] for a in arrays[:-1])]
        return np.concatenate(arrays, axis=dim)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return (None, *np.split(grad, ctx.cuts, axis=ctx.dim))


class Stack(Function):
    """arrays side by side along a new dim; each gets the gradient at its index"""

    @staticmethod
    def forward(ctx: Context, dim: int, *arrays: Array) -> Array:
        ctx.dim = dim
        return np.stack(arrays, axis=dim)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return (None, *np.moveaxis(grad, ctx.dim, 0))


def _full_shape(user: str, shape: tuple[int, ...], numel: int) -> tuple[int, ...]:
    """``shape`` with its -1 replaced; RuntimeError where it cannot hold ``numel`` elements."""
    if builtins.min(shape, default=0) < -1:
        raise RuntimeError(f"{user}: shape is {shape}; expected sizes of 0 or more, and -1 at most once")
    unknown = shape.count(-1)
    known = abs(math.prod(shape))
    fits = known == numel if unknown == 0 else unknown == 1 and known > 0 and numel % known == 0
    if not fits:
        raise RuntimeError(f"{user}: shape {shape} cannot hold {numel} elements")
    return tuple([numel // known if n == -1 else n for n in shape]) if unknown else shape


@op()
def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in ``shape`` (one size may be -1); a view where the memory allows it."""
    return _reshaped("reshape", x, shape)


def _reshaped(user: str, x: Tensor, shape: tuple[Any, ...]) -> Tensor:
    return Reshape.apply(x, _full_shape(user, sizes(user, shape, "shape"), x.numel()))


@op()
def view(x: Tensor, *size: Any) -> Tensor:
    """As ``reshape``, never a copy: RuntimeError where a copy would be needed."""
    result = _reshaped("view", x, size)
    if x.numel() and not np.may_share_memory(result.array, x.array):
        raise RuntimeError(f"view: shape {result.shape} needs a copy of this non-contiguous tensor; use reshape")
    return result


@op()
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """``x`` in the shape of ``other``; see ``view``."""
    return view(x, other.shape)


@op()
def permute(x: Tensor, *dims: Any) -> Tensor:
    """Dimensions in the order ``dims``; a view."""
    given = sizes("permute", dims, "dims")
    if len(given) != x.ndim:
        raise RuntimeError(f"permute: dims are {given}; expected each of {x.ndim} dimensions once")
    order = normalize_dims(given, x.ndim, "permute", "dims")
    return Permute.apply(x, order)


@op()
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged; a view."""
    order = list(range(x.ndim))
    a, b = normalize_dim(dim0, x.ndim, "transpose", "dim0"), normalize_dim(dim1, x.ndim, "transpose", "dim1")
    if order:
        order[a], order[b] = order[b], order[a]
    return Permute.apply(x, tuple(order))


@op()
def swapaxes(x: Tensor, axis0: int, axis1: int) -> Tensor:
    """As ``transpose``, under NumPy's name."""
    return transpose(x, axis0, axis1)


@op()
def movedim(x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Tensor:
    """Dimension(s) ``source`` moved to ``destination``, the others in their order; a view."""
    from_dims = normalize_dims(source, x.ndim, "movedim", "source")
    to_dims = normalize_dims(destination, x.ndim, "movedim", "destination")
    if len(from_dims) != len(to_dims):
        raise RuntimeError(f"movedim: source {source} and destination {destination} differ in length; expected as many")
    moved = dict(zip(to_dims, from_dims, strict=True))
    rest = iter(d for d in range(x.ndim) if d not in from_dims)
    return Permute.apply(x, tuple(moved[d] if d in moved else next(rest) for d in range(x.ndim)))


@op()
def t(x: Tensor) -> Tensor:
    """A matrix transposed."""
    if x.ndim > 2:
        raise RuntimeError(f"t: expects at most 2 dimensions; got {x.ndim}")
    return x if x.ndim < 2 else transpose(x, 0, 1)


@op()
def expand(x: Tensor, *shape: Any) -> Tensor:
    """Dimensions of size 1 stretched to ``shape`` (-1 keeps a size); a read-only view."""
    wanted = sizes("expand", shape)
    kept = (1,) * (len(wanted) - x.ndim) + x.shape
    fits = len(wanted) == len(kept) and all(
        new == old or (new >= 0 and old == 1) or (new == -1 and axis >= len(kept) - x.ndim)
        for axis, (new, old) in enumerate(zip(wanted, kept, strict=True))
    )
    if not fits:
        raise RuntimeError(
            f"expand: sizes are {wanted}; expected {x.ndim} or more that fit shape {x.shape} from the right, "
            "where only a size of 1 stretches and -1 keeps one"
        )
    return Expand.apply(x, tuple(old if new == -1 else new for new, old in zip(wanted, kept, strict=True)))


@op()
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """``x`` repeated to the shape of ``other``, without copying; see ``expand``."""
    return expand(x, other.shape)


@op()
def squeeze(x: Tensor, dim: int | tuple[int, ...] | list[int] | None = None) -> Tensor:
    """Without dimensions of size 1: all of them, or those in ``dim`` that are; a view."""
    dims = normalize_dims(dim, x.ndim, "squeeze")
    return Reshape.apply(x, tuple(n for axis, n in enumerate(x.shape) if not (n == 1 and axis in dims)))


@op()
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With a dimension of size 1 at ``dim``; a view."""
    axis = normalize_dim(dim, x.ndim + 1, "unsqueeze")
    return Reshape.apply(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@op()
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` as one; ``x`` itself where they are one."""
    start = normalize_dim(start_dim, x.ndim, "flatten", "start_dim")
    end = normalize_dim(end_dim, x.ndim, "flatten", "end_dim")
    if start > end:
        raise RuntimeError(f"flatten: start_dim is {start_dim}, end_dim {end_dim}; expected start_dim before end_dim")
    if x.ndim and start == end:
        return x
    middle = int(np.prod(x.shape[start : end + 1], dtype=np.int64))
    return Reshape.apply(x, (*x.shape[:start], middle, *x.shape[end + 1 :]))


@op(is_method=False)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along ``dim``; the other sizes must agree.

    As in PyTorch, a tensor of shape (0,) fits anywhere: it adds nothing but its dtype.
    """
    if not tensors:
        raise ValueError("cat: tensors is empty; expected at least one tensor")
    joined = promote(*tensors)
    for position, tensor in enumerate(joined):
        if not tensor.ndim:
            raise RuntimeError(f"cat: tensor {position} is 0-d; expected at least 1 dimension (stack joins numbers)")
    filled = [position for position, tensor in enumerate(joined) if tensor.shape != (0,)] or [0]
    first = joined[filled[0]]
    axis = normalize_dim(dim, first.ndim, "cat")
    for position in filled:
        shape = joined[position].shape
        if _without(shape, axis) != _without(first.shape, axis):
            raise RuntimeError(
                f"cat: tensor {position} has shape {shape}; expected {first.shape} except in dimension {axis}"
            )
    return Cat.apply(axis, *(joined[position] for position in filled))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], -1, *shape[axis + 1 :])


@op(is_method=False)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension ``dim``."""
    if not tensors:
        raise ValueError("stack: tensors is empty; expected at least one tensor")
    joined = promote(*tensors)
    for position, tensor in enumerate(joined):
        if tensor.shape != joined[0].shape:
            raise RuntimeError(f"stack: tensor {position} has shape {tensor.shape}; expected {joined[0].shape}")
    return Stack.apply(normalize_dim(dim, joined[0].ndim + 1, "stack"), *joined)


@op()
def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Chunks of ``split_size`` along ``dim`` (the last may be smaller), or of the given sizes; views."""
    axis = _real_dim("split", x, dim)
    total = x.shape[axis]
    if isinstance(split_size, list | tuple):
        lengths = [int(size) for size in split_size]
    else:
        size = operator.index(split_size)  # type: ignore[arg-type]  # a tuple was looked at above
        if size < 0 or (size == 0 and total):
            raise RuntimeError(f"split: split_size is {size}; expected more than zero")
        size = size or 1
        lengths = [builtins.min(size, total - start) for start in range(0, total, size)] or [0]
    if builtins.sum(lengths) != total or builtins.min(lengths, default=0) < 0:
        raise RuntimeError(f"split: sizes {lengths} do not add up to {total}, the size of dimension {dim}")
    ends = np.cumsum(lengths)
    return tuple(x[(slice(None),) * axis + (slice(int(e - n), int(e)),)] for e, n in zip(ends, lengths, strict=True))


def _real_dim(user: str, x: Tensor, dim: int) -> int:
    """``dim`` counted from 0; RuntimeError for a tensor that has none."""
    if not x.ndim:
        raise RuntimeError(f"{user}: the tensor is 0-d; expected at least 1 dimension")
    return normalize_dim(dim, x.ndim, user)


@op()
def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` chunks of equal size along ``dim`` (the last may be smaller); views."""
    if chunks < 1:
        raise RuntimeError(f"chunk: chunks is {chunks}; expected more than zero")
    return split(x, builtins.max(1, -(-x.shape[_real_dim("chunk", x, dim)] // int(chunks))), dim)


@op()
def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along ``dim``, without it; views."""
    axis = _real_dim("unbind", x, dim)
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))


@op()
def flip(x: Tensor, *dims: Any) -> Tensor:
    """The order along ``dims`` reversed; a copy."""
    return Flip.apply(x, normalize_dims(sizes("flip", dims, "dims"), x.ndim, "flip", "dims"))


@op()
def repeat(x: Tensor, *repeats: Any) -> Tensor:
    """``x`` repeated ``repeats[i]`` times along dimension i (leading dimensions are added); a copy."""
    counts = sizes("repeat", repeats, "repeats")
    if len(counts) < x.ndim or builtins.min(counts, default=0) < 0:
        raise RuntimeError(
            f"repeat: repeats are {counts}; expected {x.ndim} or more, none negative, for shape {x.shape}"
        )
    old = (1,) * (len(counts) - x.ndim) + x.shape
    interleaved = [size for n, size in zip(counts, old, strict=True) for size in (1, size)]
    target = [size for n, size in zip(counts, old, strict=True) for size in (n, size)]
    tiled = expand(reshape(x, interleaved), target)
    result = reshape(tiled, [n * size for n, size in zip(counts, old, strict=True)])
    # Where nothing had to be moved, as with a size of 1 or a count of 1, the memory is still that of x.
    return result if result.view_of is None else result.clone()
