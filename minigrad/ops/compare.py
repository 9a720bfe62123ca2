"""Functions whose result has no gradient: comparisons, logic, bits, tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels import as_array, to_host
from minigrad.arguments import Operand
from minigrad.ops.common import arrays_of, as_tensor, pair
from minigrad.tensor import Tensor


def _of_two(function: Callable, description: str, name: str) -> Callable[..., Tensor]:
    """A function of two operands without a gradient, under PyTorch's promotion."""

    def compared(a: Operand, b: Operand) -> Tensor:
        return Tensor(as_array(function(*arrays_of(name, *pair(name, a, b)))))

    compared.__name__ = compared.__qualname__ = name
    compared.__doc__ = description
    return compared


def _of_one(function: Callable, description: str, name: str) -> Callable[..., Tensor]:
    """A function of one operand without a gradient."""

    def tested(x: Operand) -> Tensor:
        return Tensor(as_array(function(as_tensor(x).array)))

    tested.__name__ = tested.__qualname__ = name
    tested.__doc__ = description
    return tested


def _bits(function: Callable, name: str) -> Callable:
    """A function of the bits of integers, which for bool is the logical one; TypeError for floating operands."""

    def checked(*arrays: np.ndarray) -> np.ndarray:
        if arrays[0].dtype.kind not in "biu":
            raise TypeError(f"{name}: got dtype {arrays[0].dtype}; expected bool or an integer dtype")
        return function(*arrays)

    return checked


eq = _of_two(np.equal, "Whether a == b, elementwise.", "eq")
ne = _of_two(np.not_equal, "Whether a != b, elementwise.", "ne")
lt = _of_two(np.less, "Whether a < b, elementwise.", "lt")
le = _of_two(np.less_equal, "Whether a <= b, elementwise.", "le")
gt = _of_two(np.greater, "Whether a > b, elementwise.", "gt")
ge = _of_two(np.greater_equal, "Whether a >= b, elementwise.", "ge")
logical_and = _of_two(np.logical_and, "Whether both hold, elementwise.", "logical_and")
logical_or = _of_two(np.logical_or, "Whether one holds, elementwise.", "logical_or")
logical_xor = _of_two(np.logical_xor, "Whether exactly one holds, elementwise.", "logical_xor")
logical_not = _of_one(np.logical_not, "Whether it does not hold, elementwise.", "logical_not")
bitwise_and = _of_two(
    _bits(np.bitwise_and, "bitwise_and"), "a & b: the bits set in both; for bool, whether both hold.", "bitwise_and"
)
bitwise_or = _of_two(
    _bits(np.bitwise_or, "bitwise_or"), "a | b: the bits set in one or both; for bool, whether one holds.", "bitwise_or"
)
bitwise_xor = _of_two(
    _bits(np.bitwise_xor, "bitwise_xor"),
    "a ^ b: the bits set in one only; for bool, whether they differ.",
    "bitwise_xor",
)
bitwise_not = _of_one(
    _bits(np.invert, "bitwise_not"), "~x: every bit turned over; for bool, whether it does not hold.", "bitwise_not"
)
isnan = _of_one(np.isnan, "Whether each element is NaN.", "isnan")
isinf = _of_one(np.isinf, "Whether each element is infinite.", "isinf")
isfinite = _of_one(np.isfinite, "Whether each element is neither NaN nor infinite.", "isfinite")


def isclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |a - b| <= atol + rtol * |b|, elementwise; ``equal_nan``: NaN is close to NaN."""
    if not (rtol >= 0 and atol >= 0):
        raise RuntimeError(f"isclose: rtol is {rtol}, atol {atol}; expected 0 or more")
    x, y = arrays_of("isclose", *pair("isclose", a, b))
    return Tensor(as_array(np.isclose(x, y, rtol, atol, equal_nan)))


def allclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every pair is close; see ``isclose``."""
    return bool(to_host(isclose(a, b, rtol, atol, equal_nan).array.all()))


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements."""
    x, y = arrays_of("equal", a, b)
    return a.shape == b.shape and bool(to_host(as_array((x == y).all())))
