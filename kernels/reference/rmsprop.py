"""RMSprop, in place (Hinton's lecture 6.5, 2012; centred and with momentum: Graves, 2013, equations 38 to 41).

square = alpha square + (1 - alpha) g^2,  mean = alpha mean + (1 - alpha) g
velocity = momentum velocity + g / (sqrt(square - mean^2) + eps);  param -= lr velocity
"""

import numpy as np


def rmsprop_step(
    param: np.ndarray,
    grad: np.ndarray,
    square: np.ndarray,
    mean: np.ndarray | None,
    velocity: np.ndarray | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    grad_scale: float = 1.0,
) -> None:
    """See `kernels.rmsprop_step`."""
    g = grad * param.dtype.type(grad_scale)
    if weight_decay:
        g = g + weight_decay * param
    square[...] = alpha * square + (1 - alpha) * (g * g)
    variance = square
    if mean is not None:
        mean[...] = alpha * mean + (1 - alpha) * g
        variance = square - mean * mean
    with np.errstate(invalid="ignore"):  # a variance below 0 by rounding gives NaN, as in PyTorch
        update = g / (np.sqrt(variance) + eps)
    if velocity is not None:
        velocity[...] = momentum * velocity + update
        update = velocity
    param -= lr * update
