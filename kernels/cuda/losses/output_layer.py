"""The output layer and its loss: logits by chunks of rows, which become their own gradient in place.

See `kernels.reference.output_layer`. Per chunk: the product, loss and gradient in one launch, then the products for dx
and dweight, added up over the chunks. The host learns nothing on the way: rows with an ignored target cost what the
others cost, and the divisor of a mean is counted on the device.

With bf16, logits are stored in bfloat16 between the products, as their gradient is for the products that follow: half
the memory to write and read. Each is off by up to 2^-9 of itself, which the CPU's are not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.cuda.losses.cross_entropy import Targets, softmax
from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.arrays import column_sums, int64, scale
from kernels.cuda.runtime.cublas import gemm
from kernels.cuda.runtime.launcher import module

LOGITS_BYTES = 512 << 20  # of a chunk: large, since each of its three products reads the weights once more
VECTOR = 16  # bytes: rows begin at multiples of it

Gradients = tuple[Any, Any, Any]


@dataclass
class LinearCrossEntropyCache:
    """The arguments, and the gradients if the forward computed them already."""

    x: Any  # (M, H)
    weight: Any  # (V, H)
    bias: Any  # (V,) or None
    targets: Any  # (M,) int64
    ignore_index: int
    label_smoothing: float
    reduction: str
    bf16: bool
    gradients: Gradients | None = None


def linear_cross_entropy_forward(
    x: Any,
    weight: Any,
    bias: Any,
    targets: Any,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "sum",
    bf16: bool = False,
    need_gradients: bool = True,
) -> tuple[Any, Any]:
    """See `kernels.linear_cross_entropy_forward`."""
    cache = LinearCrossEntropyCache(
        x, weight, bias, int64(targets), ignore_index, label_smoothing, reduction, bool(bf16)
    )
    loss, cache.gradients = _compute(cache, need_gradients)
    return loss, cache


def linear_cross_entropy_backward(dloss: Any, cache: Any) -> Gradients:
    """See `kernels.linear_cross_entropy_backward`. The first call gives the arrays away, another computes anew."""
    gradients, cache.gradients = cache.gradients, None
    if gradients is None:
        _, gradients = _compute(cache, True)
    assert gradients is not None
    for gradient in gradients:
        if gradient is not None:
            scale(gradient, dloss)
    return gradients


def _compute(cache: LinearCrossEntropyCache, gradient: bool) -> tuple[Any, Gradients | None]:
    """The loss, a 0-d array, and if asked for its gradients with respect to x, weight and bias."""
    x, bias, targets, M = cache.x, cache.bias, cache.targets, len(cache.x)
    factor, loss = np.empty(1, np.float32, like=x), np.empty((), np.float32, like=x)
    mean = np.int32(cache.reduction == "mean")
    counted = targets, np.int64(cache.ignore_index), np.int32(M), mean, factor
    module("losses/losses").count_targets(geometry.one_block(), counted)
    losses = np.empty(M, np.float32, like=x)
    found = _gradients_of(cache) if gradient else None
    left, weight = (to_bf16(x), to_bf16(cache.weight)) if cache.bf16 else (x, cache.weight)
    logits = _logits_buffer(left, weight)
    for start in range(0, M, max(1, len(logits))):
        rows = slice(start, start + len(logits))
        chunk = logits[: len(left[rows])]
        part = chunk[:, : len(weight)]
        gemm(left[rows], weight, part, transpose_b=True)
        held = Targets(targets[rows], cache.ignore_index, cache.label_smoothing)
        softmax(chunk, len(weight), bias, held, factor, gradient, losses[rows])
        if found is not None:
            dx, dweight, dbias = found
            gemm(part, weight, dx[rows])
            gemm(part, left[rows], dweight, transpose_a=True, accumulate=start > 0)
            if dbias is not None:
                sums = column_sums(chunk)[: len(weight)]
                found = dx, dweight, dbias + sums if start else sums
    module("losses/losses").sum_losses(geometry.one_block(), (losses, factor, np.int32(M), loss))
    return loss, found


def _gradients_of(cache: LinearCrossEntropyCache) -> Gradients:
    """Arrays for dx, dweight and dbias. Of no rows they are zero; else the first chunk writes them."""
    x, weight, bias = cache.x, cache.weight, cache.bias
    make = np.empty if len(x) else np.zeros
    dx, dweight = make(x.shape, x.dtype, like=x), make(weight.shape, x.dtype, like=x)
    return dx, dweight, None if bias is None else make(bias.shape, x.dtype, like=x)


def _logits_buffer(left: Any, weight: Any) -> Any:
    """(rows of a chunk, V padded) in the dtype of the operands; the padding is never read."""
    per_vector = VECTOR // left.itemsize
    stride = -(-len(weight) // per_vector) * per_vector
    rows = max(1, LOGITS_BYTES // (stride * left.itemsize)) if stride else len(left)
    return np.empty((min(len(left), rows), stride), left.dtype, like=left)
