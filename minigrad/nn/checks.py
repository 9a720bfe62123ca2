"""Argument checks shared by the layers: every error names the argument, what was got and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.naming import kind_of
from minigrad.tensor import Tensor


def reject(owner: str, **arguments: Any) -> None:
    """Raise NotImplementedError for PyTorch arguments that minigrad does not have, unless they are off (falsy)."""
    for name, value in arguments.items():
        if value:
            raise NotImplementedError(f"{owner}: {name}={value!r} is not supported; leave it out")


def check_tensor(owner: str, name: str, value: Any) -> None:
    """Raise TypeError unless it is a Tensor."""
    if not isinstance(value, Tensor):
        hint = ", which tensor() makes of it" if isinstance(value, list | tuple | np.ndarray | float | int) else ""
        raise TypeError(f"{owner}: {name} is {kind_of(value)}; expected a Tensor{hint}")


def tensors_of(owner: str, name: str, values: Any) -> list[Any]:
    """``values``, one Tensor or several, as a list; TypeError for anything else."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{owner}: {name} is {kind_of(values)}; expected Tensors")
    listed = list(values)
    for position, value in enumerate(listed):
        check_tensor(owner, f"{name}[{position}]", value)
    return listed


def check_number(owner: str, name: str, value: Any) -> None:
    """Raise TypeError unless it is a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{owner}: {name} is {_shown(value)}; expected a number")


def check_probability(owner: str, name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{owner}: {name} is {value!r}; expected a probability between 0 and 1")


def check_positive(owner: str, **sizes: int) -> None:
    """Raise TypeError or ValueError unless every size is an integer above zero."""
    for name, size in sizes.items():
        check_int(owner, name, size)
        if size <= 0:
            raise ValueError(f"{owner}: {name} is {size}; expected more than zero")


def check_not_negative(owner: str, **sizes: int) -> None:
    """Raise TypeError or ValueError unless every size is an integer of zero or more."""
    for name, size in sizes.items():
        check_int(owner, name, size)
        if size < 0:
            raise ValueError(f"{owner}: {name} is {size}; expected zero or more")


def check_int(owner: str, name: str, value: Any) -> None:
    """Raise TypeError unless it is an integer."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{owner}: {name} is {_shown(value)}; expected an int")


def check_reduction(owner: str, reduction: str) -> None:
    """Raise ValueError unless ``reduction`` is one of PyTorch's three."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{owner}: {reduction!r} is not a valid value for reduction; expected 'mean', 'sum' or 'none'")


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | bool | int | float) else kind_of(value)
