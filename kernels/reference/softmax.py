"""Softmax of rows, and its logarithm, shifted by the largest so that nothing overflows.

y_j = exp(x_j) / sum over k of exp(x_k),       dx_j = y_j (dy_j - sum over k of dy_k y_k)
y_j = x_j - log(sum over k of exp(x_k)),       dx_j = dy_j - exp(y_j) sum over k of dy_k
"""

import numpy as np


def softmax_forward(x: np.ndarray) -> np.ndarray:
    """See `kernels.softmax_forward`."""
    exps = np.exp(_shifted(x))
    return exps / exps.sum(axis=1, keepdims=True)


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """See `kernels.softmax_backward`."""
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))  # y = exps / sum(exps), exps = exp(shifted)


def log_softmax_forward(x: np.ndarray) -> np.ndarray:
    """See `kernels.log_softmax_forward`."""
    shifted = _shifted(x)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)) if x.size else shifted


def log_softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """See `kernels.log_softmax_backward`."""
    return dy - np.exp(y) * dy.sum(axis=1, keepdims=True)  # y = shifted - log(sum(exp(shifted)))


def _shifted(x: np.ndarray) -> np.ndarray:
    """Each row less its largest; CuPy takes no maximum of nothing."""
    return x - x.max(axis=1, keepdims=True) if x.size else x.copy()
