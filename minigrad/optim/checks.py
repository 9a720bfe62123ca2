"""Checks of what users give to optimisers and schedules: every error names the option, what was got and expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minigrad.nn.checks import check_number as check_number
from minigrad.nn.checks import reject

# PyTorch's options that choose how a step is computed and not what it gives; all of them are off here.
WITHOUT_EFFECT = ("foreach", "fused", "capturable", "differentiable")


def reject_others(owner: str, others: Mapping[str, Any], *known: str) -> None:
    """Refuse PyTorch's options that are not here, unless they are off, and names that are no option.

    Args:
        owner: the optimiser.
        others: what was given beside the options that it has.
        known: the options that it has.

    Raises:
        NotImplementedError: an option that is not supported. TypeError: there is no such option.
    """
    reject(owner, **{name: value for name, value in others.items() if name in WITHOUT_EFFECT})
    if others.get("decoupled_weight_decay"):
        raise NotImplementedError(f"{owner}: decoupled_weight_decay=True is not supported; use AdamW")
    unknown = [name for name in others if name not in (*WITHOUT_EFFECT, "decoupled_weight_decay")]
    if unknown:
        from difflib import get_close_matches  # which few imports need

        close = get_close_matches(unknown[0], known, 1, 0.5) or [", ".join(known)]
        raise TypeError(f"{owner}: there is no option {unknown[0]!r}; did you mean {close[0]}?")


def check_above_zero(owner: str, name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless it is a number above 0 (NaN is not)."""
    check_number(owner, name, value)
    if not value > 0:
        raise ValueError(f"{owner}: {name} is {value}; expected more than 0")


def check_at_least_zero(owner: str, group: Mapping[str, Any], *names: str) -> None:
    """Raise TypeError or ValueError unless each of the named options is a number of at least 0 (NaN is not)."""
    for name in names:
        check_number(owner, name, group[name])
        if not group[name] >= 0:
            raise ValueError(f"{owner}: {name} is {group[name]}; expected 0 or more")


def check_fractions(owner: str, name: str, values: Any, count: int) -> None:
    """Raise TypeError or ValueError unless ``values`` are so many numbers in [0, 1)."""
    if not isinstance(values, tuple | list) or len(values) != count:
        raise TypeError(f"{owner}: {name} is {values!r}; expected {count} numbers")
    for index, value in enumerate(values):
        check_number(owner, f"{name}[{index}]", value)
        if not 0 <= value < 1:
            raise ValueError(f"{owner}: {name}[{index}] is {value}; expected 0 <= {name}[{index}] < 1")
