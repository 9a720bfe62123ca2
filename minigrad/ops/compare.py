"""Functions whose result has no gradient: comparisons, logic, bits, tests, rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels import as_array, to_host
from minigrad.ops.common import arrays_of, as_tensor, promote
from minigrad.tensor import Tensor


def _constant(function: Callable, description: str, name: str) -> Callable[..., Tensor]:
    """A function whose result has no gradient (comparisons, rounding, tests), under PyTorch's promotion."""

    def wrapped(*operands: Any) -> Tensor:
        tensors = promote(*operands) if len(operands) > 1 else [as_tensor(operands[0])]
        return Tensor(as_array(function(*arrays_of(name, *tensors))))

    wrapped.__name__, wrapped.__doc__ = name, description
    return wrapped


def _bitwise(function: Callable, description: str, name: str) -> Callable[..., Tensor]:
    """A function of the bits of integers, which for bool is the logical one; TypeError for floating operands."""

    def checked(*arrays: np.ndarray) -> np.ndarray:
        if arrays[0].dtype.kind not in "biu":
            raise TypeError(f"{name}: got dtype {arrays[0].dtype}; expected bool or an integer dtype")
        return function(*arrays)

    return _constant(checked, description, name)


eq = _constant(np.equal, "Whether a == b, elementwise.", "eq")
ne = _constant(np.not_equal, "Whether a != b, elementwise.", "ne")
lt = _constant(np.less, "Whether a < b, elementwise.", "lt")
le = _constant(np.less_equal, "Whether a <= b, elementwise.", "le")
gt = _constant(np.greater, "Whether a > b, elementwise.", "gt")
ge = _constant(np.greater_equal, "Whether a >= b, elementwise.", "ge")
logical_and = _constant(np.logical_and, "Whether both hold, elementwise.", "logical_and")
logical_or = _constant(np.logical_or, "Whether one holds, elementwise.", "logical_or")
logical_xor = _constant(np.logical_xor, "Whether exactly one holds, elementwise.", "logical_xor")
logical_not = _constant(np.logical_not, "Whether it does not hold, elementwise.", "logical_not")
bitwise_and = _bitwise(np.bitwise_and, "a & b: the bits set in both; for bool, whether both hold.", "bitwise_and")
bitwise_or = _bitwise(np.bitwise_or, "a | b: the bits set in one or both; for bool, whether one holds.", "bitwise_or")
bitwise_xor = _bitwise(np.bitwise_xor, "a ^ b: the bits set in one only; for bool, whether they differ.", "bitwise_xor")
bitwise_not = _bitwise(np.invert, "~x: every bit turned over; for bool, whether it does not hold.", "bitwise_not")
isnan = _constant(np.isnan, "Whether each element is NaN.", "isnan")
isinf = _constant(np.isinf, "Whether each element is infinite.", "isinf")
isfinite = _constant(np.isfinite, "Whether each element is neither NaN nor infinite.", "isfinite")
round = _constant(np.round, "The nearest integer, halves to even.", "round")
floor = _constant(np.floor, "The largest integer not above.", "floor")
ceil = _constant(np.ceil, "The smallest integer not below.", "ceil")
trunc = _constant(np.trunc, "The nearest integer towards 0.", "trunc")
sign = _constant(np.sign, "-1, 0 or 1.", "sign")
floor_divide = _constant(np.floor_divide, "a / b rounded down.", "floor_divide")
remainder = _constant(np.remainder, "a - b * floor(a / b).", "remainder")


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |a - b| <= atol + rtol * |b|, elementwise; ``equal_nan``: NaN is close to NaN."""
    a, b = promote(a, b)
    x, y = arrays_of("isclose", a, b)
    return Tensor(as_array(np.isclose(x, y, rtol, atol, equal_nan)))


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every pair is close; see ``isclose``."""
    return bool(to_host(isclose(a, b, rtol, atol, equal_nan).array.all()))


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements."""
    x, y = arrays_of("equal", a, b)
    return a.shape == b.shape and bool(to_host(as_array((x == y).all())))
