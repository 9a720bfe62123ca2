"""Op table, elementwise ops: arithmetic, exponentials, activations, selection, comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad import ops
from minigrad.gradcheck.op_case import (
    GAP,
    Dims,
    ErrorCase,
    OpCase,
    Rng,
    Sample,
    broadcastable,
    nonzero,
    normal,
    positive,
    some_shape,
)
from minigrad.tensor import Tensor

Values = Callable[[Rng, tuple[int, ...]], np.ndarray]


def unary(values: Values) -> Callable[[Rng, Dims], Sample]:
    return lambda rng, dims: Sample((values(rng, some_shape(rng, dims)),))


def binary(first: Values, second: Values) -> Callable[[Rng, Dims], Sample]:
    """Two operands, of which either may broadcast to the other."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        shape = some_shape(rng, dims)
        shapes = [shape, broadcastable(rng, shape)]
        rng.shuffle(shapes)
        return Sample((first(rng, shapes[0]), second(rng, shapes[1])))

    return sample


def untied(rng: Rng, dims: Dims) -> Sample:
    """Two operands no entry of which ties with one of the other: even and odd multiples of 2 GAP."""
    shape = some_shape(rng, dims)
    other = broadcastable(rng, shape)
    return Sample((rng.integers(-9, 9, shape) * 4 * GAP, (rng.integers(-9, 9, other) * 2 + 1) * 2 * GAP))


def between_steps(rng: Rng, dims: Dims) -> Sample:
    """A divisor of either sign and a dividend whose ratio to it keeps away from integers."""
    shape = some_shape(rng, dims)
    divisor = rng.choice([-1.0, 1.0], shape) * positive(rng, shape)
    return Sample((divisor * (rng.integers(-3, 3, shape) + rng.uniform(0.2, 0.8, shape)), divisor))


def untied_clamp(rng: Rng, dims: Dims) -> Sample:
    low, high = [(-0.5, 0.5), (-0.5, None), (None, 0.5)][int(rng.integers(3))]
    x = normal(rng, some_shape(rng, dims))
    return Sample((np.where(np.abs(np.abs(x) - 0.5) < GAP, x + 2 * GAP, x),), {"min": low, "max": high})


def choice(rng: Rng, dims: Dims) -> Sample:
    shape = some_shape(rng, dims)
    condition = rng.random(broadcastable(rng, shape)) < 0.5
    return Sample((condition, normal(rng, shape), normal(rng, broadcastable(rng, shape))))


def mask(rng: Rng, dims: Dims) -> Sample:
    shape = some_shape(rng, dims)
    return Sample((normal(rng, shape), rng.random(broadcastable(rng, shape)) < 0.5), {"value": -2.5})


def coarse(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Few values, so that many are equal."""
    return rng.choice([-1.0, 0.0, 1.0], shape)


def bits(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-8, 8, shape)


def special(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Halves, zeros, infinities and NaN among ordinary numbers."""
    return rng.choice([-1.5, -0.0, 0.0, 0.5, 2.0, 7.25, np.inf, -np.inf, np.nan], shape)


def to_float64(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, some_shape(rng, dims)),), {"dtype": np.dtype(np.float64)})


def integer_power(rng: Rng, dims: Dims) -> Sample:
    return Sample((nonzero(rng, some_shape(rng, dims)),), {"b": int(rng.integers(-2, 4))})


def _floor_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.floor(a / b)


def _error(function: Callable, exception: type[Exception], match: str, *args: object) -> tuple[ErrorCase, ...]:
    return (ErrorCase(lambda: function(*args), exception, match),)


_UNARY: list[tuple[str, Callable, Callable, Values, str]] = [
    ("neg", ops.neg, np.negative, normal, "all reals"),
    ("exp", ops.exp, np.exp, normal, "all reals"),
    ("log", ops.log, np.log, positive, "positive"),
    ("sqrt", ops.sqrt, np.sqrt, positive, "positive"),
    ("abs", ops.abs, np.abs, nonzero, "away from 0"),
    ("tanh", ops.tanh, np.tanh, normal, "all reals"),
    ("sigmoid", ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), normal, "all reals"),
    ("relu", ops.relu, lambda x: np.where(x > 0, x, 0), nonzero, "away from 0"),
    ("sin", ops.sin, np.sin, normal, "all reals"),
    ("cos", ops.cos, np.cos, normal, "all reals"),
    ("log1p", ops.log1p, lambda x: np.log(1 + x), positive, "positive"),
    ("expm1", ops.expm1, lambda x: np.exp(x) - 1, normal, "all reals"),
    ("square", ops.square, lambda x: x**2, normal, "all reals"),
    ("reciprocal", ops.reciprocal, lambda x: 1 / x, positive, "positive"),
    ("rsqrt", ops.rsqrt, lambda x: 1 / np.sqrt(x), positive, "positive"),
    ("clone", ops.clone, np.copy, normal, "all reals"),
]
_CONSTANT_BINARY: list[tuple[str, Callable, Callable]] = [
    ("eq", ops.eq, np.equal),
    ("ne", ops.ne, np.not_equal),
    ("lt", ops.lt, np.less),
    ("le", ops.le, np.less_equal),
    ("gt", ops.gt, np.greater),
    ("ge", ops.ge, np.greater_equal),
    ("logical_and", ops.logical_and, lambda a, b: (a != 0) & (b != 0)),
    ("logical_or", ops.logical_or, lambda a, b: (a != 0) | (b != 0)),
    ("logical_xor", ops.logical_xor, lambda a, b: (a != 0) != (b != 0)),
    ("isclose", ops.isclose, lambda a, b: np.abs(a - b) <= 1e-8 + 1e-5 * np.abs(b)),
    ("allclose", lambda a, b: Tensor(np.asarray(ops.allclose(a, b))), lambda a, b: np.all(a == b)),
    ("equal", lambda a, b: Tensor(np.asarray(ops.equal(a, b))), lambda a, b: a.shape == b.shape and np.all(a == b)),
]
_BITS: list[tuple[str, Callable, Callable]] = [
    ("bitwise_and", ops.bitwise_and, np.bitwise_and),
    ("bitwise_or", ops.bitwise_or, lambda a, b: a + b - (a & b)),
    ("bitwise_xor", ops.bitwise_xor, lambda a, b: a + b - 2 * (a & b)),
]
_CONSTANT_UNARY: list[tuple[str, Callable, Callable]] = [
    ("logical_not", ops.logical_not, lambda x: x == 0),
    ("isnan", ops.isnan, lambda x: x != x),
    ("isinf", ops.isinf, lambda x: np.abs(x) == np.inf),
    ("isfinite", ops.isfinite, lambda x: np.abs(x) < np.inf),
    ("round", ops.round, np.rint),
    ("floor", ops.floor, np.floor),
    ("ceil", ops.ceil, lambda x: -np.floor(-x)),
    ("trunc", ops.trunc, lambda x: np.copysign(np.floor(np.abs(x)), x)),
    ("sign", ops.sign, lambda x: np.where(np.isnan(x), x, np.subtract(x > 0, x < 0, dtype=x.dtype))),
]

CASES = [
    *(OpCase(name, op, oracle, unary(values), domain) for name, op, oracle, values, domain in _UNARY),
    OpCase("add", ops.add, np.add, binary(normal, normal)),
    OpCase("sub", ops.sub, np.subtract, binary(normal, normal)),
    OpCase("mul", ops.mul, np.multiply, binary(normal, normal)),
    OpCase("div", ops.div, np.divide, binary(normal, positive), "divisor positive"),
    OpCase("pow", ops.pow, np.power, binary(positive, normal), "base positive"),
    OpCase("pow[integer]", ops.pow, lambda x, b: x ** float(b), integer_power, "base away from 0"),
    OpCase("maximum", ops.maximum, lambda a, b: np.where(a > b, a, b), untied, "no ties"),
    OpCase("minimum", ops.minimum, lambda a, b: np.where(a < b, a, b), untied, "no ties"),
    OpCase(
        "clamp",
        ops.clamp,
        lambda x, min, max: np.clip(x, min, max),
        untied_clamp,
        "away from the limits",
        errors=_error(ops.clamp, ValueError, "clamp: at least one of min and max", Tensor(np.zeros(2))),
    ),
    OpCase("clip", ops.clip, lambda x, min, max: np.clip(x, min, max), untied_clamp, "away from the limits"),
    OpCase(
        "where",
        ops.where,
        np.where,
        choice,
        errors=_error(
            ops.where, RuntimeError, "condition has dtype float64; expected bool", *[Tensor(np.zeros(2))] * 3
        ),
    ),
    OpCase("masked_fill", ops.masked_fill, lambda x, mask, value: np.where(mask, x.dtype.type(value), x), mask),
    *(OpCase(name, op, oracle, binary(coarse, coarse), differentiable=False) for name, op, oracle in _CONSTANT_BINARY),
    *(OpCase(name, op, oracle, unary(special), differentiable=False) for name, op, oracle in _CONSTANT_UNARY),
    *(OpCase(name, op, oracle, binary(bits, bits), differentiable=False) for name, op, oracle in _BITS),
    OpCase(
        "bitwise_not",
        ops.bitwise_not,
        lambda x: -1 - x,
        unary(bits),
        differentiable=False,
        errors=_error(ops.bitwise_not, TypeError, "bitwise_not: got dtype float64; expected", Tensor(np.zeros(2))),
    ),
    OpCase("remainder", ops.remainder, np.mod, between_steps, "ratio away from integers"),
    OpCase("floor_divide", ops.floor_divide, _floor_ratio, binary(normal, positive), differentiable=False),
    OpCase("cast", ops.cast, lambda x, dtype: x.astype(dtype), to_float64),
]
