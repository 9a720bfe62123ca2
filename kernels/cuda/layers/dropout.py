"""Inverted dropout with a counter-based mask that is never stored. See `kernels.reference.dropout`."""

from typing import Any

import numpy as np

from kernels.cuda.layers.random import key
from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.launcher import module


def dropout(x: Any, p: float, seed: int, step: int, site: int, start: int = 0) -> Any:
    """See `kernels.dropout`."""
    y = np.empty(x.shape, x.dtype, like=x)
    scale = np.float32(0.0 if p == 1 else 1 / (1 - p))
    numbers = np.uint64(p * 2**32), scale, np.uint32(site), np.uint64(start), np.uint64(x.size)
    module("layers/dropout").dropout(geometry.dropout(x.size), (x, y, key(seed, step), *numbers))
    return y
