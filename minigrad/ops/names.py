"""Other names of arguments: NumPy's (``axis``, ``keepdims``), PyTorch's (``input``, ``other``), ``dims=`` of a list.

Every function of ``minigrad.ops`` accepts them beside its own, so that no op has to say so itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

OTHER_NAMES = {"axis": ("dim",), "keepdims": ("keepdim",), "input": ("x", "a"), "other": ("b",)}


def with_other_names(function: Callable) -> Callable:
    """``function``, accepting also the other names of its arguments, and its ``*dims`` by keyword."""
    parameters = inspect.signature(function).parameters
    own = {
        other: name for other, names in OTHER_NAMES.items() for name in names if name in parameters
    }  # other name -> own name
    several = [name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
    if not own and not several:
        return function

    @functools.wraps(function)
    def accepting(*args: Any, **options: Any) -> Any:
        if not options:
            return function(*args)
        named = {own.get(name, name): value for name, value in options.items()}
        if len(named) < len(options):
            raise TypeError(f"{function.__name__}: an argument is given twice among {', '.join(options)}")
        args += tuple(named.pop(name) for name in several if name in named)
        return function(*args, **named)

    return accepting
