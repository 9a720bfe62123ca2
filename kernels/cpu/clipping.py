"""The squared norm that gradient clipping needs. See `kernels.reference.clipping`."""

import numpy as np

from kernels.cpu.jit import jit_sum


@jit_sum
def _sum_of_squares(values: np.ndarray) -> float:
    """(S,) -> the sum of squares in float64."""
    total = 0.0
    for k in range(values.shape[0]):
        value = np.float64(values[k])
        total += value * value
    return total


def sum_of_squares(x: np.ndarray) -> float:
    """See `kernels.sum_of_squares`."""
    return float(_sum_of_squares(x.reshape(-1)))
