"""Inverted dropout with a counter-based mask, so that the backward is the same call on dy.

Source: Srivastava et al. (2014); the mask words come from `random.py`.
"""

import numpy as np

from kernels.arrays import like
from kernels.reference.random import random_bits


def dropout(x: np.ndarray, p: float, seed: int, step: int, site: int, start: int = 0) -> np.ndarray:
    """See `kernels.dropout`."""
    keep = random_bits(start + x.size, seed, step, site)[start:] >= np.uint64(p * 2**32)
    scale = x.dtype.type(0.0 if p == 1 else 1 / (1 - p))
    return x * like(keep.reshape(x.shape) * scale, x)
