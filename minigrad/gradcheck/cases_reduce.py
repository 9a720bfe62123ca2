"""Op table, reductions and their like: sums, moments, extrema, softmax, sorting out the largest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, Values, distinct, normal, some_dim
from minigrad.tensor import Tensor


def over_dims(values: Values) -> Callable[[Rng, Dims], Sample]:
    """Over all, one or several dimensions, kept or not."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = dims[: int(rng.integers(1, 4))]
        several = tuple(int(d) for d in rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))])
        dim = [None, some_dim(rng, len(shape)), several][int(rng.integers(3))]
        return Sample((values(rng, shape),), {"dim": dim, "keepdim": bool(rng.integers(2))})

    return sample


def over_dim(values: Values, keepdim: bool = True) -> Callable[[Rng, Dims], Sample]:
    """Over one dimension."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = dims[: int(rng.integers(1, 4))]
        options: dict[str, Any] = {"dim": some_dim(rng, len(shape))}
        if keepdim:
            options["keepdim"] = bool(rng.integers(2))
        return Sample((values(rng, shape),), options)

    return sample


def over_all(rng: Rng, dims: Dims) -> Sample:
    return Sample((distinct(rng, dims[: int(rng.integers(1, 4))]),))


def largest(rng: Rng, dims: Dims) -> Sample:
    shape = dims[: int(rng.integers(1, 4))]
    dim = some_dim(rng, len(shape))
    k = int(rng.integers(0, shape[dim] + 1))
    return Sample((distinct(rng, shape),), {"k": k, "dim": dim, "largest": bool(rng.integers(2))})


def ordered(rng: Rng, dims: Dims) -> Sample:
    shape = dims[: int(rng.integers(1, 4))]
    options = {"dim": some_dim(rng, len(shape)), "descending": bool(rng.integers(2))}
    return Sample((distinct(rng, shape),), options)


def truth(rng: Rng, dims: Dims) -> Sample:
    sample = over_dim(normal)(rng, dims)
    return Sample((sample.arrays[0] > 0,), sample.options)


def centred(values: Values, least: float) -> Values:
    """Values whose norm over any dimension stays away from 0."""
    return lambda rng, shape: np.abs(values(rng, shape)) + least


# --- oracles ----------------------------------------------------------------------------------------------------------
def _reduced(function: Callable) -> Callable[..., np.ndarray]:
    return lambda x, dim=None, keepdim=False: np.asarray(function(x, axis=dim, keepdims=keepdim))


def _with_indices(value: Callable, index: Callable) -> Callable[..., tuple]:
    def oracle(x: np.ndarray, dim: int, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
        return value(x, axis=dim, keepdims=keepdim), index(x, axis=dim, keepdims=keepdim)

    return oracle


def _softmax(x: np.ndarray, dim: int) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis=dim, keepdims=True)


def _topk(x: np.ndarray, k: int, dim: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-x if largest else x, axis=dim).take(np.arange(k), axis=dim)
    return np.take_along_axis(x, order, axis=dim), order


def _sort(x: np.ndarray, dim: int, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    return _topk(x, x.shape[dim], dim, descending)


def _unbiased(function: Callable) -> Callable:
    return lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims, ddof=1)


def _logsumexp(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def _norm(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims))


def _refused(function: Callable) -> tuple[ErrorCase, ...]:
    return (ErrorCase(lambda: function(Tensor(np.zeros((2, 3))), dim=2), IndexError, "got 2; expected -2 to 1"),)


CASES = [
    OpCase("sum", ops.sum, _reduced(np.sum), over_dims(normal), errors=_refused(ops.sum)),
    OpCase("mean", ops.mean, _reduced(np.mean), over_dims(normal), min_size=1, errors=_refused(ops.mean)),
    OpCase("prod", ops.prod, _reduced(np.prod), over_dim(normal), errors=_refused(ops.prod)),
    OpCase("prod[all]", ops.prod, np.prod, over_all),
    OpCase("var", ops.var, _reduced(_unbiased(np.var)), over_dims(distinct), min_size=2),
    OpCase("std", ops.std, _reduced(_unbiased(np.std)), over_dims(distinct), min_size=2),
    OpCase("norm", ops.norm, _reduced(_norm), over_dims(centred(normal, 0.5)), min_size=1),
    OpCase("logsumexp", ops.logsumexp, _reduced(_logsumexp), over_dims(normal), min_size=1),
    OpCase("amax", ops.amax, _reduced(np.max), over_dims(distinct), min_size=1),
    OpCase("amin", ops.amin, _reduced(np.min), over_dims(distinct), min_size=1),
    OpCase("max", ops.max, _with_indices(np.max, np.argmax), over_dim(distinct), min_size=1),
    OpCase("min", ops.min, _with_indices(np.min, np.argmin), over_dim(distinct), min_size=1),
    OpCase("max[all]", ops.max, np.max, over_all, min_size=1),
    OpCase("min[all]", ops.min, np.min, over_all, min_size=1),
    OpCase("topk", ops.topk, _topk, largest, errors=_refused(lambda x, dim: ops.topk(x, 1, dim))),
    OpCase("sort", ops.sort, _sort, ordered),
    OpCase("argsort", ops.argsort, lambda x, **o: _sort(x, **o)[1], ordered, differentiable=False),
    OpCase("softmax", ops.softmax, _softmax, over_dim(normal, keepdim=False), errors=_refused(ops.softmax)),
    OpCase("log_softmax", ops.log_softmax, lambda x, dim: np.log(_softmax(x, dim)), over_dim(normal, keepdim=False)),
    OpCase("cumsum", ops.cumsum, lambda x, dim: np.cumsum(x, axis=dim), over_dim(normal, keepdim=False)),
    OpCase("argmax", ops.argmax, _reduced(np.argmax), over_dim(distinct), min_size=1, differentiable=False),
    OpCase("argmin", ops.argmin, _reduced(np.argmin), over_dim(distinct), min_size=1, differentiable=False),
    OpCase("any", ops.any, _reduced(np.any), truth, differentiable=False),
    OpCase("all", ops.all, _reduced(np.all), truth, differentiable=False),
]
