"""Stochastic gradient descent with momentum, in place (Sutskever et al., 2013, in PyTorch's form).

velocity = momentum velocity + (1 - dampening) g,  at the first step g;  param -= lr velocity
with nesterov: param -= lr (g + momentum velocity)
"""

from typing import Any

import numpy as np

from kernels.reference.precision import factor, write
from kernels.scalars import SGDScalars


def sgd_step(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, first: bool, scalars: SGDScalars,
    grad_scale: Any = 1.0,
) -> None:  # fmt: skip
    """See `kernels.sgd_step`."""
    lr, momentum, dampening, nesterov, weight_decay = scalars
    g = grad * factor(grad_scale, param.dtype)
    if weight_decay:
        g = g + weight_decay * param
    if velocity is not None:
        write(velocity, g if first else momentum * velocity + (1 - dampening) * g, grad_scale)
        g = g + momentum * velocity if nesterov else velocity
    write(param, param - lr * g, grad_scale)


def sgd_rows_step(param: np.ndarray, rows: np.ndarray, values: np.ndarray, lr: float, grad_scale: Any = 1.0) -> None:
    """See `kernels.sgd_rows_step`."""
    part = param[rows]
    write(part, part - lr * (values * factor(grad_scale, param.dtype)), grad_scale)
    param[rows] = part
