"""Inverted dropout with a counter-based mask. See `kernels.reference.dropout`."""

import numpy as np

from kernels.cpu.jit import jit
from kernels.cpu.random import random_bits


@jit
def _mask(x: np.ndarray, words: np.ndarray, threshold: np.uint64, scale: float, out: np.ndarray) -> None:
    """out = x * scale where the word is >= threshold, else x * 0; arrays (S,), scale of their dtype."""
    dropped = scale * 0
    for k in range(x.shape[0]):
        out[k] = x[k] * (scale if words[k] >= threshold else dropped)


def dropout(x: np.ndarray, p: float, seed: int, step: int, site: int) -> np.ndarray:
    """See `kernels.dropout`."""
    scale = x.dtype.type(0.0 if p == 1 else 1 / (1 - p))
    out = np.empty_like(x)
    words = random_bits(x.size, seed, step, site)
    _mask(x.reshape(-1), words, np.uint64(p * 2**32), scale, out.reshape(-1))
    return out
