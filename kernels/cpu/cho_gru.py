"""The cell of Cho's GRU on one row. See `kernels.reference.cho_gru` for the equations.

The reset gate acts on the state before the product of n, so a step has two products, one after the other, and the cell
two parts around the second.
"""

import numpy as np

from kernels.cpu.activations import sigmoid, tanh
from kernels.cpu.jit import jit


@jit
def cho_gru_reset(gates: np.ndarray, bias: np.ndarray, h_prev: np.ndarray, reset: np.ndarray) -> None:
    """Before the product of n: the blocks r and z of gates (3H,) are activated; reset (H,) = r h_prev is written."""
    size = h_prev.shape[0]
    r_z = gates[: 2 * size]
    for k in range(2 * size):
        r_z[k] = sigmoid(r_z[k] + bias[k])
    r = r_z[:size]
    for k in range(size):
        reset[k] = r[k] * h_prev[k]


@jit
def cho_gru_cell(gates: np.ndarray, bias: np.ndarray, h_prev: np.ndarray, h: np.ndarray) -> None:
    """After the product: the block n of gates (3H,) is activated, and h (H,) written."""
    size = h.shape[0]
    z, n, bias_n = gates[size : 2 * size], gates[2 * size :], bias[2 * size :]
    for k in range(size):
        n[k] = tanh(n[k] + bias_n[k])
    for k in range(size):
        h[k] = n[k] + z[k] * (h_prev[k] - n[k])


@jit
def cho_gru_cell_backward(dh: np.ndarray, gates: np.ndarray, h_prev: np.ndarray, dgates: np.ndarray) -> None:
    """Gradient of `cho_gru_cell`: the blocks z and n of dgates (3H,) are written; dh (H,) of h becomes its direct part
    of that of h_prev."""
    size, one = h_prev.shape[0], gates.dtype.type(1)
    z, n, da_z, da_n = gates[size : 2 * size], gates[2 * size :], dgates[size : 2 * size], dgates[2 * size :]
    for k in range(size):
        da_z[k] = dh[k] * (h_prev[k] - n[k]) * z[k] * (one - z[k])  # h = n + z * (h_prev - n), z = sigmoid
    for k in range(size):
        da_n[k] = dh[k] * (one - z[k]) * (one - n[k] * n[k])  # h = n + z * (h_prev - n), n = tanh
    for k in range(size):
        dh[k] *= z[k]  # h = n + z * (h_prev - n)


@jit
def cho_gru_reset_backward(
    dh: np.ndarray, dreset: np.ndarray, gates: np.ndarray, h_prev: np.ndarray, dgates: np.ndarray
) -> None:
    """Gradient of `cho_gru_reset`: from dreset (H,) the block r of dgates is written; dh (H,), of h_prev, is added
    to."""
    size, one = h_prev.shape[0], gates.dtype.type(1)
    r, da_r = gates[:size], dgates[:size]
    for k in range(size):
        da_r[k] = dreset[k] * h_prev[k] * r[k] * (one - r[k])  # reset = r * h_prev, r = sigmoid
    for k in range(size):
        dh[k] += dreset[k] * r[k]  # reset = r * h_prev
