"""Layer normalisation: rows of mean 0 and variance 1, scaled and shifted.

    n = (x - mean(x)) / sqrt(var(x) + eps),   y = n weight + bias
    dn = dy weight,   dx = (dn - mean(dn) - n mean(dn n)) / sqrt(var(x) + eps)

Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
"""

from typing import NamedTuple

import numpy as np


class LayerNormCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (M, H), the input itself
    mean: np.ndarray  # (M, 1)
    rstd: np.ndarray  # (M, 1), 1 / sqrt(variance + eps)
    weight: np.ndarray | None  # (H,)
    has_bias: bool


def layer_norm_forward(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float = 1e-5
) -> tuple[np.ndarray, LayerNormCache]:
    """See `kernels.layer_norm_forward`."""
    mean = _mean(x)
    rstd = 1 / np.sqrt(_mean((x - mean) ** 2) + eps)
    normalized = (x - mean) * rstd
    scaled = normalized if weight is None else normalized * weight
    y = scaled if bias is None else scaled + bias
    return y, LayerNormCache(x, mean, rstd, weight, bias is not None)


def layer_norm_backward(
    dy: np.ndarray, cache: LayerNormCache
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See `kernels.layer_norm_backward`."""
    x, mean, rstd, weight, has_bias = cache
    normalized = (x - mean) * rstd
    dbias = dy.sum(axis=0) if has_bias else None  # y = scaled + bias
    dweight = None if weight is None else (dy * normalized).sum(axis=0)  # scaled = normalized * weight
    dnormalized = dy if weight is None else dy * weight  # scaled = normalized * weight
    through_rstd = normalized * _mean(dnormalized * normalized)  # rstd = 1 / sqrt(mean((x - mean) ** 2) + eps)
    dx = (dnormalized - _mean(dnormalized) - through_rstd) * rstd  # normalized = (x - mean(x)) * rstd
    return dx, dweight, dbias


def _mean(x: np.ndarray) -> np.ndarray:
    """Of each row, as a column."""
    return x.sum(axis=1, keepdims=True) / max(x.shape[1], 1)
