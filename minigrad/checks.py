"""Argument checks of all that takes Tensors and numbers: who asks, what was given, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.naming import described
from minigrad.tensor import Tensor


def check_tensor(owner: str, name: str, value: Any) -> None:
    """Raise TypeError unless it is a Tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{owner}: {name} is {described(value)}; expected a tensor")


def tensors_of(owner: str, name: str, values: Any) -> list[Any]:
    """``values``, one Tensor or several, as a list; TypeError for anything else."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{owner}: {name} is {described(values)}; expected Tensors")
    listed = list(values)
    for position, value in enumerate(listed):
        check_tensor(owner, f"{name}[{position}]", value)
    return listed


def check_number(owner: str, name: str, value: Any) -> None:
    """Raise TypeError unless it is a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{owner}: {name} is {described(value)}; expected a number")


def check_int(owner: str, name: str, value: Any) -> None:
    """Raise TypeError unless it is an integer."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{owner}: {name} is {described(value)}; expected an int")
