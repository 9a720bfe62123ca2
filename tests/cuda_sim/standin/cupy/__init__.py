"""A stand-in for CuPy on a machine without a GPU: the part of CuPy 14 that this project uses, on the processor.

With this folder's parent first on sys.path, `import cupy` gives it. Arrays are NumPy inside but behave like CuPy's,
and as strictly: nothing becomes a NumPy array by itself, a NumPy array beside a device array is a TypeError, functions
take the parameters that CuPy's take and no others. What CuPy has and this lacks is an AttributeError.
"""

from __future__ import annotations

import importlib.util

import numpy as _numpy
from numpy import (
    bool_,
    dtype,
    float16,
    float32,
    float64,
    inf,
    int8,
    int16,
    int32,
    int64,
    nan,
    newaxis,
    uint8,
    uint16,
    uint32,
    uint64,
)

from ._arrays import ndarray
from ._functions import FUNCTIONS, UFUNCS, get_default_memory_pool, get_default_pinned_memory_pool, ufunc

__version__ = "14.2.0+standin"

globals().update(FUNCTIONS)
globals().update(UFUNCS)

if importlib.util.find_spec("cupy.cuda") is not None:
    from . import cuda
if importlib.util.find_spec("cupy._module") is not None:
    from ._module import RawModule


def is_available() -> bool:
    return cuda.is_available()


def get_array_module(*args: object) -> object:
    import sys

    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else _numpy
