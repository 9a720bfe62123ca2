"""What a Function's forward gives, as tensors, and which tensors have the memory that it saved.

Contract: a result has memory of its own, unless showing an argument is what the op is for: otherwise a change of one in
place would change the other, and the tape would not notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import kernels
from minigrad.tensor import Tensor


def as_tensor(function: type, result: Any, others: Sequence[Any]) -> Tensor:
    """A result, an array or a number, as a tensor that shares no memory with the others."""
    if result is None:
        raise TypeError(f"{function.__name__}.forward returned None; expected an array, or a tuple of arrays")
    if isinstance(result, int):  # which a tensor would take for its size
        return Tensor(np.asarray(result))
    return Tensor(result.copy() if kernels.shares_memory(result, others) else result)


def as_tensors(function: type, results: Sequence[Any], others: Sequence[Any]) -> tuple[Tensor, ...]:
    """As ``as_tensor``, of several, which share no memory with each other either."""
    found: list[Tensor] = []
    for result in results:
        found.append(as_tensor(function, result, [*others, *(one.array for one in found)]))
    return tuple(found)


def holders(candidates: Iterable[Any], saved: Iterable[Any]) -> list[Tensor]:
    """The tensors among the candidates that have memory of an array which was saved."""
    kept: set[int] = set()
    for array in saved:
        base = getattr(array, "base", None)
        if array is not None:
            kept.add(id(array if base is None else base))
    found = []
    for one in candidates:
        if isinstance(one, Tensor):
            array = one.array
            if id(array) in kept or id(array.base) in kept:
                found.append(one)
    return found
