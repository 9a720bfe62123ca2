"""Stochastic gradient descent with momentum, in place (Sutskever et al., 2013, in PyTorch's form).

velocity = momentum velocity + (1 - dampening) g,  at the first step g;  param -= lr velocity
with nesterov: param -= lr (g + momentum velocity)
"""

import numpy as np


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray | None,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    nesterov: bool,
    weight_decay: float,
    grad_scale: float = 1.0,
) -> None:
    """See `kernels.sgd_step`."""
    g = grad * param.dtype.type(grad_scale)
    if weight_decay:
        g = g + weight_decay * param
    if velocity is not None:
        velocity[...] = g if first else momentum * velocity + (1 - dampening) * g
        g = g + momentum * velocity if nesterov else velocity
    param -= lr * g


def sgd_rows_step(param: np.ndarray, rows: np.ndarray, values: np.ndarray, lr: float, grad_scale: float = 1.0) -> None:
    """See `kernels.sgd_rows_step`."""
    param[rows] -= lr * (values * param.dtype.type(grad_scale))
