"""Attention as a function: PyTorch's ``scaled_dot_product_attention``, and what ``nn.MultiheadAttention`` is made of.

``minigrad.nn.functional`` re-exports it. Products and softmax are kernels; where lengths say what may be read, there is
no mask. L queries, S keys, E their size, EV that of the values.
Source: Vaswani et al., "Attention is all you need" (2017), equation 1.
"""

from __future__ import annotations

import math

import numpy as np

import kernels
from minigrad.arguments import Operand, checked
from minigrad.nn.checks import check_probability
from minigrad.ops import choose, fused, linalg
from minigrad.ops.common import tensor_of
from minigrad.ops.masked_softmax import masked_softmax
from minigrad.ops.select import repeat_interleave
from minigrad.tensor import Tensor

Array = np.ndarray


@checked
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    lengths: Operand | None = None,
) -> Tensor:
    """softmax(query key^T * scale) value: for each query the mean of the values, weighted by how its key fits it.

    Args:
        query: (..., L, E).
        key, value: (..., S, E) and (..., S, EV).
        attn_mask: broadcasts to (..., L, S): bool, True where a key takes part, or numbers to be added to the scores.
            A query that may read no key gets zeros.
        dropout_p: probability that a weight is zeroed; always, whatever the mode of a module.
        is_causal: whether query l reads the keys 0 to l only; not together with ``attn_mask``.
        scale: 1 / sqrt(E) by default.
        enable_gqa: whether fewer keys and values, in the dimension before the last two, are repeated for the queries.
        lengths: integers in 0..S, how many of the first keys are there, of the shape of the leading dimensions or of
            some of them from the left, as (N,). An extension of PyTorch's interface.

    Returns:
        (..., L, EV).

    Raises:
        RuntimeError: shapes that do not fit, or a mask beside ``is_causal``. ValueError: no probability.
    """
    check_probability("scaled_dot_product_attention", "dropout_p", dropout_p)
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.ndim < 2 or query.shape[-1] == 0:
            raise RuntimeError(
                f"scaled_dot_product_attention: {name} has shape {x.shape}; expected (..., S, E), E at least 1"
            )
    if attn_mask is not None and is_causal:
        raise RuntimeError("scaled_dot_product_attention: got attn_mask and is_causal=True; expected one of them")
    if enable_gqa and key.ndim > 2:
        key, value = (repeat_interleave(x, query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    counts = None if lengths is None else kernels.to_host(tensor_of(lengths).array)
    if counts is not None and counts.shape != query.shape[:-2][: counts.ndim]:
        raise RuntimeError(
            f"scaled_dot_product_attention: lengths has shape {counts.shape}; expected {query.shape[:-2]} or its first "
            "sizes"
        )
    return attend(query, key, value, attn_mask, counts, is_causal, dropout_p, scale)[0]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    lengths: Array | None,
    is_causal: bool,
    dropout: float,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """As ``scaled_dot_product_attention``: what it returns, and the weights (..., L, S) after their dropout."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = linalg.matmul(query, key.transpose(-2, -1)) * scale
    if mask is not None:
        scores = choose.where(mask, scores, -np.inf) if mask.dtype == np.bool_ else scores + mask
    weights = masked_softmax(scores, _counts(scores, mask, lengths, is_causal))
    weights = fused.dropout(weights, dropout)
    return linalg.matmul(weights, value), weights


def _counts(scores: Tensor, mask: Tensor | None, lengths: Array | None, is_causal: bool) -> Array:
    """(..., L): how many of the first keys each query may read; none where the mask leaves none."""
    *leading, num_queries, num_keys = scores.shape
    counts = np.full((), num_keys) if lengths is None else lengths
    counts = counts.reshape(*counts.shape, *[1] * (len(leading) + 1 - counts.ndim))
    if is_causal:
        counts = np.minimum(counts, np.arange(1, num_queries + 1))
    if mask is not None:
        readable = (kernels.to_host(scores.array) != -np.inf) & (np.arange(num_keys) < counts[..., None])
        counts = np.where(readable.any(-1), counts, 0)
    return np.broadcast_to(counts, (*leading, num_queries))
