"""Stochastic gradient descent in one pass, without arrays in between. See `kernels.reference.sgd`."""

import numpy as np

from kernels.cpu.chunks import CHUNK, rows_per_chunk, run_chunks
from kernels.cpu.jit import jit_exact
from kernels.scalars import SGDScalars


@jit_exact
def _plain(param: np.ndarray, grad: np.ndarray, numbers: np.ndarray, start: int, stop: int) -> None:
    scale, lr, weight_decay = numbers[0], numbers[1], numbers[2]
    param, grad = param[start:stop], grad[start:stop]
    for k in range(param.shape[0]):
        g = scale * grad[k]
        if weight_decay != 0.0:
            g += weight_decay * param[k]
        param[k] -= lr * g


@jit_exact
def _with_momentum(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray, numbers: np.ndarray, first: bool, nesterov: bool,
    start: int, stop: int,
) -> None:  # fmt: skip
    scale, lr, weight_decay, momentum, taken = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    param, grad, velocity = param[start:stop], grad[start:stop], velocity[start:stop]
    for k in range(param.shape[0]):
        g = scale * grad[k]
        if weight_decay != 0.0:
            g += weight_decay * param[k]
        velocity[k] = g if first else momentum * velocity[k] + taken * g
        param[k] -= lr * (g + momentum * velocity[k] if nesterov else velocity[k])


def sgd_step(
    param: np.ndarray, grad: np.ndarray, velocity: np.ndarray | None, first: bool, scalars: SGDScalars,
    grad_scale: float = 1.0,
) -> None:  # fmt: skip
    """See `kernels.sgd_step`."""
    lr, momentum, dampening, nesterov, weight_decay = scalars
    numbers = np.array([grad_scale, lr, weight_decay, momentum, 1 - dampening], param.dtype)
    flat = param.reshape(-1), grad.reshape(-1)
    if velocity is None:
        run_chunks(_plain, param.size, CHUNK, *flat, numbers)
    else:
        run_chunks(_with_momentum, param.size, CHUNK, *flat, velocity.reshape(-1), numbers, first, nesterov)


@jit_exact
def _rows(param: np.ndarray, rows: np.ndarray, values: np.ndarray, scalars: np.ndarray, start: int, stop: int) -> None:
    scale, lr = scalars[0], scalars[1]
    for k in range(start, stop):
        row, grad = param[rows[k]], values[k]
        for j in range(row.shape[0]):
            row[j] -= lr * (scale * grad[j])


def sgd_rows_step(param: np.ndarray, rows: np.ndarray, values: np.ndarray, lr: float, grad_scale: float = 1.0) -> None:
    """See `kernels.sgd_rows_step`."""
    scalars = np.array([grad_scale, lr], param.dtype)
    run_chunks(_rows, len(rows), rows_per_chunk(param.shape[1]), param, rows, values, scalars)
