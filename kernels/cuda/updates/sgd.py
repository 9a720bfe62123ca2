"""Stochastic gradient descent with momentum, to the bits of the oracle. See `kernels.reference.sgd`."""

from typing import Any

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import int64, number
from kernels.cuda.runtime.launcher import error_word, module
from kernels.scalars import SGDScalars


def sgd_step(param: Any, grad: Any, velocity: Any, first: bool, scalars: SGDScalars, grad_scale: Any = 1.0) -> None:
    """See `kernels.sgd_step`."""
    lr, momentum, dampening, nesterov, weight_decay = scalars
    switches, decimals = (first, nesterov), (lr, momentum, 1 - dampening, weight_decay)
    arguments = param, grad, velocity, number(grad_scale), np.uint64(param.size)
    module("updates/sgd").sgd_step(
        geometry.elements(param.size), (*arguments, *map(np.int32, switches), *map(np.float32, decimals))
    )


def sgd_rows_step(param: Any, rows: Any, values: Any, lr: float, grad_scale: Any = 1.0) -> None:
    """See `kernels.sgd_rows_step`."""
    if len(rows):
        numbers = number(grad_scale), np.float32(lr), *map(np.int32, param.shape)
        arguments = param, int64(rows), values, *numbers, error_word()
        module("updates/sgd").sgd_rows_step(geometry.rows(len(rows)), arguments)
