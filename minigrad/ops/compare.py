"""Functions whose result has no gradient: comparisons, logic, bits, tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels import as_array, to_host
from minigrad.arguments import Operand
from minigrad.ops.common import arrays_of, pair, tensor_of
from minigrad.ops.op import CASES, OPS, op
from minigrad.ops.op_case import ErrorCase, OpCase, Rng, Values, operand, operands, special
from minigrad.tensor import Tensor


def _few(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Few values, so that many are equal."""
    return rng.choice([-1.0, 0.0, 1.0], shape)


def _integers(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-8, 8, shape)


def _of_two(
    name: str, function: Callable, description: str, oracle: Callable, values: Values = _few
) -> Callable[..., Tensor]:
    """An op of two operands without a gradient, under PyTorch's promotion."""

    def compared(a: Operand, b: Operand) -> Tensor:
        return Tensor(as_array(function(*arrays_of(name, *pair(name, a, b)))))

    compared.__name__ = compared.__qualname__ = name
    compared.__doc__ = description
    return op(oracle=oracle, sample=operands(values, values), differentiable=False)(compared)


def _of_one(
    name: str, function: Callable, description: str, oracle: Callable, values: Values = special,
    errors: tuple[ErrorCase, ...] = (),
) -> Callable[..., Tensor]:  # fmt: skip
    """An op of one operand without a gradient."""

    def tested(x: Operand) -> Tensor:
        return Tensor(as_array(function(tensor_of(x).array)))

    tested.__name__ = tested.__qualname__ = name
    tested.__doc__ = description
    return op(oracle=oracle, sample=operand(values), differentiable=False, errors=errors)(tested)


def _bits(function: Callable, name: str) -> Callable:
    """A function of the bits of integers, which for bool is the logical one; TypeError for floating operands."""

    def checked(*arrays: np.ndarray) -> np.ndarray:
        if arrays[0].dtype.kind not in "biu":
            raise TypeError(f"{name}: got dtype {arrays[0].dtype}; expected bool or an integer dtype")
        return function(*arrays)

    return checked


eq = _of_two("eq", np.equal, "Whether a == b, elementwise.", np.equal)
ne = _of_two("ne", np.not_equal, "Whether a != b, elementwise.", np.not_equal)
lt = _of_two("lt", np.less, "Whether a < b, elementwise.", np.less)
le = _of_two("le", np.less_equal, "Whether a <= b, elementwise.", np.less_equal)
gt = _of_two("gt", np.greater, "Whether a > b, elementwise.", np.greater)
ge = _of_two("ge", np.greater_equal, "Whether a >= b, elementwise.", np.greater_equal)
logical_and = _of_two(
    "logical_and", np.logical_and, "Whether both hold, elementwise.", lambda a, b: (a != 0) & (b != 0)
)
logical_or = _of_two("logical_or", np.logical_or, "Whether one holds, elementwise.", lambda a, b: (a != 0) | (b != 0))
logical_xor = _of_two(
    "logical_xor", np.logical_xor, "Whether exactly one holds, elementwise.", lambda a, b: (a != 0) != (b != 0)
)
logical_not = _of_one("logical_not", np.logical_not, "Whether it does not hold, elementwise.", lambda x: x == 0)
bitwise_and = _of_two(
    "bitwise_and",
    _bits(np.bitwise_and, "bitwise_and"),
    "a & b: the bits set in both; for bool, whether both hold.",
    np.bitwise_and,
    _integers,
)
bitwise_or = _of_two(
    "bitwise_or",
    _bits(np.bitwise_or, "bitwise_or"),
    "a | b: the bits set in one or both; for bool, whether one holds.",
    lambda a, b: a + b - (a & b),
    _integers,
)
bitwise_xor = _of_two(
    "bitwise_xor",
    _bits(np.bitwise_xor, "bitwise_xor"),
    "a ^ b: the bits set in one only; for bool, whether they differ.",
    lambda a, b: a + b - 2 * (a & b),
    _integers,
)
bitwise_not = _of_one(
    "bitwise_not",
    _bits(np.invert, "bitwise_not"),
    "~x: every bit turned over; for bool, whether it does not hold.",
    lambda x: -1 - x,
    _integers,
    (ErrorCase(lambda: OPS["bitwise_not"](Tensor(np.zeros(2))), TypeError, "bitwise_not: got dtype float64"),),
)
isnan = _of_one("isnan", np.isnan, "Whether each element is NaN.", lambda x: x != x)
isinf = _of_one("isinf", np.isinf, "Whether each element is infinite.", lambda x: np.abs(x) == np.inf)
isfinite = _of_one(
    "isfinite", np.isfinite, "Whether each element is neither NaN nor infinite.", lambda x: np.abs(x) < np.inf
)


@op(oracle=lambda a, b: np.abs(a - b) <= 1e-8 + 1e-5 * np.abs(b), sample=operands(_few, _few), differentiable=False)
def isclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |a - b| <= atol + rtol * |b|, elementwise; ``equal_nan``: NaN is close to NaN."""
    if not (rtol >= 0 and atol >= 0):
        raise RuntimeError(f"isclose: rtol is {rtol}, atol {atol}; expected 0 or more")
    x, y = arrays_of("isclose", *pair("isclose", a, b))
    return Tensor(as_array(np.isclose(x, y, rtol, atol, equal_nan)))


@op()
def allclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every pair is close; see ``isclose``."""
    return bool(to_host(isclose(a, b, rtol, atol, equal_nan).array.all()))


@op()
def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements."""
    x, y = arrays_of("equal", a, b)
    return a.shape == b.shape and bool(to_host(as_array((x == y).all())))


def _truth(function: Callable[[Tensor, Tensor], bool]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: Tensor(np.asarray(function(a, b)))


for _name, _test, _oracle in (
    ("allclose", allclose, lambda a, b: np.all(a == b)),
    ("equal", equal, lambda a, b: a.shape == b.shape and np.all(a == b)),
):
    CASES.append(OpCase(_name, _truth(_test), _oracle, operands(_few, _few), differentiable=False))
