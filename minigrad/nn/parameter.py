"""Parameter: a tensor that a Module registers and an optimiser updates, perhaps some of its rows later than others."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad.lazy import LazyParameter
from minigrad.tensor import Tensor


class Parameter(LazyParameter):
    """A leaf tensor that becomes part of a module when it is assigned to one of its attributes.

    Args:
        data: initial values, a Tensor (its memory is shared) or an array, floating point.
        requires_grad: whether backward fills ``.grad``.
    """

    __slots__ = ()

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        values = np.empty(0, np.float32) if data is None else data.array if isinstance(data, Tensor) else data
        super().__init__(values if kernels.is_array(values) else np.asarray(values), requires_grad=requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        copied = type(self)(self.array.copy(), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
