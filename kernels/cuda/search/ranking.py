"""The largest of a row of logits. See `kernels.reference.output_layer`."""

from typing import Any

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.cublas import gemm
from kernels.cuda.runtime.launcher import module

LOGITS_BYTES = 256 << 20  # of a chunk of rows


def linear_argmax(x: Any, weight: Any, bias: Any, bf16: bool = False) -> Any:
    """See `kernels.linear_argmax`. Logits are kept for a chunk of rows at a time."""
    V, out = len(weight), np.empty(len(x), np.int64, like=x)
    if bf16:
        x, weight = to_bf16(x), to_bf16(weight)
    stride = -(-V // 4) * 4  # so that rows begin at multiples of 16 bytes
    rows = max(1, min(len(x), LOGITS_BYTES // (4 * max(stride, 1))))
    logits = np.empty((rows, stride), np.float32, like=x)
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        gemm(part, weight, logits[: len(part), :V], transpose_b=True)
        arguments = logits, bias, out[first : first + rows], np.int32(V), np.int32(stride)
        module("search/ranking").argmax_rows(geometry.argmax_rows(len(part)), arguments)
    return out
