"""Rows of a table, and the gradient that reaches only those rows."""

from __future__ import annotations

import numpy as np

import kernels
from minigrad.deferred import DeferredGradient
from minigrad.device import two_devices
from minigrad.function import Context, Function
from minigrad.lazy import LazyParameter
from minigrad.ops.common import tensor_of
from minigrad.ops.linalg import as_rows
from minigrad.ops.op import op
from minigrad.rows import RowGradient
from minigrad.tensor import Tensor

Array = np.ndarray

# Numbers of a table from which on a GPU too is better off with a gradient by rows. To fill, measure and update a number
# takes some 36 bytes of memory traffic, and to learn how many rows there are makes the host wait: an estimate.
ROWS_ON_GPU = 1 << 25


class Embedding(Function):
    """Rows of a table; its gradient by rows, which is spread into the table's shape unless ``sparse``"""

    fresh_grads = True

    @classmethod
    def unwrap(cls, args: tuple) -> list:
        """The table with only the rows up to date that are about to be read."""
        weight, ids, *constants = args
        return [weight.array_with_rows(ids) if isinstance(weight, LazyParameter) else weight.array, ids, *constants]

    @staticmethod
    def forward(ctx: Context, weight: Array, ids: Array, padding_idx: int | None, sparse: bool) -> Array:
        ctx.ids, ctx.shape, ctx.padding_idx, ctx.sparse = ids, weight.shape, padding_idx, sparse
        return kernels.embedding_forward(weight, ids)

    @staticmethod
    def backward(ctx: Context, dy: Array) -> tuple:
        if not ctx.sparse:
            terms, constants = (as_rows(dy), ctx.ids.reshape(-1)), (ctx.shape[0], ctx.padding_idx)
            deferred = DeferredGradient(kernels.embedding_backward_dense, terms, constants, ctx.shape, dy.dtype)
            return deferred, None, None, None
        rows, values = kernels.embedding_backward(dy, ctx.ids, ctx.padding_idx)
        return RowGradient(rows, values, ctx.shape), None, None, None


@op(is_method=False)
def embedding(weight: Tensor, ids: Tensor, padding_idx: int | None = None, sparse: bool = False) -> Tensor:
    """Rows ``ids`` (int, any shape) of weight (V,E) -> (*ids.shape, E); row ``padding_idx`` gets no gradient.

    ``sparse``: a leaf ``weight`` gets a RowGradient as its gradient, else a Tensor of its shape. On a GPU only a large
    one does: to fill a small table with zeros takes less time than to ask how many rows there are.
    """
    ids = tensor_of(ids)
    if ids.is_cuda != weight.is_cuda:
        raise two_devices("embedding", weight.device, ids.device)
    by_rows = sparse and (not weight.is_cuda or weight.numel() >= ROWS_ON_GPU)
    # The ids are copied: backward needs them as they are now.
    return Embedding.apply(weight, ids.array.copy(), padding_idx, by_rows)
