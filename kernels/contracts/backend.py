"""Which backend serves a call: where its arrays lie decides, and for float64 on a GPU their dtype.

There float64 serves gradient checks alone, and the oracle computes it on the device's arrays.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from kernels.arrays import on_device

FLOAT64 = np.dtype(np.float64)


def lie_on_device(named: Sequence[tuple[str, Any]]) -> bool:
    """Whether these arrays, each with its argument's name, lie on a GPU; None is skipped.

    Raises:
        TypeError: an argument that is no array, or arrays on the host and on a GPU in one call.
    """
    given = [(name, array) for name, array in named if array is not None]
    if all(type(array) is np.ndarray for _, array in given):
        return False
    if all(on_device(array) for _, array in given):
        return True
    raise _array_error({name: _kind(array) for name, array in given})


def _kind(array: Any) -> str:
    return f"{type(array).__module__.split('.')[0]}.{type(array).__name__}"


def _array_error(kinds: dict[str, str]) -> Exception:
    """The error for arguments that are neither all NumPy's arrays nor all CuPy's."""
    for name, kind in kinds.items():
        if kind not in ("numpy.ndarray", "cupy.ndarray"):
            return TypeError(f"{name} is a {kind}; expected a NumPy array")
    (first_name, first), *others = kinds.items()
    name, kind = next((name, kind) for name, kind in others if kind != first)
    return TypeError(f"{first_name} is a {first} but {name} is a {kind}; expected one array type in a call")


def backend_of(device: bool, dtype: np.dtype | None) -> ModuleType:
    """The backend for arrays on a GPU or on the host, of this floating dtype."""
    if not device:
        return _module("kernels.cpu")
    return _module("kernels.reference" if dtype is not None and dtype == FLOAT64 else "kernels.cuda")


@cache
def _module(name: str) -> ModuleType:
    """Imported at the first call: Numba takes a while, and CuPy may be missing."""
    return import_module(name)


def contiguous(array: Any) -> Any:
    """The array itself where it is C-contiguous, else a copy; None stays None."""
    return array if array is None or array.flags.c_contiguous else array.copy(order="C")


def report_ids(wrong: Any) -> None:
    """Note on the GPU that an id was out of range if any element of `wrong` (bool, there) holds: `to_host` will raise
    an IndexError. The host does not wait."""
    _module("kernels.cuda").report_ids(wrong)
