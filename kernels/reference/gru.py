"""One GRU layer over a batch of sequences, and its gradient.

    r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z),  n = tanh(a_n + r b_n)
    a = W_ih x_t + bias_ih,  b = W_hh h_{t-1} + bias_hh
    h_t = (1 - z) n + z h_{t-1}

Source: Cho et al. (2014), in the variant that applies the reset gate after the recurrent product.
A row past its length keeps its state, emits zero, and sends no gradient anywhere. What comes packed is padded here, and
goes packed.
"""

from typing import NamedTuple

import numpy as np

from kernels.packing import Packing, packing_of
from kernels.reference.lstm import Places, at, live_mask, padded, rows, sigmoid, token_places
from kernels.reference.precision import product


class GRUCache(NamedTuple):
    """What the backward needs. Slot 0 of h is the initial state, slot t + 1 the state after step t."""

    x: np.ndarray  # (T, N, I), zero past the lengths
    gates: np.ndarray  # (T, N, 3H), activated, blocks r z n
    hidden_n: np.ndarray  # (T, N, H), the recurrent part b_n before the reset gate
    h: np.ndarray  # (T + 1, N, H)
    live: np.ndarray  # (T, N, 1) bool, True on real tokens
    weight_ih: np.ndarray  # (3H, I)
    weight_hh: np.ndarray  # (3H, H)
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


def gru_step(
    input_part: np.ndarray, hidden_part: np.ndarray, h_prev: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of N cells: (N, 3H), (N, 3H), h_prev (N, H) -> activated gates (N, 3H), hidden_n (N, H), h (N, H)."""
    a_r, a_z, a_n = np.split(input_part, 3, axis=1)
    b_r, b_z, b_n = np.split(hidden_part, 3, axis=1)
    r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
    n = np.tanh(a_n + r * b_n)
    h = (1 - z) * n + z * h_prev
    return np.concatenate([r, z, n], axis=1), b_n, h


def gru_step_backward(
    dh: np.ndarray, gates: np.ndarray, hidden_n: np.ndarray, h_prev: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient of `gru_step`: dh (N, H) -> (N, 3H) of input_part, (N, 3H) of hidden_part, (N, H) of h_prev."""
    r, z, n = np.split(gates, 3, axis=1)
    dz, dn = dh * (h_prev - n), dh * (1 - z)  # h = (1 - z) * n + z * h_prev
    da_n = dn * (1 - n * n)  # n = tanh(a_n + r * b_n)
    dr, db_n = da_n * hidden_n, da_n * r  # n = tanh(a_n + r * b_n)
    da_z = dz * z * (1 - z)  # z = sigmoid(a_z + b_z)
    da_r = dr * r * (1 - r)  # r = sigmoid(a_r + b_r)
    return np.concatenate([da_r, da_z, da_n], axis=1), np.concatenate([da_r, da_z, db_n], axis=1), dh * z


def gru_forward(
    x: np.ndarray,
    h0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None,
    bias_hh: np.ndarray | None,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, GRUCache]:
    """See `kernels.gru_forward`."""
    packing = packing_of(x, lengths, len(h0))
    places = None if x.ndim == 3 or lengths is None else token_places(lengths)
    x = x if places is None or lengths is None else padded(x, places, max(lengths, default=0), len(h0))
    num_steps, batch_size, _ = x.shape
    live = live_mask(lengths, num_steps, h0)
    x = np.where(live, x, 0)
    gates = np.empty((num_steps, batch_size, weight_hh.shape[0]), x.dtype, like=h0)
    hidden_n = np.empty((num_steps, *h0.shape), x.dtype, like=h0)
    h = np.empty((num_steps + 1, *h0.shape), x.dtype, like=h0)
    h[0] = h0
    for t in range(num_steps):
        input_part = product(x[t], weight_ih.T, bf16) + (0 if bias_ih is None else bias_ih)
        hidden_part = product(h[t], weight_hh.T, bf16) + (0 if bias_hh is None else bias_hh)
        gates[t], hidden_n[t], h_new = gru_step(input_part, hidden_part, h[t])
        h[t + 1] = np.where(live[t], h_new, h[t])
    cache = GRUCache(x, gates, hidden_n, h, live, weight_ih, weight_hh, bias_ih is not None, bf16, places, packing)
    y = np.where(live, h[1:], 0)
    return y if places is None else y[at(places, y)], h[-1].copy(), cache


def gru_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, cache: GRUCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See `kernels.gru_backward`."""
    x, gates, hidden_n, h, live, weight_ih, weight_hh, has_bias, bf16, places, _ = cache
    dy = dy if dy is None or places is None else padded(dy, places, *gates.shape[:2])  # y[places]
    dy = np.zeros_like(h[1:]) if dy is None else np.where(live, dy, 0)  # y = where(live, h[1:], 0)
    dh = np.zeros_like(h[0]) if dh_n is None else dh_n  # h_n = h[-1]
    dinput, dhidden = np.zeros_like(gates), np.zeros_like(gates)
    for t in reversed(range(len(x))):
        da, db, dh_direct = gru_step_backward(dh + dy[t], gates[t], hidden_n[t], h[t])  # ... = gru_step(...)
        dinput[t], dhidden[t] = np.where(live[t], da, 0), np.where(live[t], db, 0)
        dh_recurrent = product(dhidden[t], weight_hh, bf16)  # hidden_part = h[t] @ weight_hh.T + bias_hh
        dh = np.where(live[t], dh_direct + dh_recurrent, dh)
    dx = product(dinput, weight_ih, bf16)  # input_part = x[t] @ weight_ih.T + bias_ih
    dweight_ih = product(rows(dinput).T, rows(x), bf16)  # input_part = x[t] @ weight_ih.T + bias_ih
    dweight_hh = product(rows(dhidden).T, rows(h[:-1]), bf16)  # hidden_part = h[t] @ weight_hh.T + bias_hh
    dbias_ih = dinput.sum(axis=(0, 1)) if has_bias else None  # input_part = ... + bias_ih
    dbias_hh = dhidden.sum(axis=(0, 1)) if has_bias else None  # hidden_part = ... + bias_hh
    dx = dx if places is None else dx[at(places, dx)]  # x = padded(tokens, places, ...)
    return dx, dh.copy(), dweight_ih, dweight_hh, dbias_ih, dbias_hh
