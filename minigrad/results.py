"""What a Function's forward gives, as tensors.

Contract: a result has memory of its own, unless showing an argument is what the op is for: otherwise a change of one in
place would change the other, and the tape would not notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import kernels
from minigrad.tensor import Tensor


def as_tensors(function: str, results: Sequence[Any], arguments: Sequence[Any], may_share: bool) -> tuple[Tensor, ...]:
    """The results as tensors.

    Args:
        function: its name, for messages.
        results: arrays or numbers.
        arguments: what it was called with.
        may_share: whether the first result may have memory of an argument.
    """
    if len(results) == 1:
        return (_tensor(function, results[0], () if may_share else arguments),)
    found: list[Tensor] = []
    for result in results:
        others = [*(() if may_share else arguments), *(one.array for one in found)]
        found.append(_tensor(function, result, others))
    return tuple(found)


def _tensor(function: str, result: Any, others: Sequence[Any]) -> Tensor:
    if result is None:
        raise TypeError(f"{function}.forward returned None; expected an array, or a tuple of arrays")
    if isinstance(result, int):  # which a tensor would take for its size
        return Tensor(np.asarray(result))
    return Tensor(result.copy() if kernels.shares_memory(result, others) else result)


def owner(array: Any) -> Any:
    """The array whose memory an array shows, itself where that is its own; anything else as it is."""
    base = getattr(array, "base", None)
    return array if base is None or not kernels.is_array(base) else base
