"""One Adam or AdamW update, in place.

    m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
    param -= lr / (1 - beta1^t)  m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

Source: Kingma and Ba (2015), algorithm 1; Loshchilov and Hutter (2019) for the decoupled weight decay.
"""

import numpy as np


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
    if decoupled:
        param *= 1 - lr * weight_decay
    else:
        grad = grad + weight_decay * param
    m[...] = beta1 * m + (1 - beta1) * grad
    v[...] = beta2 * v + (1 - beta2) * grad * grad
    denominator = np.sqrt(v) / (1 - beta2**step) ** 0.5 + eps
    param -= lr / (1 - beta1**step) * m / denominator
