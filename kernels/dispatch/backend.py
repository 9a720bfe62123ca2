"""Which backend serves a call: the type of its arrays decides."""

from functools import cache
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import Any

import numpy as np

from kernels.arrays import on_device


def backend_for(*arrays: Any, **named: Any) -> ModuleType:
    """The backend module for these arrays; None is skipped. Keyword names serve the error messages.

    Returns:
        `kernels.cpu` for NumPy arrays, and when no array is given; `kernels.cuda` for CuPy's.

    Raises:
        TypeError: an argument that is no array, or two array types in one call.
    """
    for array in chain(arrays, named.values()):
        if array is not None and type(array) is not np.ndarray:
            break
    else:
        return _cpu()
    if all(array is None or on_device(array) for array in chain(arrays, named.values())):
        return import_module("kernels.cuda")
    arguments = {f"argument {position}": array for position, array in enumerate(arrays)} | named
    raise _backend_error({name: array for name, array in arguments.items() if array is not None})


@cache
def _cpu() -> ModuleType:
    """Imported at the first call: Numba takes a while."""
    return import_module("kernels.cpu")


def _backend_error(arguments: dict[str, Any]) -> Exception:
    """The error for arguments that are neither all NumPy's arrays nor all CuPy's."""
    types = {name: f"{type(a).__module__.split('.')[0]}.{type(a).__name__}" for name, a in arguments.items()}
    for name, found in types.items():
        if found not in ("numpy.ndarray", "cupy.ndarray"):
            return TypeError(f"{name} is a {found}; expected a NumPy array")
    (first_name, first), *others = types.items()
    name, found = next((name, found) for name, found in others if found != first)
    return TypeError(f"{first_name} is a {first} but {name} is a {found}; expected one array type in a call")


def contiguous(array: Any) -> Any:
    """The array itself where it is C-contiguous, else a copy; None stays None."""
    return array if array is None or array.flags.c_contiguous else array.copy(order="C")
