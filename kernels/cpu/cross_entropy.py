"""Cross-entropy of logits, row by row. See `kernels.reference.cross_entropy` for the equations.

No array of the size of logits is stored: the cache keeps two numbers a row, and the backward computes each exponential
again while it writes the gradient, in one pass over the row. The row's maximum and the sum of exponentials are kept
apart, since their combination in float32 would lose the digits that matter next to large logits.
"""

from typing import NamedTuple

import numpy as np

from kernels.cpu.activations import exp
from kernels.cpu.jit import jit
from kernels.cpu.sums import add_up


class CrossEntropyCache(NamedTuple):
    """What the backward needs."""

    logits: np.ndarray  # (M, V), the input itself
    targets: np.ndarray  # (M,)
    row_max: np.ndarray  # (M,)
    row_sum: np.ndarray  # (M,), sum over j of exp(logits_j - row_max)
    ignore_index: int
    label_smoothing: float


@jit
def _losses(
    logits: np.ndarray,
    targets: np.ndarray,
    ignore_index: int,
    label_smoothing: float,
    losses: np.ndarray,
    row_max: np.ndarray,
    row_sum: np.ndarray,
) -> None:
    """losses, row_sum (M,) are written; row_max (M,) is given. label_smoothing has the dtype of logits."""
    vocab_size = logits.shape[1]
    one, num_classes = logits.dtype.type(1), logits.dtype.type(vocab_size)
    shifted, exps = np.empty(vocab_size, logits.dtype), np.empty(vocab_size, logits.dtype)
    for m in range(logits.shape[0]):
        row, largest = logits[m], row_max[m]
        for j in range(vocab_size):
            shifted[j] = row[j] - largest
        for j in range(vocab_size):
            exps[j] = exp(shifted[j])
        row_sum[m] = add_up(exps)
        if targets[m] == ignore_index:
            losses[m] = 0
            continue
        log_sum = np.log(row_sum[m])
        losses[m] = (one - label_smoothing) * (log_sum - shifted[targets[m]])
        if label_smoothing > 0:
            losses[m] += label_smoothing * (log_sum - add_up(shifted) / num_classes)


@jit
def _gradient(
    dlosses: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    row_max: np.ndarray,
    row_sum: np.ndarray,
    ignore_index: int,
    label_smoothing: float,
    dlogits: np.ndarray,
) -> None:
    """dlogits (M, V) is written; label_smoothing has the dtype of logits."""
    vocab_size = logits.shape[1]
    one = logits.dtype.type(1)
    smooth = label_smoothing / logits.dtype.type(vocab_size)
    for m in range(logits.shape[0]):
        row, drow, largest = logits[m], dlogits[m], row_max[m]
        if targets[m] == ignore_index:
            drow[:] = 0  # losses[m] = 0
            continue
        scale, share = dlosses[m] / row_sum[m], dlosses[m] * smooth
        for j in range(vocab_size):
            drow[j] = scale * exp(row[j] - largest) - share  # log_sum, and the mean over all classes
        drow[targets[m]] -= dlosses[m] * (one - label_smoothing)  # row[target]


def cross_entropy_forward(
    logits: np.ndarray, targets: np.ndarray, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[np.ndarray, CrossEntropyCache]:
    """See `kernels.cross_entropy_forward`."""
    losses, row_sum = np.empty(len(logits), logits.dtype), np.empty(len(logits), logits.dtype)
    row_max = logits.max(axis=1, initial=-np.inf)
    targets = targets.astype(np.int64, copy=False)
    _losses(logits, targets, ignore_index, logits.dtype.type(label_smoothing), losses, row_max, row_sum)
    return losses, CrossEntropyCache(logits, targets, row_max, row_sum, ignore_index, label_smoothing)


def cross_entropy_backward(dlosses: np.ndarray, cache: CrossEntropyCache) -> np.ndarray:
    """See `kernels.cross_entropy_backward`."""
    logits, targets, row_max, row_sum, ignore_index, label_smoothing = cache
    dlogits = np.empty_like(logits)
    smoothing = logits.dtype.type(label_smoothing)
    _gradient(dlosses, logits, targets, row_max, row_sum, ignore_index, smoothing, dlogits)
    return dlogits
