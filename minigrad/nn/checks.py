"""Argument checks shared by the layers: every error names the argument, what was got and what was expected."""

from __future__ import annotations

from typing import Any

from minigrad.checks import check_int as check_int
from minigrad.checks import check_number as check_number
from minigrad.checks import check_tensor as check_tensor
from minigrad.checks import tensors_of as tensors_of
from minigrad.naming import described


def reject(owner: str, **arguments: Any) -> None:
    """Raise NotImplementedError for PyTorch arguments that minigrad does not have, unless they are off (falsy)."""
    for name, value in arguments.items():
        if value:
            raise NotImplementedError(f"{owner}: {name}={value!r} is not supported; leave it out")


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


def row_index(owner: str, padding_idx: int | None, rows: int) -> int | None:
    """``padding_idx`` counted from the start; TypeError or ValueError unless it is a row of so many, or None."""
    if padding_idx is None:
        return None
    check_int(owner, "padding_idx", padding_idx)
    if not -rows <= padding_idx < rows:
        raise ValueError(f"{owner}: padding_idx is {padding_idx}; expected a row of the {rows} embeddings")
    return padding_idx % rows


def check_reduction(owner: str, reduction: str) -> None:
    """Raise ValueError unless ``reduction`` is one of PyTorch's three."""
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ValueError(
            f"{owner}: {described(reduction)} is not a valid value for reduction; expected 'mean', 'sum' or 'none'"
        )
