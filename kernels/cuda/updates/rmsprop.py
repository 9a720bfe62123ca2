"""RMSprop, to the bits of the oracle. See `kernels.reference.rmsprop`."""

from typing import Any

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import number
from kernels.cuda.runtime.launcher import module
from kernels.scalars import RMSpropScalars


def rmsprop_step(
    param: Any, grad: Any, square: Any, mean: Any, velocity: Any, scalars: RMSpropScalars, grad_scale: Any = 1.0
) -> None:
    """See `kernels.rmsprop_step`."""
    lr, alpha, eps, weight_decay, momentum = scalars
    arguments = param, grad, square, mean, velocity, number(grad_scale), np.uint64(param.size)
    decimals = lr, alpha, 1 - alpha, eps, weight_decay, momentum
    module("updates/rmsprop").rmsprop_step(geometry.elements(param.size), (*arguments, *map(np.float32, decimals)))
