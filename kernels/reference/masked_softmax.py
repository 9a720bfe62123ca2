"""Softmax over the first `length` elements of a row, exactly 0 in the others.

y_j = exp(x_j) / sum over k of exp(x_k),   dx_j = y_j (dy_j - sum over k of dy_k y_k),   for j, k < length
"""

from typing import NamedTuple

import numpy as np

from kernels.arrays import like


class MaskedSoftmaxCache(NamedTuple):
    """What the backward needs."""

    y: np.ndarray  # (M, S)
    live: np.ndarray  # (M, S) bool, False past a row's length


def masked_softmax_forward(x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, MaskedSoftmaxCache]:
    """See `kernels.masked_softmax_forward`."""
    lengths = like(lengths, x)[:, None]
    live, empty = np.arange(x.shape[1], like=x) < lengths, lengths == 0
    inside = np.where(live, x, -np.inf)
    largest = inside.max(axis=1, keepdims=True) if x.size else inside
    exps = np.exp(inside - np.where(empty, 0, largest))
    y = np.where(live, exps / np.where(empty, 1, exps.sum(axis=1, keepdims=True)), 0)
    return y, MaskedSoftmaxCache(y, live)


def masked_softmax_backward(dy: np.ndarray, cache: MaskedSoftmaxCache) -> np.ndarray:
    """See `kernels.masked_softmax_backward`."""
    y, live = cache
    dquotient = np.where(live, dy, 0)  # y = where(live, exps / sum(exps), 0)
    dx = y * (dquotient - (dquotient * y).sum(axis=1, keepdims=True))  # exps / sum(exps), exps = exp(x - largest)
    return np.where(live, dx, 0)  # inside = where(live, x, -inf)
