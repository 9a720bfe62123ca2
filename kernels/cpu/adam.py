"""One Adam or AdamW update in one pass over the four arrays. See `kernels.reference.adam`."""

import numpy as np

from kernels.cpu.jit import jit


@jit
def _adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    shrink: float,
    l2: float,
    beta1: float,
    one_minus_beta1: float,
    beta2: float,
    one_minus_beta2: float,
    step_size: float,
    root_correction: float,
    eps: float,
) -> None:
    """All arrays (S,); all scalars of their dtype, so that the loop stays in it."""
    for k in range(param.shape[0]):
        decayed = shrink * param[k]
        g = grad[k] + l2 * param[k]
        m[k] = beta1 * m[k] + one_minus_beta1 * g
        v[k] = beta2 * v[k] + one_minus_beta2 * g * g
        param[k] = decayed - step_size * m[k] / (np.sqrt(v[k]) * root_correction + eps)


def adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """See `kernels.adam_step`."""
    shrink, l2 = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    step_size, root_correction = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    scalars = (shrink, l2, beta1, 1 - beta1, beta2, 1 - beta2, step_size, root_correction, eps)
    flat = [array.reshape(-1) for array in (param, grad, m, v)]
    _adam_step(*flat, *map(param.dtype.type, scalars))  # type: ignore[arg-type]
