"""The norm that gradient clipping needs, and what it multiplies with (Pascanu, Mikolov and Bengio, 2013)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.arrays import on_device


def sum_of_squares(x: np.ndarray) -> Any:
    """See `kernels.sum_of_squares`."""
    total = np.sum(np.square(x, dtype=np.float64))
    return total if on_device(x) else float(total)


def clip_coefficient(grads: Sequence[np.ndarray], max_norm: float) -> tuple[Any, Any]:
    """See `kernels.clip_coefficient`."""
    norm = np.sqrt(sum(sum_of_squares(grad) for grad in grads))
    coefficient = np.minimum(1.0, max_norm / (norm + 1e-6))  # unlike min(), lets NaN through
    if on_device(norm):
        return norm.astype(grads[0].dtype), coefficient.astype(grads[0].dtype)
    return float(norm), float(coefficient)
