"""Rows of a table, and the gradient that reaches only those rows."""

from __future__ import annotations

import numpy as np

import kernels
from minigrad.function import Context, Function
from minigrad.ops.common import as_tensor
from minigrad.tensor import Tensor

Array = np.ndarray


class Embedding(Function):
    """Rows of a table; the kernel gives the gradient by rows, which is spread here into the table's shape"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, weight: Array, ids: Array, padding_idx: int | None) -> Array:
        ctx.ids, ctx.shape, ctx.padding_idx = ids, weight.shape, padding_idx
        return kernels.embedding_forward(weight, ids)

    @staticmethod
    def backward(ctx: Context, dy: Array) -> tuple:
        rows, values = kernels.embedding_backward(dy, ctx.ids, ctx.padding_idx)
        dweight = np.zeros(ctx.shape, dy.dtype)
        dweight[rows] = values
        return dweight, None, None


def embedding(weight: Tensor, ids: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows ``ids`` (int, any shape) of weight (V,E) -> (*ids.shape, E); row ``padding_idx`` gets no gradient."""
    # The ids are copied: backward needs them as they are now.
    return Embedding.apply(weight, as_tensor(ids).array.copy(), padding_idx)
