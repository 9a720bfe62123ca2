"""A row of the op table: an op, its NumPy oracle, and inputs of any size at which its gradient may be checked.

The table itself, and what is checked, is in ``minigrad.gradcheck``.
``sample(rng, dims)`` draws the inputs: ``dims`` are three sizes (0 upwards, at least ``min_size``) of which the row
uses what it needs, ``rng`` decides the rest (values, axes, which input broadcasts). Values keep a distance from every
kink of the op that is far larger than the step of a central difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.tensor import Tensor

Dims = tuple[int, int, int]
Rng = np.random.Generator
Values = Callable[[Rng, tuple[int, ...]], np.ndarray]
GAP = 0.05  # the least distance between a sampled value and a kink


@dataclass(frozen=True)
class Sample:
    """Inputs of one call: ``arrays`` become Tensors (floating ones are checked), ``options`` are passed by keyword."""

    arrays: tuple[np.ndarray, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:  # NumPy draws a 0-d array as a scalar
        object.__setattr__(self, "arrays", tuple(np.asarray(a) for a in self.arrays))

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Sample:
        """The same call with every floating array replaced by ``function(array)``."""
        return Sample(tuple(function(a) if a.dtype.kind == "f" else a for a in self.arrays), self.options)

    def tensors(self, requires_grad: bool = True) -> list[Tensor]:
        return [Tensor(a, requires_grad=requires_grad and a.dtype.kind == "f") for a in self.arrays]


@dataclass(frozen=True)
class ErrorCase:
    """A call that must be refused: the exception, and a pattern its message must match."""

    call: Callable[[], Any]
    exception: type[Exception]
    match: str


@dataclass(frozen=True)
class OpCase:
    """One op.

    Attributes:
        name: the function in ``minigrad.ops``, with a variant in brackets where an op has several rows.
        op: takes the Tensors of a sample and its options.
        oracle: takes the arrays of a sample and its options; plain NumPy, independent of the op.
        sample: see the module head.
        min_size: the least size the op is defined for.
        differentiable: whether it has a floating output that depends on its inputs smoothly.
        dtypes: the floating dtypes the forward supports.
        errors: calls that must be refused.
    """

    name: str
    op: Callable[..., Any]
    oracle: Callable[..., Any]
    sample: Callable[[Rng, Dims], Sample]
    min_size: int = 0
    differentiable: bool = True
    dtypes: tuple[type, ...] = (np.float32, np.float64)
    errors: tuple[ErrorCase, ...] = ()

    @property
    def function(self) -> str:
        """The name of the function in ``minigrad.ops``."""
        return self.name.partition("[")[0]

    def draw(self, seed: int, dims: Dims) -> Sample:
        """The sample of ``seed`` with sizes raised to ``min_size``."""
        a, b, c = (max(size, self.min_size) for size in dims)
        return self.sample(np.random.default_rng(seed), (a, b, c))


def floating_outputs(result: Any) -> list[Any]:
    """The floating ones among an op's outputs (Tensors or arrays)."""
    results = list(result) if isinstance(result, tuple | list) else [result]
    return [value for value in results if value.dtype.kind == "f"]


# --- values -----------------------------------------------------------------------------------------------------------
def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Of either sign, mostly below 2."""
    return rng.standard_normal(shape)


def positive(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """In [0.5, 2]: logarithms, roots, divisors, bases of powers."""
    return rng.uniform(0.5, 2.0, shape)


def away_from_zero(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """At least GAP away from 0."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(GAP, 2.0, shape)


def distinct(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """No two entries closer than GAP: nothing ties."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) - size / 2) * 2 * GAP + rng.uniform(0, GAP, shape)


def special(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Halves, zeros, infinities and NaN among ordinary numbers."""
    return rng.choice([-1.5, -0.0, 0.0, 0.5, 2.0, 7.25, np.inf, -np.inf, np.nan], shape)


# --- shapes -----------------------------------------------------------------------------------------------------------
def some_shape(rng: Rng, dims: Dims) -> tuple[int, ...]:
    """0 to 3 dimensions of the given sizes."""
    return dims[: int(rng.integers(0, 4))]


def broadcastable(rng: Rng, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to ``shape``: leading dimensions dropped, some others 1."""
    kept = shape[int(rng.integers(0, len(shape) + 1)) :]
    return tuple(size if rng.random() < 0.6 else 1 for size in kept)


def some_dim(rng: Rng, ndim: int) -> int:
    """One dimension, counted from either end."""
    return int(rng.integers(-ndim, ndim))


# --- samples ----------------------------------------------------------------------------------------------------------
def operand(values: Values) -> Callable[[Rng, Dims], Sample]:
    """One operand of any shape."""
    return lambda rng, dims: Sample((values(rng, some_shape(rng, dims)),))


def operands(first: Values, second: Values) -> Callable[[Rng, Dims], Sample]:
    """Two operands, of which either may broadcast to the other."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = some_shape(rng, dims)
        shapes = [shape, broadcastable(rng, shape)]
        rng.shuffle(shapes)
        return Sample((first(rng, shapes[0]), second(rng, shapes[1])))

    return sample


def over_dims(values: Values) -> Callable[[Rng, Dims], Sample]:
    """One operand, and a reduction over all, one or several dimensions, kept or not."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = dims[: int(rng.integers(1, 4))]
        several = tuple(int(d) for d in rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))])
        dim = [None, some_dim(rng, len(shape)), several][int(rng.integers(3))]
        return Sample((values(rng, shape),), {"dim": dim, "keepdim": bool(rng.integers(2))})

    return sample


def over_dim(values: Values, keepdim: bool = True) -> Callable[[Rng, Dims], Sample]:
    """One operand, and one dimension; ``keepdim``: which is kept or not."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = dims[: int(rng.integers(1, 4))]
        options: dict[str, Any] = {"dim": some_dim(rng, len(shape))}
        if keepdim:
            options["keepdim"] = bool(rng.integers(2))
        return Sample((values(rng, shape),), options)

    return sample


def over_all(rng: Rng, dims: Dims) -> Sample:
    """One operand without ties, at least a vector."""
    return Sample((distinct(rng, dims[: int(rng.integers(1, 4))]),))


# --- oracles ----------------------------------------------------------------------------------------------------------
def numpy_reduction(function: Callable) -> Callable[..., np.ndarray]:
    """A reduction of NumPy with PyTorch's names of its arguments."""
    return lambda x, dim=None, keepdim=False: np.asarray(function(x, axis=dim, keepdims=keepdim))
