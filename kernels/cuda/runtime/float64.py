"""The one rule for float64: the oracle computes it, on the device's arrays. It serves gradient checks."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

import kernels.reference as reference

Entry = TypeVar("Entry", bound=Callable[..., Any])


def by_reference(entry: Entry) -> Entry:
    """An entry for float32 -> the same for float64 too. The first argument that is given, an array, a list of arrays or
    what an entry has made (a cache, packed weights), tells."""
    oracle = getattr(reference, entry.__name__)

    @wraps(entry)
    def chosen(*args: Any, **options: Any) -> Any:
        first = next((value for value in args if value is not None), None)
        return (oracle if _is_float64(first) else entry)(*args, **options)

    return chosen  # type: ignore[return-value]


def _is_float64(value: Any) -> bool:
    if type(value) in (list, tuple):
        return bool(value) and _is_float64(value[0])
    dtype = getattr(value, "dtype", None)
    return type(value).__module__.startswith(reference.__name__) if dtype is None else dtype == np.float64
