"""One GRU layer over a batch of sequences, and its gradient.

    r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z),  n = tanh(a_n + r b_n)
    a = W_ih x_t + bias_ih,  b = W_hh h_{t-1} + bias_hh
    h_t = (1 - z) n + z h_{t-1}

Source: Cho et al. (2014), in the variant that applies the reset gate after the recurrent product.
A row past its length keeps its state.
"""

from typing import NamedTuple

import numpy as np

from kernels.packing import Packing
from kernels.reference.lstm import sigmoid, steps_of
from kernels.reference.precision import product


class GRUWeights(NamedTuple):
    """The arguments of `prepack_gru`; no biases are zeros."""

    weight_ih: np.ndarray  # (3H, I)
    weight_hh: np.ndarray  # (3H, H)
    bias_ih: np.ndarray  # (3H,)
    bias_hh: np.ndarray  # (3H,)
    bf16: bool

    @property
    def input_size(self) -> int:
        return self.weight_ih.shape[1]


class GRUCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (P, I)
    gates: np.ndarray  # (P, 3H), activated, blocks r z n
    hidden_n: np.ndarray  # (P, H), the recurrent part b_n before the reset gate
    h_prev: np.ndarray  # (P, H), the state before each token
    packing: Packing
    weight_ih: np.ndarray  # (3H, I)
    weight_hh: np.ndarray  # (3H, H)
    has_bias: bool
    bf16: bool


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
    packing: Packing,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, GRUCache]:
    """See `kernels.gru_forward`."""
    (_, H), G, h = h0.shape, len(weight_hh), h0.copy()
    gates, hidden_n, h_prev, y = (np.empty((len(x), width), x.dtype, like=x) for width in (G, H, H, H))
    for t, rows in steps_of(packing, x):
        h_prev[t] = h[rows]
        input_part = product(x[t], weight_ih.T, bf16) + (0 if bias_ih is None else bias_ih)
        hidden_part = product(h_prev[t], weight_hh.T, bf16) + (0 if bias_hh is None else bias_hh)
        gates[t], hidden_n[t], y[t] = gru_step(input_part, hidden_part, h_prev[t])
        h[rows] = y[t]
    cache = GRUCache(x, gates, hidden_n, h_prev, packing, weight_ih, weight_hh, bias_ih is not None, bf16)
    return y, h, cache


def prepack_gru(
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None,
    bias_hh: np.ndarray | None,
    bf16: bool = False,
) -> GRUWeights:
    """See `kernels.prepack_gru`."""
    none = np.zeros(len(weight_hh), weight_hh.dtype, like=weight_hh)
    of_x, of_h = (none if bias is None else bias.copy() for bias in (bias_ih, bias_hh))
    return GRUWeights(weight_ih.copy(), weight_hh.copy(), of_x, of_h, bf16)


def gru_states(x: np.ndarray, h0: np.ndarray, weights: GRUWeights, packing: Packing) -> tuple[np.ndarray, np.ndarray]:
    """See `kernels.gru_states`."""
    weight_ih, weight_hh, bias_ih, bias_hh, bf16 = weights
    return gru_forward(x, h0, weight_ih, weight_hh, bias_ih, bias_hh, packing, bf16)[:2]


def gru_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, cache: GRUCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See `kernels.gru_backward`."""
    x, gates, hidden_n, h_prev, packing, weight_ih, weight_hh, has_bias, bf16 = cache
    dy = np.zeros_like(h_prev) if dy is None else dy
    zero = np.zeros((packing.batch_size, h_prev.shape[1]), x.dtype, like=x)
    dh = zero if dh_n is None else dh_n.copy()  # h_n = h at the end
    dinput, dhidden = np.empty_like(gates), np.empty_like(gates)
    for t, rows in reversed(list(steps_of(packing, x))):
        dh_t = dh[rows] + dy[t]  # h[rows] = y[t]
        dinput[t], dhidden[t], direct = gru_step_backward(dh_t, gates[t], hidden_n[t], h_prev[t])  # ... = gru_step(...)
        dh[rows] = direct + product(dhidden[t], weight_hh, bf16)  # hidden_part = h_prev[t] @ weight_hh.T + bias_hh
    dx = product(dinput, weight_ih, bf16)  # input_part = x[t] @ weight_ih.T + bias_ih
    dweight_ih = product(dinput.T, x, bf16)  # input_part = x[t] @ weight_ih.T + bias_ih
    dweight_hh = product(dhidden.T, h_prev, bf16)  # hidden_part = h_prev[t] @ weight_hh.T + bias_hh
    dbias_ih = dinput.sum(axis=0) if has_bias else None  # input_part = ... + bias_ih
    dbias_hh = dhidden.sum(axis=0) if has_bias else None  # hidden_part = ... + bias_hh
    return dx, dh, dweight_ih, dweight_hh, dbias_ih, dbias_hh
