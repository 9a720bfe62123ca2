"""The squared norm that gradient clipping needs (Pascanu, Mikolov and Bengio, 2013)."""

import numpy as np


def sum_of_squares(x: np.ndarray) -> float:
    """See `kernels.sum_of_squares`."""
    return float(np.sum(np.square(x, dtype=np.float64)))
