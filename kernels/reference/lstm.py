"""One LSTM layer over a batch of sequences, and its gradient.

    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o),  g = tanh(a_g),  a = W_ih x_t + W_hh h_{t-1} + b
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Source: Hochreiter and Schmidhuber (1997), with the forget gate of Gers, Schmidhuber and Cummins (2000).
A row past its length keeps its state, emits zero, and sends no gradient anywhere. What comes packed is padded here, and
goes packed.
"""

from typing import NamedTuple

import numpy as np

from kernels.arrays import like
from kernels.packing import Packing, pack_lengths
from kernels.reference.precision import product

Places = tuple[np.ndarray, np.ndarray]  # (P,) step and row of each token


class LSTMCache(NamedTuple):
    """What the backward needs. Slot 0 of h and c is the initial state, slot t + 1 the state after step t."""

    x: np.ndarray  # (T, N, I), zero past the lengths
    gates: np.ndarray  # (T, N, 4H), activated, blocks i f g o
    h: np.ndarray  # (T + 1, N, H)
    c: np.ndarray  # (T + 1, N, H)
    live: np.ndarray  # (T, N, 1) bool, True on real tokens
    weight_ih: np.ndarray  # (4H, I)
    weight_hh: np.ndarray  # (4H, H)
    has_bias: bool
    bf16: bool
    places: Places | None  # of the tokens, if x and y are packed
    packing: Packing

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of y: (T, N, H), or (P, H) for a packed x."""
        return self.packing.shape(self.h.shape[2])

    @property
    def batch_size(self) -> int:
        """N."""
        return self.h.shape[1]


def sigmoid(a: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-a)) by tanh, which neither overflows nor needs a clip."""
    return 0.5 * np.tanh(0.5 * a) + 0.5


def live_mask(lengths: np.ndarray | None, num_steps: int, h0: np.ndarray) -> np.ndarray:
    """(T, N, 1) bool where h0 (N, H) lies: True where step t of row n is a real token."""
    counts = np.full(len(h0), num_steps) if lengths is None else lengths
    return like(np.arange(num_steps)[:, None, None] < counts[None, :, None], h0)


def token_places(lengths: np.ndarray) -> Places:
    """The order of packed tokens: step by step, in each step the longest row first, equally long ones as they come."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    places = [(t, n) for t in range(max(lengths, default=0)) for n in order if t < lengths[n]]
    steps, rows = np.array(places, np.int64).reshape(-1, 2).T
    return steps, rows


def padded(tokens: np.ndarray, places: Places, num_steps: int, batch_size: int) -> np.ndarray:
    """(P, F) -> (T, N, F), zero where there is no token."""
    sequence = np.zeros((num_steps, batch_size, tokens.shape[1]), tokens.dtype, like=tokens)
    sequence[at(places, tokens)] = tokens
    return sequence


def at(places: Places, x: np.ndarray) -> Places:
    """The places as an index of an array that lies where x lies."""
    return like(places[0], x), like(places[1], x)


def rows(sequence: np.ndarray) -> np.ndarray:
    """(T, N, F) -> (T * N, F)."""
    return sequence.reshape(-1, sequence.shape[2])


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
    """The arguments of `pack_lstm`; no bias is one of zeros."""

    weight_ih: np.ndarray  # (4H, I)
    weight_hh: np.ndarray  # (4H, H)
    bias: np.ndarray  # (4H,)
    bf16: bool

    @property
    def input_size(self) -> int:
        return self.weight_ih.shape[1]


class LSTMRun(NamedTuple):
    """A layer on its way through the steps: the cache that it fills, and the bias."""

    cache: LSTMCache
    bias: np.ndarray | None  # (4H,)


def lstm_start(
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    num_steps: int,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
    packed: bool = False,
) -> LSTMRun:
    """See `kernels.lstm_start`."""
    batch_size, input_size = len(h0), weight_ih.shape[1]
    live = live_mask(lengths, num_steps, h0)
    packing = pack_lengths(lengths, num_steps, batch_size)._replace(given_packed=packed)
    x = np.empty((num_steps, batch_size, input_size), h0.dtype, like=h0)
    gates = np.empty((num_steps, batch_size, weight_hh.shape[0]), h0.dtype, like=h0)
    h, c = (np.empty((num_steps + 1, *state.shape), h0.dtype, like=h0) for state in (h0, c0))
    h[0], c[0] = h0, c0
    lengths = np.full(batch_size, num_steps) if lengths is None else lengths
    places = token_places(lengths) if packed else None
    return LSTMRun(LSTMCache(x, gates, h, c, live, weight_ih, weight_hh, bias is not None, bf16, places, packing), bias)


def lstm_continue(x: np.ndarray, start: int, run: LSTMRun) -> np.ndarray:
    """See `kernels.lstm_continue`."""
    if run.cache.places is None:
        return _continue(x, start, run)
    steps, columns = run.cache.places
    first = int((steps < start).sum())
    piece = steps[first : first + len(x)] - start, columns[first : first + len(x)]
    y = _continue(padded(x, piece, int(piece[0].max(initial=-1)) + 1, run.cache.h.shape[1]), start, run)
    return y[at(piece, x)]


def _continue(x: np.ndarray, start: int, run: LSTMRun) -> np.ndarray:
    """The next steps of padded sequences (S, N, I)."""
    (tokens, gates, h, c, live, weight_ih, weight_hh, _, bf16, _, _), bias = run
    stop = start + len(x)
    tokens[start:stop] = np.where(live[start:stop], x, 0)
    for t in range(start, stop):
        input_part, recurrent = product(tokens[t], weight_ih.T, bf16), product(h[t], weight_hh.T, bf16)
        gates[t], h_new, c_new = lstm_step(input_part + recurrent + (0 if bias is None else bias), c[t])
        h[t + 1] = np.where(live[t], h_new, h[t])
        c[t + 1] = np.where(live[t], c_new, c[t])
    return np.where(live[start:stop], h[start + 1 : stop + 1], 0)


def lstm_finish(run: LSTMRun) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCache]:
    """See `kernels.lstm_finish`."""
    h, c, live, places = run.cache.h, run.cache.c, run.cache.live, run.cache.places
    y = np.where(live, h[1:], 0)
    return y if places is None else y[at(places, y)], h[-1].copy(), c[-1].copy(), run.cache


def lstm_forward(
    x: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCache]:
    """See `kernels.lstm_forward`."""
    packed = x.ndim == 2
    num_steps = max(lengths, default=0) if packed and lengths is not None else len(x)
    run = lstm_start(h0, c0, weight_ih, weight_hh, bias, num_steps, lengths, bf16, packed)
    lstm_continue(x, 0, run)
    return lstm_finish(run)


def pack_lstm(weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> LSTMWeights:
    """See `kernels.pack_lstm`."""
    bias = np.zeros(len(weight_hh), weight_hh.dtype) if bias is None else bias.copy()
    return LSTMWeights(weight_ih.copy(), weight_hh.copy(), bias, bf16)


def lstm_states(
    x: np.ndarray, h0: np.ndarray, c0: np.ndarray, weights: LSTMWeights, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.lstm_states`."""
    weight_ih, weight_hh, bias, bf16 = weights
    return lstm_forward(x, h0, c0, weight_ih, weight_hh, bias, lengths, bf16)[:3]


def lstm_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, dc_n: np.ndarray | None, cache: LSTMCache, consume: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """See `kernels.lstm_backward`."""
    x, gates, h, c, live, weight_ih, weight_hh, has_bias, bf16, places, _ = cache
    dy = dy if dy is None or places is None else padded(dy, places, *gates.shape[:2])  # y[places]
    dy = np.zeros_like(h[1:]) if dy is None else np.where(live, dy, 0)  # y = where(live, h[1:], 0)
    dh = np.zeros_like(h[0]) if dh_n is None else dh_n  # h_n = h[-1]
    dc = np.zeros_like(c[0]) if dc_n is None else dc_n  # c_n = c[-1]
    dgates = np.zeros_like(gates)
    for t in reversed(range(len(x))):
        da, dc_prev = lstm_step_backward(dh + dy[t], dc, gates[t], c[t], c[t + 1])  # gates, h, c = lstm_step(...)
        dgates[t] = np.where(live[t], da, 0)
        dc = np.where(live[t], dc_prev, dc)  # c[t + 1] = where(live[t], c_new, c[t])
        dh = np.where(live[t], product(dgates[t], weight_hh, bf16), dh)  # gates_pre = ... + h[t] @ weight_hh.T
    dx = product(dgates, weight_ih, bf16)  # gates_pre = x[t] @ weight_ih.T + ...
    dweight_ih = product(rows(dgates).T, rows(x), bf16)  # gates_pre = x[t] @ weight_ih.T + ...
    dweight_hh = product(rows(dgates).T, rows(h[:-1]), bf16)  # gates_pre = ... + h[t] @ weight_hh.T
    dbias = dgates.sum(axis=(0, 1)) if has_bias else None  # gates_pre = ... + bias
    dx = dx if places is None else dx[at(places, dx)]  # x = padded(tokens, places, ...)
    return dx, dh.copy(), dc.copy(), dweight_ih, dweight_hh, dbias
