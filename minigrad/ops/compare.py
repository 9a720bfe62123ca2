"""Elementwise functions whose result has no gradient: comparisons, tests, rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.ops.common import as_tensor, promote
from minigrad.tensor import Tensor


def _constant(function: Callable, description: str, name: str) -> Callable[..., Tensor]:
    """A function whose result has no gradient (comparisons, rounding, tests), under PyTorch's promotion."""

    def wrapped(*operands: Any) -> Tensor:
        tensors = promote(*operands) if len(operands) > 1 else [as_tensor(operands[0])]
        return Tensor(np.asarray(function(*[t.array for t in tensors])))

    wrapped.__name__, wrapped.__doc__ = name, description
    return wrapped


eq = _constant(np.equal, "Whether a == b, elementwise.", "eq")
ne = _constant(np.not_equal, "Whether a != b, elementwise.", "ne")
lt = _constant(np.less, "Whether a < b, elementwise.", "lt")
le = _constant(np.less_equal, "Whether a <= b, elementwise.", "le")
gt = _constant(np.greater, "Whether a > b, elementwise.", "gt")
ge = _constant(np.greater_equal, "Whether a >= b, elementwise.", "ge")
logical_and = _constant(np.logical_and, "Whether both hold, elementwise.", "logical_and")
logical_or = _constant(np.logical_or, "Whether one holds, elementwise.", "logical_or")
logical_not = _constant(np.logical_not, "Whether it does not hold, elementwise.", "logical_not")
isnan = _constant(np.isnan, "Whether each element is NaN.", "isnan")
isinf = _constant(np.isinf, "Whether each element is infinite.", "isinf")
isfinite = _constant(np.isfinite, "Whether each element is neither NaN nor infinite.", "isfinite")
round = _constant(np.round, "The nearest integer, halves to even.", "round")
floor = _constant(np.floor, "The largest integer not above.", "floor")
floor_divide = _constant(np.floor_divide, "a / b rounded down.", "floor_divide")
remainder = _constant(np.remainder, "a - b * floor(a / b).", "remainder")
