"""The squared norm that gradient clipping needs, and what clipping multiplies with, without the host.

See `kernels.reference.clipping`. Results are 0-d arrays on the device.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.launcher import module
from kernels.cuda.updates.tensors import table


def sum_of_squares(x: Any) -> Any:
    """See `kernels.sum_of_squares`; a 0-d float64 array."""
    num_chunks = geometry.blocks_of(x.size, geometry.CHUNK)
    partial = np.empty(num_chunks, np.float64, like=x)
    module("updates/clipping").sum_of_squares_one(geometry.sum_of_squares(num_chunks), (x, np.uint64(x.size), partial))
    return partial.sum()


def clip_coefficient(grads: Sequence[Any], max_norm: float) -> tuple[Any, Any]:
    """See `kernels.clip_coefficient`; two 0-d float32 arrays."""
    tensors, chunks, num_chunks = table(grads)
    partial, norm = np.empty(num_chunks, np.float64, like=grads[0]), np.empty(2, np.float32, like=grads[0])
    kernels = module("updates/clipping")
    if num_chunks:
        kernels.sum_of_squares(geometry.sum_of_squares(num_chunks), (tensors, chunks, partial))
    kernels.clip_coefficient(geometry.clip_coefficient(), (partial, np.int32(num_chunks), np.float32(max_norm), norm))
    return norm[0], norm[1]
