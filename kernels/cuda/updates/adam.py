"""Adam and AdamW to the bits of the CPU: all parameters in one launch, some rows, and the replay of missed steps.

See `kernels.reference.adam`. A grad_scale that lies on the device is read there, and if it is NaN, nothing is updated.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import int64, number
from kernels.cuda.runtime.capture import on_device, varying
from kernels.cuda.runtime.launcher import error_word, module
from kernels.cuda.updates.tensors import table
from kernels.scalars import AdamScalars


def adam_step_all(
    params: Sequence[Any],
    grads: Sequence[Any],
    m: Sequence[Any],
    v: Sequence[Any],
    scalars: AdamScalars,
    grad_scale: Any = 1.0,
) -> None:
    """See `kernels.adam_step_all`. One launch for all arrays."""
    all_tensors = table(grads, params, m, v)
    if all_tensors.num_chunks:
        numbers = varying(np.array(scalars, np.float32)), number(grad_scale)
        arguments = all_tensors.tensors, all_tensors.chunks, *numbers
        module("updates/adam").adam_step_all(geometry.adam_step_all(all_tensors.num_chunks), arguments)


def adam_rows_step(
    param: Any, rows: Any, values: Any, m: Any, v: Any, scalars: AdamScalars, grad_scale: Any = 1.0
) -> None:
    """See `kernels.adam_rows_step`."""
    if len(rows):
        numbers = on_device(np.array(scalars, np.float32)), number(grad_scale), *map(np.int32, param.shape)
        arguments = param, int64(rows), values, m, v, *numbers, error_word()
        module("updates/adam").adam_rows_step(geometry.rows(len(rows)), arguments)


def adam_replay(param: Any, m: Any, v: Any, rows: Any, first: Any, history: np.ndarray) -> None:
    """See `kernels.adam_replay`."""
    if len(rows):
        steps = on_device(np.ascontiguousarray(history, np.float32))
        sizes = np.int32(len(history)), *map(np.int32, param.shape)
        arguments = param, m, v, int64(rows), int64(first), steps, *sizes, error_word()
        module("updates/adam").adam_replay(geometry.rows(len(rows)), arguments)
