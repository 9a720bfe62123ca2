"""Ops that wrap a kernel: no equation stands here, only what goes in, what is kept, what comes back.

The equations are in ``kernels/reference``, the fast twins in ``kernels/cpu``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from kernels.packing import Packing
from minigrad import random
from minigrad.autocast import bf16_enabled
from minigrad.function import Context, Function
from minigrad.ops.linalg import as_rows
from minigrad.ops.op import op
from minigrad.ops.packed import packed, packing_of, padded, turned
from minigrad.tensor import Tensor

Array = np.ndarray


def shared_with(kept: Array | None, array: Array) -> list[Array]:
    """A layer's input or output if its cache holds that memory too: it must stay unchanged; else it need not stay."""
    return [array] if kept is not None and np.may_share_memory(array, kept) else []


def sum_of_biases(b_ih: Array | None, b_hh: Array | None) -> Array | None:
    """What the gates of an LSTM get, to which its two biases contribute alike."""
    return None if b_ih is None or b_hh is None else b_ih + b_hh


class LSTMLayer(Function):
    """One LSTM layer over packed rows, or whole steps (kernels.lstm_forward); both biases get their sum's gradient"""

    fresh_grads = True

    @staticmethod
    def forward(
        ctx: Context, x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b_ih: Any, b_hh: Any, packing: Packing
    ) -> tuple:
        bias, ctx.shape = sum_of_biases(b_ih, b_hh), x.shape
        y, h_n, c_n, ctx.cache = kernels.lstm_forward(as_rows(x), h0, c0, w_ih, w_hh, bias, packing, bf16_enabled())
        ctx.save_for_backward(w_ih, w_hh, *shared_with(ctx.cache.x, x))
        return y.reshape(*x.shape[:-1], y.shape[1]), h_n, c_n

    @staticmethod
    def backward(ctx: Context, dy: Array | None, dh_n: Array | None, dc_n: Array | None) -> tuple:
        rows = None if dy is None else as_rows(dy)
        dx, *gradients, dbias = kernels.lstm_backward(rows, dh_n, dc_n, ctx.cache, ctx.last_use)
        return (dx.reshape(ctx.shape), *gradients, dbias, None if dbias is None else dbias.copy(), None)


class GRULayer(Function):
    """One GRU layer over packed rows, or whole steps (kernels.gru_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(
        ctx: Context, x: Array, h0: Array, w_ih: Array, w_hh: Array, b_ih: Any, b_hh: Any, packing: Packing
    ) -> tuple:
        ctx.shape = x.shape
        y, h_n, ctx.cache = kernels.gru_forward(as_rows(x), h0, w_ih, w_hh, b_ih, b_hh, packing, bf16_enabled())
        y = y.reshape(*x.shape[:-1], y.shape[1])
        ctx.save_for_backward(w_ih, w_hh, *shared_with(ctx.cache.x, x), *shared_with(getattr(ctx.cache, "h", None), y))
        return y, h_n

    @staticmethod
    def backward(ctx: Context, dy: Array | None, dh_n: Array | None) -> tuple:
        dx, *gradients = kernels.gru_backward(None if dy is None else as_rows(dy), dh_n, ctx.cache)
        return (dx.reshape(ctx.shape), *gradients, None)


class Dropout(Function):
    """x * mask / (1 - p); the mask is a function of the key, so it is drawn again instead of kept"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, p: float, key: random.State, start: int) -> Array:
        ctx.mask = (p, key.seed, key.step, key.site, start)
        return kernels.dropout(x, *ctx.mask)

    @staticmethod
    def backward(ctx: Context, dy: Array) -> tuple:
        return kernels.dropout(dy, *ctx.mask), None, None, None


@op(is_method=False)
def lstm_layer(
    x: Tensor, h0: Tensor, c0: Tensor, weight_ih: Tensor, weight_hh: Tensor,
    bias_ih: Tensor | None = None, bias_hh: Tensor | None = None, lengths: Any = None, reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One LSTM layer: x (T,N,I), h0 c0 (N,H), weights (4H,I) (4H,H), biases (4H,) -> y (T,N,H), h_n, c_n (N,H).

    ``lengths`` (N,) integers: rows past their length cost nothing, y is zero there, h_n and c_n are the last real ones.
    With them x may be packed (P,I), the data of a PackedSequence; so is y then, (P,H). With ``reverse`` each sequence
    is read from its last real step to its first, while y stays in the order of x.
    """
    arguments = h0, c0, weight_ih, weight_hh, bias_ih, bias_hh
    y, h_n, c_n = _run("lstm_layer", LSTMLayer, x, arguments, lengths, reverse)
    return y, h_n, c_n


@op(is_method=False)
def gru_layer(
    x: Tensor, h0: Tensor, weight_ih: Tensor, weight_hh: Tensor,
    bias_ih: Tensor | None = None, bias_hh: Tensor | None = None, lengths: Any = None, reverse: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One GRU layer: x (T,N,I), h0 (N,H), weights (3H,I) (3H,H), biases (3H,) -> y (T,N,H), h_n (N,H).

    ``lengths`` and ``reverse`` as in ``lstm_layer``.
    """
    y, h_n = _run("gru_layer", GRULayer, x, (h0, weight_ih, weight_hh, bias_ih, bias_hh), lengths, reverse)
    return y, h_n


def _run(op: str, layer: type[Function], x: Tensor, arguments: tuple, lengths: Any, reverse: bool) -> tuple:
    """A layer over ``x``, padded or packed, in either direction: y like x, and the last states."""
    by_copy = reverse and x.is_cuda  # the kernels there walk forwards alone
    packing = packing_of(op, x, lengths, reverse and not by_copy)
    if lengths is None and not by_copy:  # no row has padding
        return layer.apply(x, *arguments, packing)
    rows = packed(x, packing)
    y, *states = layer.apply(turned(rows, packing) if by_copy else rows, *arguments, packing)
    return padded(turned(y, packing) if by_copy else y, packing, x), *states


@op(is_method=False)
def dropout(x: Tensor, p: float = 0.5, key: random.State | None = None, start: int = 0) -> Tensor:
    """Each element zeroed with probability ``p``, the others scaled by 1 / (1 - p); ValueError outside [0, 1].

    Equal ``key`` (of ``random.next_key``) and shape give equal masks; None draws the next one. With ``start`` the mask
    is that of a larger tensor from its element ``start`` on.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is {p}; expected a probability from 0 to 1")
    return x if p == 0 else Dropout.apply(x, p, key or random.next_key(), start)
