"""RMSprop in one pass, without arrays in between. See `kernels.reference.rmsprop`."""

from typing import NamedTuple

import numpy as np

from kernels.cpu.chunks import CHUNK, run_chunks
from kernels.cpu.jit import jit_exact
from kernels.scalars import RMSpropScalars


class Arrays(NamedTuple):
    """A parameter, its gradient and their running means, flat (S,)."""

    param: np.ndarray
    grad: np.ndarray
    square: np.ndarray
    mean: np.ndarray
    velocity: np.ndarray


@jit_exact
def _step(arrays: Arrays, numbers: np.ndarray, centered: bool, moving: bool, start: int, stop: int) -> None:
    """mean and velocity are read only if centered and moving."""
    scale, lr, alpha, rest = numbers[0], numbers[1], numbers[2], numbers[3]
    eps, weight_decay, momentum = numbers[4], numbers[5], numbers[6]
    param, grad, square = arrays.param[start:stop], arrays.grad[start:stop], arrays.square[start:stop]
    mean, velocity = arrays.mean[start:stop], arrays.velocity[start:stop]
    for k in range(param.shape[0]):
        g = scale * grad[k]
        if weight_decay != 0.0:
            g += weight_decay * param[k]
        square[k] = alpha * square[k] + rest * (g * g)
        variance = square[k]
        if centered:
            mean[k] = alpha * mean[k] + rest * g
            variance -= mean[k] * mean[k]
        update = g / (np.sqrt(variance) + eps)
        if moving:
            velocity[k] = momentum * velocity[k] + update
            update = velocity[k]
        param[k] -= lr * update


def rmsprop_step(
    param: np.ndarray, grad: np.ndarray, square: np.ndarray, mean: np.ndarray | None, velocity: np.ndarray | None,
    scalars: RMSpropScalars, grad_scale: float = 1.0,
) -> None:  # fmt: skip
    """See `kernels.rmsprop_step`."""
    lr, alpha, eps, weight_decay, momentum = scalars
    numbers = np.array([grad_scale, lr, alpha, 1 - alpha, eps, weight_decay, momentum], param.dtype)
    flat = [(square if array is None else array).reshape(-1) for array in (param, grad, square, mean, velocity)]
    run_chunks(_step, param.size, CHUNK, Arrays(*flat), numbers, mean is not None, velocity is not None)
