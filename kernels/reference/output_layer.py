"""The output layer and its loss as one function, and its likeliest word.

    logits = x W^T + b,   loss = scale sum_m cross_entropy(logits_m, target_m)

scale is 1 for the sum, 1 / (rows that are not ignored) for the mean, and NaN for the mean of no row. The products of
the backward are those of the gradient of the loss itself; its incoming gradient is multiplied last.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import as_array
from kernels.reference.cross_entropy import CrossEntropyCache, cross_entropy_backward, cross_entropy_forward
from kernels.reference.linear import linear_backward, linear_forward
from kernels.reference.precision import factor


class LinearCrossEntropyCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (M, H)
    weight: np.ndarray  # (V, H)
    has_bias: bool
    rows: CrossEntropyCache
    scale: Any  # a number or a 0-d array
    bf16: bool


def linear_cross_entropy_forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    targets: np.ndarray,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "sum",
    bf16: bool = False,
    need_gradients: bool = True,
) -> tuple[np.ndarray, LinearCrossEntropyCache]:
    """See `kernels.linear_cross_entropy_forward`."""
    logits = linear_forward(x, weight, bias, bf16)
    losses, rows = cross_entropy_forward(logits, targets, ignore_index, label_smoothing)
    count = rows.live.sum()
    scale = 1.0 if reduction == "sum" else np.where(count > 0, 1 / np.maximum(count, 1), np.nan)
    loss = as_array((scale * losses.sum(dtype=np.float64)).astype(x.dtype))
    return loss, LinearCrossEntropyCache(x, weight, bias is not None, rows, scale, bf16)


def linear_cross_entropy_backward(
    dloss: np.ndarray, cache: LinearCrossEntropyCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """See `kernels.linear_cross_entropy_backward`."""
    x, weight, has_bias, rows, scale, bf16 = cache
    dlosses = np.zeros(len(x), x.dtype, like=x) + factor(scale, x.dtype)  # loss = scale sum(losses)
    dlogits = cross_entropy_backward(dlosses, rows)
    dx, dweight, dbias = linear_backward(dlogits, x, weight, (True, True, has_bias), bf16)
    return dloss * dx, dloss * dweight, None if dbias is None else dloss * dbias  # loss is all that depends on them


def linear_argmax(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> np.ndarray:
    """See `kernels.linear_argmax`."""
    logits = linear_forward(x, weight, bias, bf16)
    return logits.argmax(axis=1) if len(x) else np.zeros(0, np.int64, like=x)
