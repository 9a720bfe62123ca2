"""Arrays that a kernel updates in place, whatever their layout."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kernels.dispatch.backend import contiguous


@contextmanager
def updating(*arrays: np.ndarray | None) -> Iterator[list[Any]]:
    """The arrays in C order for a kernel to write to; copies are written back at the end. None stays None."""
    works = [contiguous(array) for array in arrays]
    yield works
    for array, work in zip(arrays, works, strict=True):
        if array is not None and work is not array:
            array[...] = work
