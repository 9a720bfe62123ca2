"""Op table, shapes and indexing: views, concatenation, selection, assignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, broadcastable, normal, some_dim
from minigrad.tensor import Tensor


def with_options(choose: Callable[[Rng, tuple[int, ...]], dict[str, Any]]) -> Callable[[Rng, Dims], Sample]:
    """One array of 1 to 3 dimensions, and options that depend on its shape."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = dims[: int(rng.integers(1, 4))]
        return Sample((normal(rng, shape),), choose(rng, shape))

    return sample


def permutation(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"dims": tuple(int(d) for d in rng.permutation(len(shape)))}


def two_dims(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"dim0": some_dim(rng, len(shape)), "dim1": some_dim(rng, len(shape))}


def two_axes(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"axis0": some_dim(rng, len(shape)), "axis1": some_dim(rng, len(shape))}


def moved_dims(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    """One dimension as a number, or several as a tuple."""
    count = int(rng.integers(0, len(shape) + 1))
    if not count:
        return {"source": some_dim(rng, len(shape)), "destination": some_dim(rng, len(shape))}
    source, destination = (tuple(int(d) for d in rng.permutation(len(shape))[:count]) for _ in range(2))
    return {"source": source, "destination": destination}


def new_shape(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    size = int(np.prod(shape))
    return {"shape": [shape[::-1], (size,), (1, size, 1)][int(rng.integers(3))]}


def flat_range(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    start, end = sorted(int(d) for d in rng.integers(0, len(shape), 2))
    return {"start_dim": start, "end_dim": end}


def split_sizes(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    dim = some_dim(rng, len(shape))
    cut = int(rng.integers(0, shape[dim] + 1))
    return {"split_size": [cut, shape[dim] - cut] if rng.integers(2) else max(1, cut), "dim": dim}


def flipped(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"dims": tuple(int(d) for d in rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))])}


def one_axis(rng: Rng, dims: Dims) -> Sample:
    """A size-1 dimension somewhere, and its number."""
    shape = list(dims[:2])
    dim = int(rng.integers(3))
    shape.insert(dim, 1)
    return Sample((normal(rng, tuple(shape)),), {"dim": dim})


def stretched(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, broadcastable(rng, dims)),), {"shape": dims})


def stretched_as(rng: Rng, dims: Dims) -> Sample:
    """The second gives its shape only."""
    return Sample((normal(rng, broadcastable(rng, dims)), np.zeros(dims, np.int64)))


def viewed_as(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, dims), np.zeros((*dims[1:], dims[0]), np.int64)))


def some_repeats(rng: Rng, shape: tuple[int, ...]) -> dict[str, Any]:
    """One count per dimension, and sometimes one for a new leading dimension."""
    return {"repeats": tuple(int(n) for n in rng.integers(0, 3, len(shape) + int(rng.integers(2))))}


def several(equal: bool) -> Callable[[Rng, Dims], Sample]:
    """Two or three arrays to join; ``equal`` shapes for stack, one free dimension for cat."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = dims[: int(rng.integers(1, 4))]
        dim = some_dim(rng, len(shape))
        arrays = []
        for _ in range(int(rng.integers(2, 4))):
            own = list(shape)
            own[dim] = own[dim] if equal else int(rng.integers(0, 4))
            arrays.append(normal(rng, tuple(own)))
        return Sample(tuple(arrays), {"dim": dim})

    return sample


def basic_index(rng: Rng, shape: tuple[int, ...]) -> Any:
    """Integers, slices with steps, None and an ellipsis."""
    n = shape[0]
    integer = int(rng.integers(-n, n)) if n else slice(None)
    choices = [integer, slice(n // 2, None), slice(None, None, 2), (None, slice(None)), (..., slice(0, 1)), ...]
    return choices[int(rng.integers(len(choices)))]


def advanced_index(rng: Rng, shape: tuple[int, ...]) -> Any:
    """Integer arrays with repeated entries, also two of them, and boolean masks."""
    n = shape[0]
    rows = rng.integers(-n, n, 4) if n else np.zeros(0, np.int64)
    kind = int(rng.integers(3))
    if kind == 0:
        return rng.random(shape) < 0.5
    if kind == 1 and len(shape) > 1 and shape[1]:
        return rows, rng.integers(0, shape[1], rows.shape)
    return rows


def indexed(choose: Callable[[Rng, tuple[int, ...]], Any]) -> Callable[[Rng, Dims], Sample]:
    return with_options(lambda rng, shape: {"index": choose(rng, shape)})


def assigned(choose: Callable[[Rng, tuple[int, ...]], Any]) -> Callable[[Rng, Dims], Sample]:
    """A base, a value that broadcasts to what is indexed, and the index."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = dims[: int(rng.integers(1, 4))]
        index = choose(rng, shape)
        base = normal(rng, shape)
        return Sample((base, normal(rng, broadcastable(rng, base[index].shape))), {"index": index})

    return sample


def unrepeated_index(rng: Rng, shape: tuple[int, ...]) -> Any:
    """An index array that names no element twice, or a boolean mask."""
    return rng.permutation(shape[0])[:2] if rng.integers(2) else rng.random(shape) < 0.5


def masked(rng: Rng, dims: Dims) -> Sample:
    shape = dims[: int(rng.integers(1, 4))]
    return Sample((normal(rng, shape), rng.random(shape) < 0.5))


def gathered(rng: Rng, dims: Dims) -> Sample:
    dim = int(rng.integers(3))
    shape = list(dims)
    shape[dim] = int(rng.integers(0, 5))
    index = rng.integers(0, dims[dim], shape)
    return Sample((normal(rng, dims), index), {"dim": dim})


def rows_selected(rng: Rng, dims: Dims) -> Sample:
    dim = int(rng.integers(3))
    return Sample((normal(rng, dims), rng.integers(0, dims[dim], int(rng.integers(0, 5)))), {"dim": dim})


# --- ops and oracles in the table's calling convention ----------------------------------------------------------------
def _view_as(x: Tensor, other: Tensor) -> Tensor:
    return ops.view_as(ops.clone(x), other)


def _cat(*tensors: Tensor, dim: int) -> Tensor:
    return ops.cat(tensors, dim)


def _stack(*tensors: Tensor, dim: int) -> Tensor:
    return ops.stack(tensors, dim)


def _setitem(base: Tensor, value: Tensor, index: Any) -> Tensor:
    result = ops.clone(base)
    ops.setitem(result, index, value)
    return result


def _setitem_oracle(base: np.ndarray, value: np.ndarray, index: Any) -> np.ndarray:
    result = base.copy()
    result[index] = value
    return result


def _flatten_oracle(x: np.ndarray, start_dim: int, end_dim: int) -> np.ndarray:
    return x.reshape(*x.shape[:start_dim], int(np.prod(x.shape[start_dim : end_dim + 1])), *x.shape[end_dim + 1 :])


def _split_oracle(x: np.ndarray, split_size: int | list[int], dim: int) -> tuple[np.ndarray, ...]:
    whole = x.shape[dim]
    cuts = np.cumsum(split_size)[:-1] if isinstance(split_size, list) else np.arange(split_size, whole, split_size)
    return tuple(np.split(x, cuts, axis=dim))


def _chunk_oracle(x: np.ndarray, chunks: int, dim: int) -> tuple[np.ndarray, ...]:
    return _split_oracle(x, max(1, -(-x.shape[dim] // chunks)), dim)


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def _error(call: Callable[[], Any], exception: type[Exception], match: str) -> tuple[ErrorCase, ...]:
    return (ErrorCase(call, exception, match),)


CASES = [
    OpCase(
        "reshape",
        lambda x, shape: ops.reshape(x, shape),
        lambda x, shape: x.reshape(shape),
        with_options(new_shape),
        errors=_error(lambda: ops.reshape(_zeros(2, 3), (4, 2)), RuntimeError, r"\(4, 2\)"),
    ),
    OpCase("view", lambda x, shape: ops.view(ops.clone(x), shape), np.reshape, with_options(new_shape)),
    OpCase("view_as", _view_as, lambda x, other: x.reshape(other.shape), viewed_as),
    OpCase("t", ops.t, np.transpose, lambda rng, dims: Sample((normal(rng, dims[: int(rng.integers(1, 3))]),))),
    OpCase(
        "permute", lambda x, dims: ops.permute(x, dims), lambda x, dims: x.transpose(dims), with_options(permutation)
    ),
    OpCase("transpose", ops.transpose, lambda x, dim0, dim1: x.swapaxes(dim0, dim1), with_options(two_dims)),
    OpCase("swapaxes", ops.swapaxes, lambda x, axis0, axis1: x.swapaxes(axis0, axis1), with_options(two_axes)),
    OpCase(
        "movedim",
        ops.movedim,
        np.moveaxis,
        with_options(moved_dims),
        errors=_error(lambda: ops.movedim(_zeros(2, 3), (0, 0), (0, 1)), RuntimeError, r"movedim: source \(0, 0\)"),
    ),
    OpCase("expand", lambda x, shape: ops.expand(x, shape), np.broadcast_to, stretched),
    OpCase("expand_as", ops.expand_as, lambda x, other: np.broadcast_to(x, other.shape), stretched_as),
    OpCase("squeeze", ops.squeeze, lambda x, dim: x.squeeze(dim), one_axis),
    OpCase("unsqueeze", ops.unsqueeze, lambda x, dim: np.expand_dims(x, dim), one_axis),
    OpCase("flatten", ops.flatten, _flatten_oracle, with_options(flat_range)),
    OpCase(
        "cat",
        _cat,
        lambda *arrays, dim: np.concatenate(arrays, dim),
        several(equal=False),
        errors=_error(lambda: ops.cat([_zeros(2, 3), _zeros(3, 2)]), RuntimeError, r"cat: .*\(3, 2\)"),
    ),
    OpCase(
        "stack",
        _stack,
        lambda *arrays, dim: np.stack(arrays, dim),
        several(equal=True),
        errors=_error(lambda: ops.stack([_zeros(2), _zeros(3)]), RuntimeError, r"stack: .*\(3,\)"),
    ),
    OpCase("split", ops.split, _split_oracle, with_options(split_sizes)),
    OpCase("chunk", ops.chunk, _chunk_oracle, with_options(lambda rng, shape: {"chunks": 2, "dim": 0})),
    OpCase(
        "unbind",
        ops.unbind,
        lambda x, dim: tuple(np.moveaxis(x, dim, 0)),
        with_options(lambda rng, shape: {"dim": some_dim(rng, len(shape))}),
        min_size=1,
    ),
    OpCase("flip", lambda x, dims: ops.flip(x, dims), lambda x, dims: np.flip(x, dims), with_options(flipped)),
    OpCase(
        "repeat",
        lambda x, repeats: ops.repeat(x, repeats),
        lambda x, repeats: np.tile(x, repeats),
        with_options(some_repeats),
    ),
    OpCase("getitem", ops.getitem, lambda x, index: x[index], indexed(basic_index)),
    OpCase("getitem[advanced]", ops.getitem, lambda x, index: x[index], indexed(advanced_index)),
    OpCase("setitem", _setitem, _setitem_oracle, assigned(basic_index)),
    OpCase("setitem[advanced]", _setitem, _setitem_oracle, assigned(unrepeated_index)),
    OpCase(
        "gather",
        lambda x, index, dim: ops.gather(x, dim, index),
        lambda x, index, dim: np.take_along_axis(x, index, axis=dim),
        gathered,
        min_size=1,
    ),
    OpCase(
        "index_select",
        lambda x, index, dim: ops.index_select(x, dim, index),
        lambda x, index, dim: np.take(x, index, axis=dim),
        rows_selected,
        min_size=1,
    ),
    OpCase("masked_select", ops.masked_select, lambda x, mask: x[mask], masked),
]
