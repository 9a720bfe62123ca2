"""One GRU layer over packed rows, and its gradient. See `kernels.reference.gru` for the equations.

The products and the loop are those of `lstm.py`; the reset gate acts on the recurrent product, so the gradients of the
two parts differ in the n block and each has an array of its own.
"""

from typing import NamedTuple

import numpy as np

from kernels.cpu.activations import sigmoid, tanh
from kernels.cpu.jit import jit
from kernels.packing import Packing, pack_lengths


class GRUCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (P, I) packed; the input itself where no row has padding
    gates: np.ndarray  # (P, 3H) packed, activated, blocks r z n
    hidden_n: np.ndarray  # (P, H) packed, the recurrent part of n before the reset gate
    h: np.ndarray  # (N + P, H) state buffer; y shares it where no row has padding
    packing: Packing
    weight_ih: np.ndarray  # (3H, I)
    weight_hh: np.ndarray  # (3H, H)
    has_bias: bool

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(T, N, H), the shape of y."""
        return self.packing.num_steps, self.packing.batch_size, self.h.shape[1]


@jit
def _cells(
    gates: np.ndarray,
    recurrent: np.ndarray,
    bias_ih: np.ndarray,
    bias_hh: np.ndarray,
    hidden_n: np.ndarray,
    h_prev: np.ndarray,
    h: np.ndarray,
) -> None:
    """One step of n cells: gates (n, 3H) holds the input part, activated in place; hidden_n and h (n, H) are written.

    recurrent (n, 3H), bias_ih and bias_hh (3H,), h_prev (n, H).
    """
    size = h.shape[1]
    for row in range(h.shape[0]):
        r_z, n, recurrent_row = gates[row, : 2 * size], gates[row, 2 * size :], recurrent[row]
        for k in range(2 * size):
            r_z[k] = sigmoid(r_z[k] + bias_ih[k] + recurrent_row[k] + bias_hh[k])
        r, z, b_n, h_prev_row, h_row = r_z[:size], r_z[size:], hidden_n[row], h_prev[row], h[row]
        recurrent_n, bias_ih_n, bias_hh_n = recurrent_row[2 * size :], bias_ih[2 * size :], bias_hh[2 * size :]
        for k in range(size):
            b_n[k] = recurrent_n[k] + bias_hh_n[k]
        for k in range(size):
            n[k] = tanh(n[k] + bias_ih_n[k] + r[k] * b_n[k])
        for k in range(size):
            h_row[k] = n[k] + z[k] * (h_prev_row[k] - n[k])


@jit
def _cells_backward(
    dy: np.ndarray,
    dh: np.ndarray,
    gates: np.ndarray,
    hidden_n: np.ndarray,
    h_prev: np.ndarray,
    dinput: np.ndarray,
    dhidden: np.ndarray,
) -> None:
    """Gradient of one step of n cells.

    dy, dh (n, H): the two parts of the gradient of h; dh is replaced by the direct part of the gradient of h_prev.
    gates (n, 3H), hidden_n and h_prev (n, H): as in the forward. dinput, dhidden (n, 3H): written, gradients of the
    input part and of the recurrent part.
    """
    size = h_prev.shape[1]
    one = gates.dtype.type(1)
    for row in range(h_prev.shape[0]):
        gate, b_n, dy_row, dh_row, h_prev_row = gates[row], hidden_n[row], dy[row], dh[row], h_prev[row]
        r, z, n = gate[:size], gate[size : 2 * size], gate[2 * size :]
        da_r, da_z, da_n = dinput[row, :size], dinput[row, size : 2 * size], dinput[row, 2 * size :]
        db_n = dhidden[row, 2 * size :]
        for k in range(size):
            dh_row[k] += dy_row[k]
        for k in range(size):
            da_z[k] = dh_row[k] * (h_prev_row[k] - n[k]) * z[k] * (one - z[k])  # h = n + z * (h_prev - n), z = sigmoid
        for k in range(size):
            da_n[k] = dh_row[k] * (one - z[k]) * (one - n[k] * n[k])  # h = n + z * (h_prev - n), n = tanh(...)
        for k in range(size):
            da_r[k] = da_n[k] * b_n[k] * r[k] * (one - r[k])  # n = tanh(a_n + r * b_n), r = sigmoid(...)
        for k in range(size):
            db_n[k] = da_n[k] * r[k]  # n = tanh(a_n + r * b_n)
        for k in range(size):
            dh_row[k] *= z[k]  # h = n + z * (h_prev - n)
        dhidden[row, : 2 * size] = dinput[row, : 2 * size]  # r, z = sigmoid(input part + recurrent part)


def gru_forward(
    x: np.ndarray,
    h0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None,
    bias_hh: np.ndarray | None,
    lengths: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, GRUCache]:
    """See `kernels.gru_forward`."""
    num_steps, batch_size, _ = x.shape
    packing = pack_lengths(lengths, num_steps, batch_size)
    tokens = packing.pack(x)
    gates = np.dot(tokens, weight_ih.T)
    h = packing.state_buffer(h0)
    hidden_n = np.empty_like(h[batch_size:])
    recurrent = np.empty((batch_size, gates.shape[1]), gates.dtype)
    no_bias = np.zeros(gates.shape[1], gates.dtype)
    bias_ih_row, bias_hh_row = (no_bias if bias is None else bias for bias in (bias_ih, bias_hh))
    for previous, start, size in packing.steps:
        token, before, after = (slice(row, row + size) for row in (start - batch_size, previous, start))
        np.dot(h[before], weight_hh.T, out=recurrent[:size])
        _cells(gates[token], recurrent, bias_ih_row, bias_hh_row, hidden_n[token], h[before], h[after])
    cache = GRUCache(tokens, gates, hidden_n, h, packing, weight_ih, weight_hh, bias_ih is not None)
    return packing.unpack(h[batch_size:]), packing.last_states(h), cache


def gru_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, cache: GRUCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See `kernels.gru_backward`."""
    x, gates, hidden_n, h, packing, weight_ih, weight_hh, has_bias = cache
    batch_size = packing.batch_size
    dtokens = np.zeros_like(h[batch_size:]) if dy is None else packing.pack(dy)  # y = unpack(h[batch_size:])
    dh = np.zeros_like(h[:batch_size]) if dh_n is None else packing.sort(dh_n)  # h_n = last_states(h)
    dinput, dhidden = np.empty_like(gates), np.empty_like(gates)
    # A row not yet alive keeps dh_n in dh until the loop comes to its last token.
    for previous, start, size in reversed(packing.steps):
        token, before = (slice(row, row + size) for row in (start - batch_size, previous))
        _cells_backward(dtokens[token], dh, gates[token], hidden_n[token], h[before], dinput[token], dhidden[token])
        dh[:size] += np.dot(dhidden[token], weight_hh)  # recurrent = h_prev @ weight_hh.T
    dx = packing.unpack(np.dot(dinput, weight_ih))  # gates = x @ weight_ih.T
    dweight_ih = np.dot(dinput.T, x)  # gates = x @ weight_ih.T
    dweight_hh = np.dot(dhidden.T, packing.previous_states(h))  # recurrent = h_prev @ weight_hh.T
    dbias_ih = dinput.sum(axis=0) if has_bias else None  # a = gates + bias_ih
    dbias_hh = dhidden.sum(axis=0) if has_bias else None  # b = recurrent + bias_hh
    return dx, packing.unsort(dh), dweight_ih, dweight_hh, dbias_ih, dbias_hh
