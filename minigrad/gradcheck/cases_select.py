"""Op table, selection: scattering, triangles, repetition, and what finds or draws indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, normal, some_dim
from minigrad.tensor import Tensor


def scattered_once(rng: Rng, dims: Dims) -> Sample:
    """x, an index that names no element twice, and a source that may be larger than the index."""
    dim = some_dim(rng, 3)
    count = int(rng.integers(0, dims[dim] + 1))
    index = np.argsort(rng.random(dims), axis=dim).take(range(count), axis=dim)
    return Sample((normal(rng, dims), index, normal(rng, dims)), {"dim": dim})


def scattered_often(rng: Rng, dims: Dims) -> Sample:
    """The same with an index that may name elements twice."""
    dim = some_dim(rng, 3)
    index = rng.integers(0, dims[dim], dims)
    return Sample((normal(rng, dims), index, normal(rng, dims)), {"dim": dim})


def triangle(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, dims[: int(rng.integers(2, 4))]),), {"diagonal": int(rng.integers(-2, 3))})


def repetition(rng: Rng, dims: Dims) -> Sample:
    """One count for all, or one for each; along a dimension or of the flattened array."""
    shape = dims[: int(rng.integers(1, 4))]
    dim = some_dim(rng, len(shape)) if rng.integers(2) else None
    length = int(np.prod(shape)) if dim is None else shape[dim]
    repeats: Any = rng.integers(0, 3, length) if rng.integers(2) else int(rng.integers(0, 3))
    return Sample((normal(rng, shape),), {"repeats": repeats, "dim": dim})


def few_values(rng: Rng, dims: Dims) -> Sample:
    return Sample((rng.choice([-1.0, 0.0, 1.0], dims[: int(rng.integers(1, 4))]),))


def certain(rng: Rng, dims: Dims) -> Sample:
    """Weights (N, V) with one positive number a row: what is drawn is certain."""
    chosen = rng.integers(0, dims[1], dims[0])
    weights = np.eye(dims[1])[chosen] * rng.uniform(0.5, 2.0)
    return Sample((weights,), {"num_samples": 3, "replacement": True})


def _scatter_oracle(x: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    result = x.copy()
    np.put_along_axis(result, index, src.take(range(index.shape[dim]), axis=dim), dim)
    return result


def _scatter_add_oracle(x: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    result = x.copy()
    for coordinates in np.ndindex(index.shape):
        target = list(coordinates)
        target[dim] = index[coordinates]
        result[tuple(target)] += src[coordinates]
    return result


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def _index(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.int64))


CASES = [
    OpCase(
        "scatter",
        lambda x, index, src, dim: ops.scatter(x, dim, index, src),
        _scatter_oracle,
        scattered_once,
        errors=(
            ErrorCase(lambda: ops.scatter(_zeros(2, 2), 0, _index(2), 1.0), RuntimeError, "2, 1 and 1 dimensions"),
            ErrorCase(lambda: ops.scatter(_zeros(2), 0, _index(2), _zeros(1)), RuntimeError, r"index has shape \(2,\)"),
            ErrorCase(lambda: ops.scatter(_zeros(2), 0, _index(2), _index(2)), RuntimeError, "src has dtype int64"),
        ),
    ),
    OpCase(
        "scatter_add",
        lambda x, index, src, dim: ops.scatter_add(x, dim, index, src),
        _scatter_add_oracle,
        scattered_often,
        min_size=1,
    ),
    OpCase("tril", ops.tril, lambda x, diagonal: np.tril(x, diagonal), triangle),
    OpCase("triu", ops.triu, lambda x, diagonal: np.triu(x, diagonal), triangle),
    OpCase("repeat_interleave", ops.repeat_interleave, lambda x, repeats, dim: np.repeat(x, repeats, dim), repetition),
    OpCase("nonzero", ops.nonzero, lambda x: np.stack(np.nonzero(x), 1), few_values, differentiable=False),
    OpCase("unique", ops.unique, np.unique, few_values, differentiable=False),
    OpCase(
        "multinomial",
        ops.multinomial,
        lambda x, num_samples, replacement: np.repeat(x.argmax(axis=1)[:, None], num_samples, axis=1),
        certain,
        min_size=1,
        differentiable=False,
        errors=(
            ErrorCase(lambda: ops.multinomial(_zeros(3), 1), RuntimeError, "num_samples is 1; expected 1 positive"),
            ErrorCase(lambda: ops.multinomial(_zeros(1, 1, 1), 1), RuntimeError, r"shape \(1, 1, 1\)"),
            ErrorCase(lambda: ops.multinomial(_zeros(3) - 1, 1), RuntimeError, "negative number"),
        ),
    ),
]
