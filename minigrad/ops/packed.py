"""Padded sequences to packed rows and back: recurrent kernels know packed rows alone (``kernels.packing``).

T time, N batch, F features, P packed rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import kernels
from kernels.packing import Packing, equal_lengths, pack_lengths
from minigrad.function import Context, Function
from minigrad.ops.common import tensor_of
from minigrad.ops.shape import reshape
from minigrad.tensor import Tensor

Array = np.ndarray


class PlaceRows(Function):
    """y[i] = x[rows[i]], or ``fill`` where rows[i] < 0; no row of x is read twice."""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, rows: Array, fill: float) -> Array:
        ctx.shape, ctx.rows = x.shape, rows.reshape(-1)
        (y,) = kernels.split_rows(x.reshape(len(x), math.prod(x.shape[1:])), ctx.rows, 1, fill)
        return y.reshape(rows.shape + x.shape[1:])

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array, None, None]:
        dy = grad_output.reshape(len(ctx.rows), math.prod(ctx.shape[1:]))
        dx = kernels.join_rows([dy], _places(ctx.rows, ctx.shape[0]))  # y[i] = x[rows[i]]
        return dx.reshape(ctx.shape), None, None


class SplitRows(Function):
    """Of x (R, n F) the n parts of its columns, each y[i] = x[rows[i], part], or 0 where rows[i] < 0; rows None is all
    of them in order. No row of x is read twice.
    """

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, rows: Array | None, num_parts: int) -> tuple[Array, ...]:
        ctx.num_rows, ctx.rows = len(x), None if rows is None else rows.reshape(-1)
        parts = kernels.split_rows(x, ctx.rows, num_parts)
        return parts if rows is None else tuple([y.reshape(*rows.shape, y.shape[1]) for y in parts])

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Array | None) -> tuple[Array, None, None]:
        like = next(grad for grad in grad_outputs if grad is not None)
        size = math.prod(like.shape[:-1])
        dparts = [np.zeros_like(like) if grad is None else grad for grad in grad_outputs]
        places = None if ctx.rows is None else _places(ctx.rows, ctx.num_rows)
        dx = kernels.join_rows([dy.reshape(size, dy.shape[-1]) for dy in dparts], places)  # y[i] = x[rows[i], part]
        return dx, None, None


def _places(rows: Array, num_rows: int) -> Array:
    """(num_rows,) where ``rows`` names each row, -1 for nowhere; none is named twice, so its gradient lies there."""
    places = np.full(num_rows, -1)
    filled = np.flatnonzero(rows >= 0)
    places[rows[filled]] = filled
    return places


def packing_of(op: str, x: Tensor, lengths: Any, reverse: bool = False) -> Packing:
    """The packing of ``x``, padded (T,N,F), or packed (P,F) with ``lengths`` (N,); None where every row has T tokens.

    With ``reverse`` it is one that is walked from the last token of each sequence to its first.

    Raises:
        TypeError, ValueError: lengths of another dtype or shape, or out of 0..T; none for an ``x`` that is packed.
    """
    if x.dim() not in (2, 3):
        raise ValueError(f"{op}: x has shape {x.shape}; expected (T, N, I), or packed (P, I)")
    if lengths is not None:
        most, batch_size = (x.shape[0], x.shape[1]) if x.dim() == 3 else (len(x), None)
        return pack_lengths(checked_lengths(op, kernels.to_host(tensor_of(lengths).array), most, batch_size), reverse)
    if x.dim() == 2:
        raise ValueError(f"{op}: lengths is None; expected (N,) integers, since x is packed, {x.shape}")
    T, N, _ = x.shape
    return pack_lengths(np.full(N, T), reverse) if reverse else equal_lengths(T, N)


def checked_lengths(op: str, lengths: Array, most: int, batch_size: int | None) -> Array:
    """``lengths``, (N,) integers in 0..T. Raises TypeError or ValueError."""
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{op}: lengths has dtype {lengths.dtype}; expected an integer dtype")
    expected = lengths.shape[:1] if batch_size is None else (batch_size,)
    if lengths.ndim != 1 or lengths.shape != expected:
        raise ValueError(f"{op}: lengths has shape {lengths.shape}; expected (N,) = {expected} from x")
    if lengths.size and (lengths.min() < 0 or lengths.max() > most):
        worst = int(lengths.min() if lengths.min() < 0 else lengths.max())
        raise ValueError(f"{op}: lengths holds {worst}; expected values in 0..T = 0..{most} from x")
    return lengths


def packed(x: Tensor, packing: Packing) -> Tensor:
    """(T,N,F) -> (P,F), without a copy where no row has padding; what is packed stays as it is."""
    if x.dim() == 2:
        return x
    T, N, F = x.shape
    rows = reshape(x, (T * N, F))
    return rows if packing.num_tokens == T * N else PlaceRows.apply(rows, _rows(packing), 0)


def padded(y: Tensor, packing: Packing, x: Tensor) -> Tensor:
    """(P,F) -> (T,N,F), zero in the padding; as it is where ``x``, the input of the layer, is packed."""
    if x.dim() == 2:
        return y
    T, N, _ = x.shape
    if packing.num_tokens < T * N:
        places = np.full(T * N, -1)
        places[_rows(packing)] = np.arange(packing.num_tokens)
        y = PlaceRows.apply(y, places, 0)
    return reshape(y, (T, N, y.shape[1]))


def turned(x: Tensor, packing: Packing) -> Tensor:
    """(P,F) with the tokens of each sequence in reverse, packed likewise; its own inverse."""
    sizes, first = packing.steps[:, 2], packing.tokens
    time = np.repeat(np.arange(packing.num_steps), sizes)
    position = np.arange(packing.num_tokens) - first[time]
    lengths = np.bincount(position, minlength=packing.batch_size)
    return PlaceRows.apply(x, first[lengths[position] - 1 - time] + position, 0)


def _rows(packing: Packing) -> Array:
    return np.arange(packing.num_tokens) if packing.rows is None else packing.rows
