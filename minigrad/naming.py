"""How messages call what a user gave."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np


@runtime_checkable
class _Tensor(Protocol):
    """What this file knows of a tensor."""

    def _described(self) -> str: ...


def _is_tensor(value: Any) -> TypeGuard[_Tensor]:
    return isinstance(value, _Tensor) and not inspect.isclass(value)


def described(value: Any) -> str:
    """A value as messages name it: "None", "'abc'", "a list with 1.0", "a tensor of shape (2, 3) and dtype float32"."""
    if _is_tensor(value):
        return value._described()
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, list | tuple):
        return _described_list(value)
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _described_list(values: list | tuple) -> str:
    """A list and its first member that is neither a tensor nor an integer, if there is one."""
    kind = f"a {type(values).__name__}"
    strange = [item for item in values if not (isinstance(item, int | np.integer) or _is_tensor(item))]
    return f"{kind} with {described(strange[0])}" if strange else f"{kind} of {len(values)}"
