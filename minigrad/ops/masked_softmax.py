"""Softmax over the first elements of each row: the weights of an attention over sequences of unequal lengths."""

from __future__ import annotations

import numpy as np

import kernels
from minigrad.arguments import Operand
from minigrad.function import Context, Function
from minigrad.ops.common import floating, tensor_of
from minigrad.ops.fused import shared_with
from minigrad.ops.linalg import as_rows
from minigrad.ops.op import CASES, op
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, normal
from minigrad.tensor import Tensor

Array = np.ndarray


class MaskedSoftmax(Function):
    """softmax of each row's first elements, 0 in the others (kernels.masked_softmax_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, lengths: Array) -> Array:
        y, ctx.cache = kernels.masked_softmax_forward(as_rows(x), lengths)
        y = y.reshape(x.shape)
        ctx.save_for_backward(*shared_with(ctx.cache.y, y))
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return kernels.masked_softmax_backward(as_rows(grad), ctx.cache).reshape(grad.shape), None


def _sample(rng: Rng, dims: Dims) -> Sample:
    """Lengths of 0 and S among them, one for each row or for each stack of rows."""
    *leading, size = dims[int(rng.integers(3)) :]
    lengths = rng.integers(0, size + 1, leading[: int(rng.integers(len(leading) + 1))])
    return Sample((normal(rng, (*leading, size)), lengths))


def _oracle(x: Array, lengths: Array) -> Array:
    lengths = lengths.reshape((*lengths.shape, *[1] * (x.ndim - lengths.ndim)))
    exps = np.where(np.arange(x.shape[-1]) < lengths, np.exp(x), x.dtype.type(0))
    total = exps.sum(axis=-1, keepdims=True)
    return exps / np.where(total == 0, x.dtype.type(1), total)


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


@op(is_method=False)
def masked_softmax(x: Tensor, lengths: Operand) -> Tensor:
    """Softmax along the last dimension over the first ``lengths`` elements, exactly 0 in the others.

    ``x`` (..., S). ``lengths``: integers in 0..S, of the shape of the leading dimensions of ``x``, or of some of them
    from the left: with ``x`` (N, T, S) one for each sentence, (N,), or one for each row, (N, T). What lies past a
    length is never used, so how far a batch is padded changes no bit; a row of length 0 is all zeros. A CUDA graph
    cannot hold it: its lengths are the host's.
    """
    x, counts = floating(x), kernels.to_host(tensor_of(lengths).array)
    if not x.ndim:
        raise RuntimeError("masked_softmax: input is 0-d; expected (..., S)")
    leading = x.shape[:-1]
    if counts.shape != leading[: counts.ndim]:
        raise RuntimeError(
            f"masked_softmax: lengths has shape {counts.shape}; expected {leading}, or its first sizes, from {x.shape}"
        )
    spread = counts.reshape((*counts.shape, *[1] * (len(leading) - counts.ndim)))
    return MaskedSoftmax.apply(x, np.broadcast_to(spread, leading).reshape(-1))


CASES.append(
    OpCase(
        "masked_softmax",
        masked_softmax,
        _oracle,
        _sample,
        errors=(
            ErrorCase(lambda: masked_softmax(_zeros(2, 3), [1, 2, 3]), RuntimeError, r"lengths has shape \(3,\)"),
            ErrorCase(lambda: masked_softmax(_zeros(2, 3), [1, 4]), ValueError, r"lengths holds 4; .* 0\.\.3"),
            ErrorCase(lambda: masked_softmax(_zeros(), 1), RuntimeError, "0-d"),
        ),
    )
)
