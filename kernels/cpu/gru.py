"""One GRU layer over packed rows, and its gradient. See `kernels.reference.gru` for the equations.

The products, the loops and their threads are those of `lstm.py`; the reset gate acts on the recurrent product, so that
is computed aside, and the gradients of the two parts differ in the n block and each has an array of its own.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.activations import sigmoid, tanh
from kernels.cpu.gemm import Prepacked, multiply, prepack, prepack_all
from kernels.cpu.jit import jit
from kernels.cpu.lstm import make_teams, num_shares, own_bias
from kernels.cpu.once import Product, multiply_all, multiply_once
from kernels.cpu.sums import summing
from kernels.cpu.team import Matrix, Rows, run_teams
from kernels.cpu.team import multiply as multiply_together
from kernels.packing import Packing


class GRUCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (P, I), the input itself
    gates: np.ndarray  # (P, 3H) packed, activated, blocks r z n
    hidden_n: np.ndarray  # (P, H) packed, the recurrent part of n before the reset gate
    h: np.ndarray  # (N + P, H) state buffer; y shares it where steps go forwards
    packing: Packing
    weight_ih: np.ndarray  # (3H, I)
    weight_hh: np.ndarray  # (3H, H)
    has_bias: bool
    bf16: bool


class GRUWeights(NamedTuple):
    """The weights of a layer, the matrices in panels."""

    input_part: Prepacked
    recurrent: Prepacked
    bias_ih: np.ndarray  # (3H,)
    bias_hh: np.ndarray  # (3H,)

    @property
    def input_size(self) -> int:
        return self.input_part.depth


class Steps(NamedTuple):
    """What the forward of a recurrence goes through: see `_forward_rows`."""

    steps: np.ndarray  # (T, 3), as in `lstm.Steps`
    tokens: np.ndarray  # (T,)
    gates: np.ndarray  # (P, 3H) the input part, and then the activated gates
    hidden_n: np.ndarray  # (P, H)
    h: np.ndarray  # (N + P, H) state buffer
    bias_ih: np.ndarray  # (3H,)
    bias_hh: np.ndarray  # (3H,)


class StepsBack(NamedTuple):
    """What the backward of a recurrence goes through: see `_backward_rows`."""

    steps: np.ndarray  # (T, 3)
    tokens: np.ndarray  # (T,)
    dy: np.ndarray  # (P, H)
    dh: np.ndarray  # (N, H)
    gates: np.ndarray  # (P, 3H), activated
    hidden_n: np.ndarray  # (P, H)
    h: np.ndarray  # (N + P, H) state buffer
    dinput: np.ndarray  # (P, 3H) of the input part
    dhidden: np.ndarray  # (P, 3H) of the recurrent part


@jit
def gru_cell(
    gates: np.ndarray, recurrent: np.ndarray, bias_ih: np.ndarray, bias_hh: np.ndarray, hidden_n: np.ndarray,
    h_prev: np.ndarray, h: np.ndarray,
) -> None:  # fmt: skip
    """One cell of one row: gates (3H,) holds the input part, activated in place; hidden_n and h (H,) are written.

    recurrent (3H,), bias_ih and bias_hh (3H,), h_prev (H,).
    """
    size = h.shape[0]
    r_z, n = gates[: 2 * size], gates[2 * size :]
    for k in range(2 * size):
        r_z[k] = sigmoid(r_z[k] + bias_ih[k] + recurrent[k] + bias_hh[k])
    r, z = r_z[:size], r_z[size:]
    recurrent_n, bias_ih_n, bias_hh_n = recurrent[2 * size :], bias_ih[2 * size :], bias_hh[2 * size :]
    for k in range(size):
        hidden_n[k] = recurrent_n[k] + bias_hh_n[k]
    for k in range(size):
        n[k] = tanh(n[k] + bias_ih_n[k] + r[k] * hidden_n[k])
    for k in range(size):
        h[k] = n[k] + z[k] * (h_prev[k] - n[k])


@jit
def gru_cell_backward(
    dh: np.ndarray, gates: np.ndarray, hidden_n: np.ndarray, h_prev: np.ndarray, dinput: np.ndarray,
    dhidden: np.ndarray,
) -> None:  # fmt: skip
    """Gradient of `gru_cell`.

    dh (H,): gradient of h, replaced by the direct part of that of h_prev. dinput, dhidden (3H,): written, gradients of
    the input part and of the recurrent part.
    """
    size = h_prev.shape[0]
    one = gates.dtype.type(1)
    r, z, n = gates[:size], gates[size : 2 * size], gates[2 * size :]
    da_r, da_z, da_n = dinput[:size], dinput[size : 2 * size], dinput[2 * size :]
    db_n = dhidden[2 * size :]
    for k in range(size):
        da_z[k] = dh[k] * (h_prev[k] - n[k]) * z[k] * (one - z[k])  # h = n + z * (h_prev - n), z = sigmoid
    for k in range(size):
        da_n[k] = dh[k] * (one - z[k]) * (one - n[k] * n[k])  # h = n + z * (h_prev - n), n = tanh(...)
    for k in range(size):
        da_r[k] = da_n[k] * hidden_n[k] * r[k] * (one - r[k])  # n = tanh(a_n + r * b_n), r = sigmoid(...)
    for k in range(size):
        db_n[k] = da_n[k] * r[k]  # n = tanh(a_n + r * b_n)
    for k in range(size):
        dh[k] *= z[k]  # h = n + z * (h_prev - n)
    for k in range(2 * size):
        dhidden[k] = dinput[k]  # r, z = sigmoid(input part + recurrent part)


@jit
def _forward_rows(share: int, shares: int, team: Any, layer: Steps) -> None:
    """All steps of the sorted rows share, share + shares, ...; as in `lstm._forward_rows`.

    The team's products are those of h with the recurrent matrix, row after row.
    """
    steps, size = layer.steps, layer.h.shape[1]
    matrix = Matrix(np.int64(0), len(team.panels), size, 3 * size)
    for t in range(steps.shape[0]):
        before, rows = steps[t, 0] + share, (steps[t, 2] - share + shares - 1) // shares
        states, products = Rows(before * size, shares * size, rows), Rows(np.int64(0), 3 * size, rows)
        multiply_together(team, states, matrix, products, False)
        _cells(t, share, shares, team.out, layer)


@jit
def _cells(t: int, share: int, shares: int, products: Any, layer: Steps) -> None:
    """Step t of these rows, whose products of h with the recurrent matrix lie in `products`, flat."""
    steps, tokens, gates, hidden_n, h, bias_ih, bias_hh = layer
    before, after, token, size = steps[t, 0] + share, steps[t, 1] + share, tokens[t] + share, h.shape[1]
    for row in range(0, steps[t, 2] - share, shares):
        recurrent = products[row // shares * 3 * size :][: 3 * size]
        gru_cell(
            gates[token + row], recurrent, bias_ih, bias_hh, hidden_n[token + row], h[before + row], h[after + row]
        )


@jit
def _backward_rows(share: int, shares: int, team: Any, layer: StepsBack) -> None:
    """All steps, last first, of these rows; dh (N, H) ends as the gradient of h0, see `lstm._backward_rows`."""
    steps, size = layer.steps, layer.h.shape[1]
    matrix = Matrix(np.int64(0), len(team.panels), 3 * size, size)
    for t in range(steps.shape[0] - 1, -1, -1):
        _cells_backward(t, share, shares, layer)
        token, rows = layer.tokens[t] + share, (steps[t, 2] - share + shares - 1) // shares
        tokens, products = Rows(token * 3 * size, shares * 3 * size, rows), Rows(share * size, shares * size, rows)
        multiply_together(team, tokens, matrix, products, True)


@jit
def _cells_backward(t: int, share: int, shares: int, layer: StepsBack) -> None:
    """Step t of these rows but for its product: dinput, dhidden, and the direct part of dh."""
    steps, first_tokens, dy, dh, gates, hidden_n, h, dinput, dhidden = layer
    before, token = steps[t, 0] + share, first_tokens[t] + share
    for row in range(0, steps[t, 2] - share, shares):
        at, dh_row, dy_row = token + row, dh[share + row], dy[token + row]
        for k in range(h.shape[1]):
            dh_row[k] += dy_row[k]
        gru_cell_backward(dh_row, gates[at], hidden_n[at], h[before + row], dinput[at], dhidden[at])


def prepack_gru(
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None,
    bias_hh: np.ndarray | None,
    bf16: bool = False,
) -> GRUWeights:
    """See `kernels.prepack_gru`."""
    input_part, recurrent = prepack_all((weight_ih, True), (weight_hh, True), bf16=bf16)
    of_x, of_h = (own_bias(bias, weight_hh) for bias in (bias_ih, bias_hh))
    return GRUWeights(input_part, recurrent, of_x, of_h)


def _steps(gates: np.ndarray, h0: np.ndarray, biases: Sequence[np.ndarray], packing: Packing) -> Steps:
    """What the steps go through; gates (P, 3H) holds the input part."""
    h = packing.state_buffer(h0)
    return Steps(packing.steps, packing.tokens, gates, np.empty_like(h[packing.batch_size :]), h, *biases)


def _run_steps(layer: Steps, recurrent: Prepacked, packing: Packing) -> None:
    """All steps: hidden_n and h are filled, gates activated."""
    gates, work = layer.gates, layer.gates.size * layer.h.shape[1]
    shares = num_shares(packing, work)
    products = [np.empty((-(-packing.batch_size // shares), gates.shape[1]), gates.dtype) for _ in range(shares)]
    teams = make_teams(layer.h, recurrent, products, packing, work)
    run_teams(lambda share, team: _forward_rows(share, shares, team, layer), teams)


def _run_step(layer: Steps, weight_hh: np.ndarray, bf16: bool) -> None:
    """`_run_steps` of a single step, whose matrix no other one reads."""
    first, rows = layer.steps[0, 0], len(layer.gates)
    products = np.empty_like(layer.gates)
    multiply_once(layer.h[first : first + rows], False, weight_hh, True, products, bf16)
    _cells(0, 0, 1, products.reshape(-1), layer)


def gru_states(x: np.ndarray, h0: np.ndarray, weights: GRUWeights, packing: Packing) -> tuple[np.ndarray, np.ndarray]:
    """See `kernels.gru_states`."""
    gates = np.empty((packing.num_tokens, len(weights.bias_hh)), x.dtype)
    multiply(x, False, weights.input_part, gates)
    layer = _steps(gates, h0, (weights.bias_ih, weights.bias_hh), packing)
    _run_steps(layer, weights.recurrent, packing)
    return packing.next_states(layer.h), packing.last_states(layer.h)


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
    gates = np.empty((packing.num_tokens, len(weight_hh)), x.dtype)
    multiply_once(x, False, weight_ih, True, gates, bf16)
    layer = _steps(gates, h0, [own_bias(bias, weight_hh) for bias in (bias_ih, bias_hh)], packing)
    if packing.num_steps == 1:
        _run_step(layer, weight_hh, bf16)
    else:
        _run_steps(layer, prepack(weight_hh, True, bf16), packing)
    h, has_bias = layer.h, bias_ih is not None
    cache = GRUCache(x, gates, layer.hidden_n, h, packing, weight_ih, weight_hh, has_bias, bf16)
    return packing.next_states(h), packing.last_states(h), cache


def _run_steps_backward(layer: StepsBack, recurrent: Prepacked, packing: Packing) -> None:
    """All steps: dinput and dhidden are filled, dh becomes the gradient of h0."""
    work = layer.gates.size * layer.h.shape[1]
    shares = num_shares(packing, work)
    teams = make_teams(layer.dhidden, recurrent, [layer.dh] * shares, packing, work)
    run_teams(lambda share, team: _backward_rows(share, shares, team, layer), teams)


def gru_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, cache: GRUCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """See `kernels.gru_backward`."""
    x, gates, hidden_n, h, packing, weight_ih, weight_hh, has_bias, bf16 = cache
    batch_size = packing.batch_size
    dy = np.zeros_like(h[batch_size:]) if dy is None else dy  # y = next_states(h)
    dh = np.zeros_like(h[:batch_size]) if dh_n is None else packing.sort(dh_n)  # h_n = last_states(h)
    dinput, dhidden = np.empty_like(gates), np.empty_like(gates)
    layer = StepsBack(packing.steps, packing.tokens, dy, dh, gates, hidden_n, h, dinput, dhidden)
    if packing.num_steps == 1:
        _cells_backward(0, 0, 1, layer)
        multiply_once(dhidden, False, weight_hh, False, dh[: len(gates)], bf16, more=True)
    else:
        _run_steps_backward(layer, prepack(weight_hh, False, bf16), packing)
    dx, dweight_ih, dweight_hh = np.empty_like(x), np.empty_like(weight_ih), np.empty_like(weight_hh)
    dbias_ih, dbias_hh = (np.empty(len(weight_ih), x.dtype) if has_bias else None for _ in range(2))
    products = [
        Product(dhidden, True, packing.previous_states(h), False, dweight_hh),  # recurrent = h_prev @ weight_hh.T
        Product(dinput, True, x, False, dweight_ih),  # gates = x @ weight_ih.T
        Product(dinput, False, weight_ih, False, dx),  # gates = x @ weight_ih.T
    ]
    multiply_all(
        products,
        bf16,
        [] if dbias_ih is None else summing(dinput, dbias_ih),  # a = gates + bias_ih
        [] if dbias_hh is None else summing(dhidden, dbias_hh),  # b = recurrent + bias_hh
    )
    return dx, packing.unsort(dh), dweight_ih, dweight_hh, dbias_ih, dbias_hh
