"""Adam and AdamW updates, in place: of whole arrays, of some rows, and of rows that missed steps without a gradient.

    m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
    param -= lr / (1 - beta1^t)  m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

The operations stand in the order in which every backend rounds them: results are equal to the bit.

Source: Kingma and Ba (2015), algorithm 1; Loshchilov and Hutter (2019) for the decoupled weight decay.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.arrays import to_host
from kernels.reference.precision import factor, write
from kernels.scalars import AdamScalars


def _update(
    param: np.ndarray, grad: np.ndarray, m: np.ndarray, v: np.ndarray, scalars: AdamScalars, grad_scale: Any = 1.0
) -> None:
    shrink, l2, beta1, rest1, beta2, rest2, step_size, root_correction, eps = scalars.rounded(param.dtype)
    g = grad * factor(grad_scale, param.dtype)
    g = g + l2 * param if l2 else g
    write(m, beta1 * m + rest1 * g, grad_scale)
    write(v, beta2 * v + rest2 * g * g, grad_scale)
    write(param, shrink * param - step_size * m / (np.sqrt(v) * root_correction + eps), grad_scale)


def adam_step_all(
    params: Sequence[np.ndarray],
    grads: Sequence[np.ndarray],
    m: Sequence[np.ndarray],
    v: Sequence[np.ndarray],
    scalars: AdamScalars,
    grad_scale: Any = 1.0,
) -> None:
    """See `kernels.adam_step_all`."""
    for arrays in zip(params, grads, m, v, strict=True):
        _update(*arrays, scalars, grad_scale)


def adam_rows_step(
    param: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    scalars: AdamScalars,
    grad_scale: Any = 1.0,
) -> None:
    """See `kernels.adam_rows_step`."""
    parts = [array[rows] for array in (param, m, v)]
    _update(parts[0], values, parts[1], parts[2], scalars, grad_scale)
    for array, part in zip((param, m, v), parts, strict=True):
        array[rows] = part


def adam_replay(
    param: np.ndarray, m: np.ndarray, v: np.ndarray, rows: np.ndarray, first: np.ndarray, history: np.ndarray
) -> None:
    """See `kernels.adam_replay`."""
    for row, start in zip(to_host(rows).tolist(), to_host(first).tolist(), strict=True):
        for scalars in history[start:]:
            _update(param[row], np.zeros_like(param[row]), m[row], v[row], AdamScalars(*scalars))
