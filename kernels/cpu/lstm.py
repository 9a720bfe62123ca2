"""One LSTM layer over packed rows, and its gradient. See `kernels.reference.lstm` for the equations.

Forward: one product for the input part of all P real tokens, then per step one recurrent product and one cell kernel.
Backward: per step one cell kernel and one product, then one closing product for each of dweight_ih, dweight_hh and dx.
Padding is never touched (`kernels.packing`), and no weight is copied: the transposed views go to BLAS as they are.
"""

from typing import NamedTuple

import numpy as np

from kernels.cpu.activations import sigmoid, tanh
from kernels.cpu.jit import jit
from kernels.packing import Packing, pack_lengths


class LSTMCache(NamedTuple):
    """What the backward needs; tanh(c) is computed again rather than kept."""

    x: np.ndarray  # (P, I) packed; the input itself where no row has padding
    gates: np.ndarray  # (P, 4H) packed, activated, blocks i f g o
    h: np.ndarray  # (N + P, H) state buffer; y shares it where no row has padding
    c: np.ndarray  # (N + P, H) state buffer
    packing: Packing
    weight_ih: np.ndarray  # (4H, I)
    weight_hh: np.ndarray  # (4H, H)
    has_bias: bool

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(T, N, H), the shape of y."""
        return self.packing.num_steps, self.packing.batch_size, self.h.shape[1]


@jit
def _cells(
    gates: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, c_prev: np.ndarray, c: np.ndarray, h: np.ndarray
) -> None:
    """One step of n cells: gates (n, 4H) holds the input part and is activated in place; c and h (n, H) are written.

    recurrent (n, 4H), bias (4H,), c_prev (n, H). Every loop writes one array, which keeps the aliasing checks few
    enough for it to vectorise.
    """
    size = c.shape[1]
    for row in range(c.shape[0]):
        i_f, g, o = gates[row, : 2 * size], gates[row, 2 * size : 3 * size], gates[row, 3 * size :]
        _add_sigmoid(i_f, recurrent[row, : 2 * size], bias[: 2 * size])
        _add_tanh(g, recurrent[row, 2 * size : 3 * size], bias[2 * size : 3 * size])
        _add_sigmoid(o, recurrent[row, 3 * size :], bias[3 * size :])
        i, f, c_row, c_prev_row, h_row = i_f[:size], i_f[size:], c[row], c_prev[row], h[row]
        for k in range(size):
            c_row[k] = f[k] * c_prev_row[k] + i[k] * g[k]
        for k in range(size):
            h_row[k] = o[k] * tanh(c_row[k])


@jit
def _add_sigmoid(a: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> None:
    """a <- sigmoid(a + recurrent + bias), all (S,)."""
    for k in range(a.shape[0]):
        a[k] = sigmoid(a[k] + recurrent[k] + bias[k])


@jit
def _add_tanh(a: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> None:
    """a <- tanh(a + recurrent + bias), all (S,)."""
    for k in range(a.shape[0]):
        a[k] = tanh(a[k] + recurrent[k] + bias[k])


@jit
def _cells_backward(
    dy: np.ndarray,
    dh: np.ndarray,
    dc: np.ndarray,
    gates: np.ndarray,
    c_prev: np.ndarray,
    c: np.ndarray,
    dgates: np.ndarray,
) -> None:
    """Gradient of one step of n cells.

    dy, dh (n, H): the two parts of the gradient of h. dc (n, H): gradient of c, replaced by that of c_prev.
    gates (n, 4H), c_prev and c (n, H): as in the forward. dgates (n, 4H): written, gradient of the pre-activations.
    """
    size = c.shape[1]
    one = gates.dtype.type(1)
    for row in range(c.shape[0]):
        gate, dgate, dc_row, c_row, c_prev_row = gates[row], dgates[row], dc[row], c[row], c_prev[row]
        i, f, g, o = gate[:size], gate[size : 2 * size], gate[2 * size : 3 * size], gate[3 * size :]
        di, df, dg, do = dgate[:size], dgate[size : 2 * size], dgate[2 * size : 3 * size], dgate[3 * size :]
        dy_row, dh_row = dy[row], dh[row]
        for k in range(size):
            dh_k, tanh_c = dy_row[k] + dh_row[k], tanh(c_row[k])
            do[k] = dh_k * tanh_c * o[k] * (one - o[k])  # h = o * tanh(c), o = sigmoid(...)
            dc_row[k] += dh_k * o[k] * (one - tanh_c * tanh_c)  # h = o * tanh(c)
        for k in range(size):
            di[k] = dc_row[k] * g[k] * i[k] * (one - i[k])  # c = f * c_prev + i * g, i = sigmoid(...)
        for k in range(size):
            dg[k] = dc_row[k] * i[k] * (one - g[k] * g[k])  # c = f * c_prev + i * g, g = tanh(...)
        for k in range(size):
            df[k] = dc_row[k] * c_prev_row[k] * f[k] * (one - f[k])  # c = f * c_prev + i * g, f = sigmoid(...)
            dc_row[k] *= f[k]  # c = f * c_prev + i * g


def lstm_forward(
    x: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    lengths: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCache]:
    """See `kernels.lstm_forward`."""
    num_steps, batch_size, _ = x.shape
    packing = pack_lengths(lengths, num_steps, batch_size)
    tokens = packing.pack(x)
    gates = np.dot(tokens, weight_ih.T)
    h, c = packing.state_buffer(h0), packing.state_buffer(c0)
    recurrent = np.empty((batch_size, gates.shape[1]), gates.dtype)
    bias_row = np.zeros(gates.shape[1], gates.dtype) if bias is None else bias
    for previous, start, size in packing.steps:
        token, before, after = (slice(row, row + size) for row in (start - batch_size, previous, start))
        np.dot(h[before], weight_hh.T, out=recurrent[:size])
        _cells(gates[token], recurrent, bias_row, c[before], c[after], h[after])
    cache = LSTMCache(tokens, gates, h, c, packing, weight_ih, weight_hh, bias is not None)
    return packing.unpack(h[batch_size:]), packing.last_states(h), packing.last_states(c), cache


def lstm_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, dc_n: np.ndarray | None, cache: LSTMCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """See `kernels.lstm_backward`."""
    x, gates, h, c, packing, weight_ih, weight_hh, has_bias = cache
    batch_size = packing.batch_size
    dtokens = np.zeros_like(h[batch_size:]) if dy is None else packing.pack(dy)  # y = unpack(h[batch_size:])
    dh = np.zeros_like(h[:batch_size]) if dh_n is None else packing.sort(dh_n)  # h_n = last_states(h)
    dc = np.zeros_like(c[:batch_size]) if dc_n is None else packing.sort(dc_n)  # c_n = last_states(c)
    dgates = np.empty_like(gates)
    # A row not yet alive keeps dh_n and dc_n in dh and dc until the loop comes to its last token.
    for previous, start, size in reversed(packing.steps):
        token, before, after = (slice(row, row + size) for row in (start - batch_size, previous, start))
        _cells_backward(dtokens[token], dh, dc, gates[token], c[before], c[after], dgates[token])
        np.dot(dgates[token], weight_hh, out=dh[:size])  # recurrent = h_prev @ weight_hh.T
    dx = packing.unpack(np.dot(dgates, weight_ih))  # gates = x @ weight_ih.T
    dweight_ih = np.dot(dgates.T, x)  # gates = x @ weight_ih.T
    dweight_hh = np.dot(dgates.T, packing.previous_states(h))  # recurrent = h_prev @ weight_hh.T
    dbias = dgates.sum(axis=0) if has_bias else None  # a = gates + recurrent + bias
    return dx, packing.unsort(dh), packing.unsort(dc), dweight_ih, dweight_hh, dbias
