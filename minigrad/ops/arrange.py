"""Parts of tensors, tensors side by side, grids: ops that are made of the views and joins of ``shape``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops.common import normalize_dim
from minigrad.ops.op import CASES, OPS, op
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, normal, some_dim
from minigrad.ops.shape import cat, expand, reshape
from minigrad.tensor import Tensor

Array = np.ndarray


class Roll(Function):
    """elements moved along dims, round the end; the gradient is moved back"""

    @staticmethod
    def forward(ctx: Context, x: Array, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Array:
        ctx.shifts, ctx.dims = shifts, dims
        return np.roll(x, shifts, dims)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return np.roll(grad, tuple(-shift for shift in ctx.shifts), ctx.dims), None, None


def _rolled(rng: Rng, dims: Dims) -> Sample:
    shape = dims[: int(rng.integers(1, 4))]
    count = int(rng.integers(0, len(shape) + 1))
    if not count:
        return Sample((normal(rng, shape),), {"shifts": int(rng.integers(-5, 6))})
    shifts = tuple(int(n) for n in rng.integers(-5, 6, count))
    some = tuple(map(int, rng.permutation(len(shape))[:count]))
    return Sample((normal(rng, shape),), {"shifts": shifts, "dims": some})


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


@op(
    oracle=lambda x, shifts, dims=None: np.roll(x, shifts, dims),
    sample=_rolled,
    errors=(ErrorCase(lambda: OPS["roll"](_zeros(2, 3), (1, 2), 0), RuntimeError, "got 2 shifts and 1 dims"),),
)
def roll(
    x: Tensor, shifts: int | tuple[int, ...] | list[int], dims: int | tuple[int, ...] | list[int] | None = None
) -> Tensor:
    """Elements moved by ``shifts`` along ``dims``, round the end; without ``dims`` as if ``x`` were flat.

    RuntimeError unless there are as many shifts as dims.
    """
    steps = tuple(map(int, shifts)) if isinstance(shifts, list | tuple) else (int(shifts),)
    if dims is None and len(steps) == 1:
        return reshape(Roll.apply(reshape(x, -1), steps, (0,)), x.shape)
    listed = dims if isinstance(dims, list | tuple) else () if dims is None else (dims,)
    if len(listed) != len(steps):
        raise RuntimeError(f"roll: got {len(steps)} shifts and {len(listed)} dims; expected as many")
    return Roll.apply(x, steps, tuple(normalize_dim(dim, x.ndim, "roll", "dims") for dim in listed))


def _narrowed(rng: Rng, dims: Dims) -> Sample:
    dim = some_dim(rng, 3)
    start = int(rng.integers(0, dims[dim] + 1))
    length = int(rng.integers(0, dims[dim] - start + 1))
    return Sample((normal(rng, dims),), {"dim": dim, "start": start, "length": length})


def _narrow(x: Array, dim: int, start: int, length: int) -> Array:
    return np.moveaxis(np.moveaxis(x, dim, 0)[start : start + length], 0, dim)


@op(
    oracle=_narrow,
    sample=_narrowed,
    errors=(
        ErrorCase(lambda: OPS["narrow"](_zeros(2, 3), 1, 2, 2), RuntimeError, "start 2 and length 2 go beyond 3"),
        ErrorCase(lambda: OPS["narrow"](_zeros(2, 3), 1, 0, -1), RuntimeError, "length is -1"),
    ),
)
def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` elements of dimension ``dim`` from ``start`` on, which may count from the end; a view."""
    axis = normalize_dim(dim, x.ndim, "narrow")
    size = x.shape[axis] if x.ndim else 0
    first, count = int(start), int(length)
    if count < 0:
        raise RuntimeError(f"narrow: length is {count}; expected 0 or more")
    first = first + size if first < 0 else first
    if not 0 <= first <= size - count:
        raise RuntimeError(
            f"narrow: start {int(start)} and length {count} go beyond {size}, the size of dimension {dim}"
        )
    return x[(slice(None),) * axis + (slice(first, first + count),)]


def _selected(rng: Rng, dims: Dims) -> Sample:
    dim = some_dim(rng, 3)
    return Sample((normal(rng, dims),), {"dim": dim, "index": int(rng.integers(-dims[dim], dims[dim]))})


@op(
    oracle=lambda x, dim, index: np.take(x, index, axis=dim),
    sample=_selected,
    min_size=1,
    errors=(ErrorCase(lambda: OPS["select"](_zeros(2, 3), 1, 3), IndexError, "index is 3; expected -3 to 2"),),
)
def select(x: Tensor, dim: int, index: int) -> Tensor:
    """Element ``index`` of dimension ``dim``, without it; a view."""
    axis = normalize_dim(dim, x.ndim, "select")
    size = x.shape[axis] if x.ndim else 0
    if not -size <= index < size:
        raise IndexError(f"select: index is {int(index)}; expected {-size} to {size - 1}")
    return x[(slice(None),) * axis + (int(index),)]


@op(is_method=False)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side: along the second dimension, vectors and numbers along the first."""
    if not tensors:
        raise RuntimeError("hstack: tensors is empty; expected at least one tensor")
    joined = [tensor if tensor.ndim else reshape(tensor, 1) for tensor in tensors]
    return cat(joined, 0 if joined[0].ndim == 1 else 1)


@op(is_method=False)
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one above the other, along the first dimension; vectors and numbers are rows."""
    if not tensors:
        raise RuntimeError("vstack: tensors is empty; expected at least one tensor")
    return cat([tensor if tensor.ndim > 1 else reshape(tensor, 1, tensor.numel()) for tensor in tensors], 0)


@op(is_method=False)
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: for vectors of sizes n, m, ... as many tensors of shape (n, m, ...); views.

    Args:
        tensors: vectors or numbers, also as one list.
        indexing: "ij", or "xy" for shape (m, n, ...), as in pictures.
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    if not isinstance(indexing, str) or indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing is {described(indexing)}; expected 'ij' or 'xy'")
    for position, tensor in enumerate(given):
        if not isinstance(tensor, Tensor) or tensor.ndim > 1:
            raise RuntimeError(f"meshgrid: tensor {position} is {described(tensor)}; expected a vector")
    places = list(range(len(given)))
    if indexing == "xy" and len(given) > 1:
        places[:2] = [1, 0]
    shape = [0] * len(given)
    for place, tensor in zip(places, given, strict=True):
        shape[place] = tensor.numel()
    alone = [[size if axis == place else 1 for axis, size in enumerate(shape)] for place in places]
    return tuple(expand(reshape(tensor, one), shape) for tensor, one in zip(given, alone, strict=True))


def _two(rng: Rng, dims: Dims, axis: int) -> Sample:
    """Two numbers, two vectors, or two matrices whose sizes differ along one axis."""
    shape = dims[: int(rng.integers(0, 3))]
    other = list(shape)
    if len(shape) == 2:
        other[axis] = int(rng.integers(0, 4))
    return Sample((normal(rng, shape), normal(rng, tuple(other))))


def _coordinates(rng: Rng, dims: Dims) -> Sample:
    return Sample(
        (normal(rng, dims[:1]), normal(rng, dims[1:2]), normal(rng, ())), {"indexing": ["ij", "xy"][rng.integers(2)]}
    )


CASES += [
    OpCase(
        "hstack",
        lambda *tensors: OPS["hstack"](tensors),
        lambda *arrays: np.hstack(arrays),
        lambda rng, dims: _two(rng, dims, 1),
        errors=(ErrorCase(lambda: OPS["hstack"]([]), RuntimeError, "hstack: tensors is empty"),),
    ),
    OpCase(
        "vstack",
        lambda *tensors: OPS["vstack"](tensors),
        lambda *arrays: np.vstack(arrays),
        lambda rng, dims: _two(rng, dims, 0),
        errors=(ErrorCase(lambda: OPS["vstack"]([]), RuntimeError, "vstack: tensors is empty"),),
    ),
    OpCase(
        "meshgrid",
        OPS["meshgrid"],
        lambda *arrays, indexing: tuple(np.meshgrid(*arrays, indexing=indexing)),
        _coordinates,
        errors=(
            ErrorCase(lambda: meshgrid(_zeros(2), indexing="xz"), RuntimeError, "'xz'; expected 'ij' or 'xy'"),
            ErrorCase(lambda: meshgrid(_zeros(2, 2)), RuntimeError, "tensor 0 is a tensor of shape"),
        ),
    ),
]
