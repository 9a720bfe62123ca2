"""The squared norm that gradient clipping needs. See `kernels.reference.clipping`."""

import math
from collections.abc import Sequence

import numpy as np

from kernels.cpu.chunks import CHUNK, run_chunks
from kernels.cpu.jit import jit_sum


@jit_sum
def _sum_of_squares(values: np.ndarray, sums: np.ndarray, start: int, stop: int) -> None:
    """values (S,); the sum of the squares of a chunk, in float64, becomes its entry of sums."""
    total, chunk = 0.0, values[start:stop]
    for k in range(chunk.shape[0]):
        value = np.float64(chunk[k])
        total += value * value
    sums[start // CHUNK] = total


def sum_of_squares(x: np.ndarray) -> float:
    """See `kernels.sum_of_squares`; the sums of the chunks are added in their order."""
    sums = np.zeros(-(-x.size // CHUNK))
    run_chunks(_sum_of_squares, x.size, CHUNK, x.reshape(-1), sums)
    return float(sum(sums.tolist()))


def clip_coefficient(grads: Sequence[np.ndarray], max_norm: float) -> tuple[float, float]:
    """See `kernels.clip_coefficient`."""
    norm = math.sqrt(sum(sum_of_squares(grad) for grad in grads))
    return norm, float(np.minimum(1.0, max_norm / (norm + 1e-6)))  # unlike min(), lets NaN through
