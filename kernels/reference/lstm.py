"""One LSTM layer over a batch of sequences, and its gradient.

    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o),  g = tanh(a_g),  a = W_ih x_t + W_hh h_{t-1} + b
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Source: Hochreiter and Schmidhuber (1997), with the forget gate of Gers, Schmidhuber and Cummins (2000).
A row past its length keeps its state.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kernels.arrays import like
from kernels.packing import Packing
from kernels.reference.precision import product


class LSTMCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (P, I)
    gates: np.ndarray  # (P, 4H), activated, blocks i f g o
    h_prev: np.ndarray  # (P, H), the states before each token
    c_prev: np.ndarray  # (P, H)
    c: np.ndarray  # (P, H), that after each token
    packing: Packing
    weight_ih: np.ndarray  # (4H, I)
    weight_hh: np.ndarray  # (4H, H)
    has_bias: bool
    bf16: bool


def sigmoid(a: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-a)) by tanh, which neither overflows nor needs a clip."""
    return 0.5 * np.tanh(0.5 * a) + 0.5


def steps_of(packing: Packing, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """For each step its tokens, and the batch row of each, where x lies."""
    order = np.arange(packing.batch_size) if packing.order is None else packing.order
    for first, alive in zip(packing.tokens, packing.steps[:, 2], strict=True):
        yield slice(first, first + alive), like(order[:alive], x)


def lstm_step(gates_pre: np.ndarray, c_prev: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of N cells: (N, 4H) pre-activations and (N, H) c_prev -> activated gates (N, 4H), h (N, H), c (N, H)."""
    a_i, a_f, a_g, a_o = np.split(gates_pre, 4, axis=1)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return np.concatenate([i, f, g, o], axis=1), h, c


def lstm_step_backward(
    dh: np.ndarray, dc: np.ndarray, gates: np.ndarray, c_prev: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of `lstm_step`: dh, dc (N, H) of its results -> (N, 4H) of gates_pre and (N, H) of c_prev."""
    i, f, g, o = np.split(gates, 4, axis=1)
    tanh_c = np.tanh(c)
    do = dh * tanh_c  # h = o * tanh(c)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)  # h = o * tanh(c)
    di, df, dg = dc * g, dc * c_prev, dc * i  # c = f * c_prev + i * g
    da_i = di * i * (1 - i)  # i = sigmoid(a_i)
    da_f = df * f * (1 - f)  # f = sigmoid(a_f)
    da_g = dg * (1 - g * g)  # g = tanh(a_g)
    da_o = do * o * (1 - o)  # o = sigmoid(a_o)
    return np.concatenate([da_i, da_f, da_g, da_o], axis=1), dc * f


class LSTMWeights(NamedTuple):
    """The arguments of `prepack_lstm`; no bias is one of zeros."""

    weight_ih: np.ndarray  # (4H, I)
    weight_hh: np.ndarray  # (4H, H)
    bias: np.ndarray  # (4H,)
    bf16: bool

    @property
    def input_size(self) -> int:
        return self.weight_ih.shape[1]


class LSTMRun(NamedTuple):
    """A layer on its way through the steps: the cache and the outputs that it fills, the states, and the bias."""

    cache: LSTMCache
    y: np.ndarray  # (P, H)
    h: np.ndarray  # (N, H)
    c: np.ndarray  # (N, H)
    bias: np.ndarray | None  # (4H,)


def incremental_lstm_start(
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    packing: Packing,
    bf16: bool = False,
) -> LSTMRun:
    """See `kernels.incremental_lstm_start`."""
    (_, H), (G, I), P = h0.shape, weight_ih.shape, packing.num_tokens  # noqa: E741
    x, gates, h_prev, c_prev, c, y = (np.empty((P, width), h0.dtype, like=h0) for width in (I, G, H, H, H, H))
    cache = LSTMCache(x, gates, h_prev, c_prev, c, packing, weight_ih, weight_hh, bias is not None, bf16)
    return LSTMRun(cache, y, h0.copy(), c0.copy(), bias)


def incremental_lstm_step(x: np.ndarray, start: int, run: LSTMRun) -> np.ndarray:
    """See `kernels.incremental_lstm_step`."""
    (tokens, gates, h_prev, c_prev, c_next, packing, weight_ih, weight_hh, _, bf16), y, h, c, bias = run
    stop, first = packing.stop(start, len(x)), packing.tokens_before(start)
    tokens[first : first + len(x)] = x
    for t, rows in list(steps_of(packing, x))[start:stop]:
        h_prev[t], c_prev[t] = h[rows], c[rows]
        input_part, recurrent = product(tokens[t], weight_ih.T, bf16), product(h_prev[t], weight_hh.T, bf16)
        gates_pre = input_part + recurrent + (0 if bias is None else bias)
        gates[t], y[t], c_next[t] = lstm_step(gates_pre, c_prev[t])
        h[rows], c[rows] = y[t], c_next[t]
    return y[first : first + len(x)]


def incremental_lstm_finish(run: LSTMRun) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCache]:
    """See `kernels.incremental_lstm_finish`."""
    return run.y, run.h, run.c, run.cache


def lstm_forward(
    x: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    packing: Packing,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCache]:
    """See `kernels.lstm_forward`."""
    run = incremental_lstm_start(h0, c0, weight_ih, weight_hh, bias, packing, bf16)
    incremental_lstm_step(x, 0, run)
    return incremental_lstm_finish(run)


def prepack_lstm(
    weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray | None, bf16: bool = False
) -> LSTMWeights:
    """See `kernels.prepack_lstm`."""
    bias = np.zeros(len(weight_hh), weight_hh.dtype, like=weight_hh) if bias is None else bias.copy()
    return LSTMWeights(weight_ih.copy(), weight_hh.copy(), bias, bf16)


def lstm_states(
    x: np.ndarray, h0: np.ndarray, c0: np.ndarray, weights: LSTMWeights, packing: Packing
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.lstm_states`."""
    weight_ih, weight_hh, bias, bf16 = weights
    return lstm_forward(x, h0, c0, weight_ih, weight_hh, bias, packing, bf16)[:3]


def lstm_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, dc_n: np.ndarray | None, cache: LSTMCache, consume: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """See `kernels.lstm_backward`."""
    x, gates, h_prev, c_prev, c, packing, weight_ih, weight_hh, has_bias, bf16 = cache
    dy = np.zeros_like(c) if dy is None else dy
    zero = np.zeros((packing.batch_size, c.shape[1]), c.dtype, like=c)
    dh, dc = (zero.copy() if dstate is None else dstate.copy() for dstate in (dh_n, dc_n))  # h_n, c_n = h, c at the end
    dgates = np.empty_like(gates)
    for t, rows in reversed(list(steps_of(packing, x))):
        dh_t = dh[rows] + dy[t]  # h[rows] = y[t]
        dgates[t], dc[rows] = lstm_step_backward(dh_t, dc[rows], gates[t], c_prev[t], c[t])  # ... = lstm_step(...)
        dh[rows] = product(dgates[t], weight_hh, bf16)  # gates_pre = ... + h_prev[t] @ weight_hh.T
    dx = product(dgates, weight_ih, bf16)  # gates_pre = x[t] @ weight_ih.T + ...
    dweight_ih = product(dgates.T, x, bf16)  # gates_pre = x[t] @ weight_ih.T + ...
    dweight_hh = product(dgates.T, h_prev, bf16)  # gates_pre = ... + h_prev[t] @ weight_hh.T
    dbias = dgates.sum(axis=0) if has_bias else None  # gates_pre = ... + bias
    return dx, dh, dc, dweight_ih, dweight_hh, dbias
