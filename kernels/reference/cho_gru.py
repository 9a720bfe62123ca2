"""The cell of a GRU as it was first described, and its gradient.

    r, z = sigmoid(a_r + U_r h_{t-1}), sigmoid(a_z + U_z h_{t-1}),  n = tanh(a_n + U_n (r h_{t-1}))
    h_t = (1 - z) n + z h_{t-1}

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
(2014), section 2.3: the reset gate acts on the state before the product. In `kernels.reference.gru` it acts behind it.
"""

import numpy as np

from kernels.reference.lstm import sigmoid
from kernels.reference.precision import product


def cho_gru_step(
    input_part: np.ndarray, h_prev: np.ndarray, weight_hh: np.ndarray, bf16: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of N cells: (N, 3H), h_prev (N, H), (3H, H) -> activated gates (N, 3H), r h_prev (N, H), h (N, H)."""
    (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(input_part, 3, axis=1), np.split(weight_hh, 3)
    r, z = sigmoid(a_r + product(h_prev, u_r.T, bf16)), sigmoid(a_z + product(h_prev, u_z.T, bf16))
    reset = r * h_prev
    n = np.tanh(a_n + product(reset, u_n.T, bf16))
    h = (1 - z) * n + z * h_prev
    return np.concatenate([r, z, n], axis=1), reset, h


def cho_gru_step_backward(
    dh: np.ndarray, gates: np.ndarray, h_prev: np.ndarray, weight_hh: np.ndarray, bf16: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of `cho_gru_step`: dh (N, H) -> (N, 3H) of input_part, (N, H) of h_prev."""
    (r, z, n), (u_r, u_z, u_n) = np.split(gates, 3, axis=1), np.split(weight_hh, 3)
    dz, dn = dh * (h_prev - n), dh * (1 - z)  # h = (1 - z) * n + z * h_prev
    da_n = dn * (1 - n * n)  # n = tanh(a_n + reset @ u_n.T)
    dreset = product(da_n, u_n, bf16)  # n = tanh(a_n + reset @ u_n.T)
    dr = dreset * h_prev  # reset = r * h_prev
    da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)  # r, z = sigmoid(...)
    through_gates = product(da_r, u_r, bf16) + product(da_z, u_z, bf16)  # r, z = sigmoid(a + h_prev @ u.T)
    return np.concatenate([da_r, da_z, da_n], axis=1), dh * z + dreset * r + through_gates
