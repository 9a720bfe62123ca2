"""RMSprop, in place (Hinton's lecture 6.5, 2012; centred and with momentum: Graves, 2013, equations 38 to 41).

square = alpha square + (1 - alpha) g^2,  mean = alpha mean + (1 - alpha) g
velocity = momentum velocity + g / (sqrt(square - mean^2) + eps);  param -= lr velocity
"""

from typing import Any

import numpy as np

from kernels.reference.precision import factor, write
from kernels.scalars import RMSpropScalars


def rmsprop_step(
    param: np.ndarray, grad: np.ndarray, square: np.ndarray, mean: np.ndarray | None, velocity: np.ndarray | None,
    scalars: RMSpropScalars, grad_scale: Any = 1.0,
) -> None:  # fmt: skip
    """See `kernels.rmsprop_step`."""
    lr, alpha, eps, weight_decay, momentum = scalars
    g = grad * factor(grad_scale, param.dtype)
    if weight_decay:
        g = g + weight_decay * param
    write(square, alpha * square + (1 - alpha) * (g * g), grad_scale)
    variance = square
    if mean is not None:
        write(mean, alpha * mean + (1 - alpha) * g, grad_scale)
        variance = square - mean * mean
    with np.errstate(invalid="ignore"):  # a variance below 0 by rounding gives NaN, as in PyTorch
        update = g / (np.sqrt(variance) + eps)
    if velocity is not None:
        write(velocity, momentum * velocity + update, grad_scale)
        update = velocity
    write(param, param - lr * update, grad_scale)
