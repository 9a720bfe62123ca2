"""Steps of recurrent layers in NumPy, as PyTorch lays their weights out.

H state size.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from seq2seq.conversion.layouts.contract import Array


def lstm_step(x: Array, state: tuple[Array, Array], weights: Iterable[Array]) -> tuple[Array, Array]:
    """h and c after a step; gates lie in blocks i, f, g, o."""
    w_ih, w_hh, b_ih, b_hh = weights
    i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ state[0] + b_hh, 4)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x: Array, h: Array, weights: Iterable[Array]) -> Array:
    """h after a step; gates lie in blocks r, z, n, and r lets the state's part of n through."""
    w_ih, w_hh, b_ih, b_hh = weights
    (r, z, n), (r_h, z_h, n_h) = np.split(w_ih @ x + b_ih, 3), np.split(w_hh @ h + b_hh, 3)
    r, z = sigmoid(r + r_h), sigmoid(z + z_h)
    return (1 - z) * np.tanh(n + r * n_h) + z * h


def sigmoid(x: Array) -> Array:
    return 0.5 * (np.tanh(0.5 * x) + 1)


def log_softmax(x: Array) -> Array:
    shifted = x - x.max()
    return shifted - np.log(np.exp(shifted).sum())
