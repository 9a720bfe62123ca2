"""Adam and AdamW to the bits of the CPU: all parameters in one launch, some rows, and the replay of missed steps.

See `kernels.reference.adam`. A grad_scale that lies on the device is read there, and if it is NaN, nothing is updated.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.adam_scalars import adam_scalars
from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import int64, number
from kernels.cuda.runtime.capture import on_device, varying
from kernels.cuda.runtime.launcher import error_word, module
from kernels.cuda.updates.tensors import table


def adam_step(
    param: Any,
    grad: Any,
    m: Any,
    v: Any,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    grad_scale: Any = 1.0,
) -> None:
    """See `kernels.adam_step`."""
    numbers = step, lr, beta1, beta2, eps, weight_decay, decoupled
    scalars, size = varying(adam_scalars(*numbers).astype(np.float32)), np.uint64(param.size)
    arguments = param, grad, m, v, scalars, number(grad_scale), size
    module("updates/adam").adam_step(geometry.elements(param.size), arguments)


def adam_step_all(
    params: Sequence[Any],
    grads: Sequence[Any],
    m: Sequence[Any],
    v: Sequence[Any],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    grad_scale: Any = 1.0,
) -> None:
    """See `kernels.adam_step_all`. One launch for all arrays."""
    numbers = step, lr, beta1, beta2, eps, weight_decay, decoupled
    all_tensors = table(grads, params, m, v)
    if all_tensors.num_chunks:
        scalars = varying(adam_scalars(*numbers).astype(np.float32))
        arguments = all_tensors.tensors, all_tensors.chunks, scalars, number(grad_scale)
        module("updates/adam").adam_step_all(geometry.adam_step_all(all_tensors.num_chunks), arguments)


def adam_rows_step(
    param: Any, rows: Any, values: Any, m: Any, v: Any, scalars: np.ndarray, grad_scale: Any = 1.0
) -> None:
    """See `kernels.adam_rows_step`."""
    if len(rows):
        numbers = on_device(scalars.astype(np.float32)), number(grad_scale), *map(np.int32, param.shape)
        arguments = param, int64(rows), values, m, v, *numbers, error_word()
        module("updates/adam").adam_rows_step(geometry.rows(len(rows)), arguments)


def adam_replay(param: Any, m: Any, v: Any, rows: Any, first: Any, history: np.ndarray) -> None:
    """See `kernels.adam_replay`."""
    if len(rows):
        steps = on_device(np.ascontiguousarray(history, np.float32))
        sizes = np.int32(len(history)), *map(np.int32, param.shape)
        arguments = param, m, v, int64(rows), int64(first), steps, *sizes, error_word()
        module("updates/adam").adam_replay(geometry.rows(len(rows)), arguments)
