"""Softmax of rows, and its logarithm, shifted by the largest so that nothing overflows.

y_j = exp(x_j) / sum over k of exp(x_k),       dx_j = y_j (dy_j - sum over k of dy_k y_k)
y_j = x_j - log(sum over k of exp(x_k)),       dx_j = dy_j - exp(y_j) sum over k of dy_k
"""

import numpy as np


def softmax_forward(x: np.ndarray, log: bool = False) -> np.ndarray:
    """See `kernels.softmax_forward`."""
    if not x.size:  # of which CuPy takes no maximum
        return x.copy()
    shifted = x - x.max(axis=1, keepdims=True)
    exps = np.exp(shifted)
    total = exps.sum(axis=1, keepdims=True)
    return shifted - np.log(total) if log else exps / total


def softmax_backward(dy: np.ndarray, y: np.ndarray, log: bool = False) -> np.ndarray:
    """See `kernels.softmax_backward`."""
    if log:
        return dy - np.exp(y) * dy.sum(axis=1, keepdims=True)  # y = shifted - log(sum(exp(shifted)))
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))  # y = exps / sum(exps), exps = exp(shifted)
