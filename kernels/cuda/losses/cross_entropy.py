"""Cross-entropy of logits, row by row. See `kernels.reference.cross_entropy` for the equations.

The cache keeps one number a row, and the backward computes each exponential again. A target out of range is reported by
`kernels.cuda.runtime.launcher.check`.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import int64
from kernels.cuda.runtime.capture import on_device
from kernels.cuda.runtime.launcher import error_word, module


class CrossEntropyCache(NamedTuple):
    """What the backward needs."""

    logits: Any  # (M, V), the input itself
    targets: Any  # (M,) int64
    lse: Any  # (M,), log of the sum over j of exp(logits_j)
    ignore_index: int
    label_smoothing: float


def cross_entropy_forward(
    logits: Any, targets: Any, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[Any, Any]:
    """See `kernels.cross_entropy_forward`."""
    targets, scale = int64(targets), on_device(np.ones(1, np.float32))
    losses, lse = softmax(logits, logits.shape[1], None, Targets(targets, ignore_index, label_smoothing), scale, False)
    return losses, CrossEntropyCache(logits, targets, lse, ignore_index, label_smoothing)


class Targets(NamedTuple):
    """What a softmax is held against."""

    ids: Any  # (M,) int64
    ignore_index: int
    label_smoothing: float


def softmax(
    logits: Any, V: int, bias: Any, targets: Targets, scale: Any, gradient: bool, losses: Any = None
) -> tuple[Any, Any]:
    """(M,) losses, an array that may be given, and (M,) logarithms of the sums of logits (M, stride), whose first V
    columns count.

    bias (V,) or None is added where logits are read; with `gradient` they become that of scale * the sum of losses.
    """
    M, stride = logits.shape
    losses = np.empty(M, np.float32, like=logits) if losses is None else losses
    lse = np.empty(M, np.float32, like=logits)
    if M:
        kernels = module("losses/softmax_cross_entropy")
        kernel = kernels.softmax_cross_entropy_f32 if logits.dtype == np.float32 else kernels.softmax_cross_entropy_bf16
        sizes = np.int32(V), np.int32(stride)
        counting = np.int64(targets.ignore_index), np.float32(targets.label_smoothing), np.int32(gradient)
        arguments = logits, bias, targets.ids, scale, losses, lse, *sizes, *counting, error_word()
        kernel(geometry.softmax_cross_entropy(M), arguments)
    return losses, lse


def cross_entropy_backward(dlosses: Any, cache: Any) -> Any:
    """See `kernels.cross_entropy_backward`."""
    logits, targets, lse, ignore_index, label_smoothing = cache
    dlogits = np.empty(logits.shape, logits.dtype, like=logits)
    if len(logits):
        numbers = np.int32(logits.shape[1]), np.int64(ignore_index), np.float32(label_smoothing)
        arguments = logits, targets, lse, dlosses, dlogits, *numbers
        launch = geometry.cross_entropy_gradient(len(logits))
        module("losses/softmax_cross_entropy").cross_entropy_gradient(launch, arguments)
    return dlogits
