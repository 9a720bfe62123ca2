"""One LSTM layer over packed rows, and its gradient. See `kernels.reference.lstm` for the equations.

Forward: one product for the input part of all P real tokens; then each thread takes its share of the batch through all
time steps, a recurrent product and the gates behind it, without waiting for the others. Backward likewise, then one
closing product for each of dweight_ih, dweight_hh and dx. The recurrent matrix is prepacked once for all steps
(`kernels.cpu.gemm`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.activations import sigmoid, tanh
from kernels.cpu.gemm import SERIAL_WORK, Prepacked, multiply, prepack, prepack_all
from kernels.cpu.jit import jit
from kernels.cpu.once import Product, multiply_all, multiply_once
from kernels.cpu.sums import summing
from kernels.cpu.team import Matrix, Rows, Team, make_team, run_teams, team_size
from kernels.cpu.team import multiply as multiply_together
from kernels.packing import Packing
from kernels.threads import get_num_threads

LEAST_ROWS = 4  # rows of a step that one thread should have; with fewer, reading the weights twice costs too much


class LSTMCache(NamedTuple):
    """What the backward needs; tanh(c) and h = o * tanh(c) are computed again rather than kept."""

    x: np.ndarray  # (P, I), the input itself, or what came some steps at a time
    gates: np.ndarray  # (P, 4H), activated, blocks i f g o
    h0: np.ndarray  # (N, H) in sorted order
    c: np.ndarray  # (N + P, H) state buffer
    packing: Packing
    weight_ih: np.ndarray  # (4H, I)
    weight_hh: np.ndarray  # (4H, H)
    has_bias: bool
    bf16: bool
    owns_x: bool  # whether x is nobody else's


class LSTMWeights(NamedTuple):
    """The weights of a layer, the matrices in panels."""

    input_part: Prepacked
    recurrent: Prepacked
    bias: np.ndarray  # (4H,)

    @property
    def input_size(self) -> int:
        return self.input_part.depth


class Steps(NamedTuple):
    """What the forward of a recurrence goes through: see `_forward_rows`."""

    steps: np.ndarray  # (T, 3) first row of the states before and after the step in h and c, and rows alive
    tokens: np.ndarray  # (T,) the first token of each step
    gates: np.ndarray  # (P, 4H) the input part, and then the activated gates
    h: np.ndarray  # (N + P, H) state buffer
    c: np.ndarray  # (N + P, H) state buffer
    bias: np.ndarray  # (4H,)


class StepsBack(NamedTuple):
    """What the backward of a recurrence goes through: see `_backward_rows`."""

    steps: np.ndarray  # (T, 3)
    tokens: np.ndarray  # (T,)
    dy: np.ndarray  # (P, H)
    dh: np.ndarray  # (N, H)
    dc: np.ndarray  # (N, H)
    gates: np.ndarray  # (P, 4H), activated
    c: np.ndarray  # (N + P, H) state buffer
    dgates: np.ndarray  # (P, 4H); may be the gates


@jit
def lstm_cell(gates: np.ndarray, bias: np.ndarray, c_prev: np.ndarray, c: np.ndarray, h: np.ndarray) -> None:
    """One cell of one row: gates (4H,) holds the products and is activated in place; c and h (H,) are written.

    bias (4H,), c_prev (H,); c may be c_prev. Every loop writes one array, which keeps the aliasing checks few enough
    for it to vectorise.
    """
    size = c.shape[0]
    i_f, g, o = gates[: 2 * size], gates[2 * size : 3 * size], gates[3 * size :]
    _add_sigmoid(i_f, bias[: 2 * size])
    _add_tanh(g, bias[2 * size : 3 * size])
    _add_sigmoid(o, bias[3 * size :])
    i, f = i_f[:size], i_f[size:]
    for k in range(size):
        c[k] = f[k] * c_prev[k] + i[k] * g[k]
    for k in range(size):
        h[k] = o[k] * tanh(c[k])


@jit
def _add_sigmoid(a: np.ndarray, bias: np.ndarray) -> None:
    """a <- sigmoid(a + bias), both (S,)."""
    for k in range(a.shape[0]):
        a[k] = sigmoid(a[k] + bias[k])


@jit
def _add_tanh(a: np.ndarray, bias: np.ndarray) -> None:
    """a <- tanh(a + bias), both (S,)."""
    for k in range(a.shape[0]):
        a[k] = tanh(a[k] + bias[k])


@jit
def lstm_cell_backward(
    dh: np.ndarray, dc: np.ndarray, gates: np.ndarray, c_prev: np.ndarray, c: np.ndarray, dgates: np.ndarray
) -> None:
    """Gradient of `lstm_cell`: from dh and dc (H,) of its results, dgates (4H,) is written, dc becomes that of c_prev,
    and c, which no earlier step needs, becomes h."""
    size = c.shape[0]
    i, f, g, o = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size :]
    di, df, dg, do = dgates[:size], dgates[size : 2 * size], dgates[2 * size : 3 * size], dgates[3 * size :]
    one = c.dtype.type(1)
    tanh_c = c
    for k in range(size):
        tanh_c[k] = tanh(c[k])
    for k in range(size):
        do[k] = dh[k] * tanh_c[k] * o[k] * (one - o[k])  # h = o * tanh(c), o = sigmoid(a_o)
        dc[k] += dh[k] * o[k] * (one - tanh_c[k] * tanh_c[k])  # h = o * tanh(c)
    for k in range(size):
        di[k] = dc[k] * g[k] * i[k] * (one - i[k])  # c = f * c_prev + i * g, i = sigmoid(a_i)
    for k in range(size):
        df[k] = dc[k] * c_prev[k] * f[k] * (one - f[k])  # c = f * c_prev + i * g, f = sigmoid(a_f)
    for k in range(size):
        dg[k] = dc[k] * i[k] * (one - g[k] * g[k])  # c = f * c_prev + i * g, g = tanh(a_g)
        dc[k] *= f[k]  # c = f * c_prev + i * g
    h = tanh_c
    for k in range(size):
        h[k] = o[k] * tanh_c[k]


@jit
def _forward_rows(share: int, shares: int, team: Any, layer: Steps) -> None:
    """All steps of the sorted rows share, share + shares, ...

    The team's products are those of h with the recurrent matrix, added to gates.
    """
    steps, size = layer.steps, layer.h.shape[1]
    recurrent = Matrix(np.int64(0), len(team.panels), size, 4 * size)
    for t in range(steps.shape[0]):
        before, token = steps[t, 0] + share, layer.tokens[t] + share
        rows = (steps[t, 2] - share + shares - 1) // shares
        states, products = Rows(before * size, shares * size, rows), Rows(token * 4 * size, shares * 4 * size, rows)
        multiply_together(team, states, recurrent, products, True)
        _cells(t, share, shares, layer)


@jit
def _cells(t: int, share: int, shares: int, layer: Steps) -> None:
    """Step t of these rows, whose products lie in gates."""
    steps, tokens, gates, h, c, bias = layer
    before, after, alive = steps[t, 0] + share, steps[t, 1] + share, steps[t, 2] - share
    token = tokens[t] + share
    for row in range(0, alive, shares):
        lstm_cell(gates[token + row], bias, c[before + row], c[after + row], h[after + row])


@jit
def _backward_rows(share: int, shares: int, team: Any, layer: StepsBack) -> None:
    """All steps, last first, of the rows of `_forward_rows`; dh and dc (N, H) end as those of the initial states.

    A row not yet alive keeps dh_n and dc_n there until the loop comes to its last token. dy, dgates (P, .) by tokens;
    dgates may be gates. The states after each token in c (N + P, H) become those of h.
    """
    steps, size = layer.steps, layer.c.shape[1]
    recurrent = Matrix(np.int64(0), len(team.panels), 4 * size, size)
    activated = np.empty(4 * size, layer.gates.dtype)
    for t in range(steps.shape[0] - 1, -1, -1):
        _cells_backward(t, share, shares, layer, activated)
        token, rows = layer.tokens[t] + share, (steps[t, 2] - share + shares - 1) // shares
        tokens, products = Rows(token * 4 * size, shares * 4 * size, rows), Rows(share * size, shares * size, rows)
        multiply_together(team, tokens, recurrent, products, False)


@jit
def _cells_backward(t: int, share: int, shares: int, layer: StepsBack, activated: Any) -> None:
    """Step t of these rows but for its product: dgates, dc, and h in place of c; activated (4H,) is work space."""
    steps, first_tokens, dy, dh, dc, gates, c, dgates = layer
    before, after, alive = steps[t, 0] + share, steps[t, 1] + share, steps[t, 2] - share
    token = first_tokens[t] + share
    for row in range(0, alive, shares):
        dh_row, dy_row = dh[share + row], dy[token + row]
        for k in range(c.shape[1]):
            dh_row[k] += dy_row[k]
        gates_row = gates[token + row]
        for k in range(len(activated)):  # a slice assignment would take a second to compile
            activated[k] = gates_row[k]
        lstm_cell_backward(dh_row, dc[share + row], activated, c[before + row], c[after + row], dgates[token + row])


def num_shares(packing: Packing, work: int) -> int:
    """Shares that the rows of a recurrence are cut into: `work` multiply-adds over all its tokens."""
    return max(1, min(get_num_threads(), packing.batch_size // LEAST_ROWS)) if work > SERIAL_WORK else 1


def make_teams(
    source: np.ndarray, recurrent: Prepacked, outs: Sequence[np.ndarray], packing: Packing, work: int
) -> list[Team]:
    """A team for each share of the rows, by its `out`. A single share has few rows: its matrix is shared out."""
    members = team_size(recurrent.depth * recurrent.columns) if len(outs) == 1 and work > SERIAL_WORK else 1
    rows = -(-packing.batch_size // len(outs))
    return [make_team(source, recurrent.panels, out, rows, recurrent.depth, members) for out in outs]


def prepack_lstm(
    weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray | None, bf16: bool = False
) -> LSTMWeights:
    """See `kernels.prepack_lstm`."""
    input_part, recurrent = prepack_all((weight_ih, True), (weight_hh, True), bf16=bf16)
    return LSTMWeights(input_part, recurrent, own_bias(bias, weight_hh))


def own_bias(bias: np.ndarray | None, weight: np.ndarray) -> np.ndarray:
    """A copy of the bias, zeros in place of None; for a kernel it may be written, whatever the bias may."""
    return np.zeros(len(weight), weight.dtype) if bias is None else bias.copy()


def advance(
    tokens: np.ndarray, gates: np.ndarray, h: np.ndarray, c: np.ndarray, packing: Packing, weights: LSTMWeights,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Steps start .. stop - 1, whose tokens (P, I) are there; gates (P, 4H), h and c (N + P, H) are filled."""
    first, last = packing.tokens_before(start), packing.tokens_before(stop)
    multiply(tokens[first:last], False, weights.input_part, gates[first:last])
    layer = Steps(packing.steps[start:stop], packing.tokens[start:stop], gates, h, c, weights.bias)
    work = (last - first) * gates.shape[1] * h.shape[1]
    shares = num_shares(packing, work)
    teams = make_teams(h, weights.recurrent, [gates] * shares, packing, work)
    run_teams(lambda share, team: _forward_rows(share, shares, team, layer), teams)


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
    gates = np.empty((packing.num_tokens, len(weight_hh)), x.dtype)
    h, c, initial = packing.state_buffer(h0), packing.state_buffer(c0), packing.sort(h0)  # h need not outlive this
    if packing.num_steps == 1:
        layer = Steps(packing.steps, packing.tokens, gates, h, c, own_bias(bias, weight_hh))
        _run_step(x, layer, weight_ih, weight_hh, bf16)
    else:
        advance(x, gates, h, c, packing, prepack_lstm(weight_ih, weight_hh, bias, bf16), 0, packing.num_steps)
    cache = LSTMCache(x, gates, initial, c, packing, weight_ih, weight_hh, bias is not None, bf16, owns_x=False)
    return packing.next_states(h), packing.last_states(h), packing.last_states(c), cache


def _run_step(x: np.ndarray, layer: Steps, weight_ih: np.ndarray, weight_hh: np.ndarray, bf16: bool) -> None:
    """A layer of a single step, whose matrices are read once."""
    first, rows = layer.steps[0, 0], len(layer.gates)
    multiply_once(x, False, weight_ih, True, layer.gates, bf16)
    multiply_once(layer.h[first : first + rows], False, weight_hh, True, layer.gates, bf16, more=True)
    _cells(0, 0, 1, layer)


def lstm_states(
    x: np.ndarray, h0: np.ndarray, c0: np.ndarray, weights: LSTMWeights, packing: Packing
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.lstm_states`."""
    gates = np.empty((packing.num_tokens, len(weights.bias)), x.dtype)
    h, c = packing.state_buffer(h0), packing.state_buffer(c0)
    advance(x, gates, h, c, packing, weights, 0, packing.num_steps)
    return packing.next_states(h), packing.last_states(h), packing.last_states(c)


def _recurrence_backward(
    dy: np.ndarray | None, dh: np.ndarray, dc: np.ndarray, dgates: np.ndarray, c: np.ndarray, cache: LSTMCache
) -> None:
    """dgates (P, 4H), perhaps the cache's gates, from dy (P, H); dh, dc (N, H) are updated, c (N + P, H) becomes h."""
    packing, work = cache.packing, dgates.size * dh.shape[1]
    dy = np.zeros_like(c[packing.batch_size :]) if dy is None else dy  # y = next_states(h)
    layer = StepsBack(packing.steps, packing.tokens, dy, dh, dc, cache.gates, c, dgates)
    if packing.num_steps == 1:
        _cells_backward(0, 0, 1, layer, np.empty(dgates.shape[1], dgates.dtype))
        multiply_once(dgates, False, cache.weight_hh, False, dh[: len(dgates)], cache.bf16)
    else:
        recurrent, shares = prepack(cache.weight_hh, False, cache.bf16), num_shares(packing, work)
        teams = make_teams(dgates, recurrent, [dh] * shares, packing, work)
        run_teams(lambda share, team: _backward_rows(share, shares, team, layer), teams)
    packing.put_initial(c, cache.h0)


def lstm_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, dc_n: np.ndarray | None, cache: LSTMCache, consume: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """See `kernels.lstm_backward`."""
    x, gates, h0, c, packing, weight_ih, weight_hh, has_bias, bf16, owns_x = cache
    dh = np.zeros_like(h0) if dh_n is None else packing.sort(dh_n)  # h_n = last_states(h)
    dc = np.zeros_like(h0) if dc_n is None else packing.sort(dc_n)  # c_n = last_states(c)
    dgates, h = (gates, c) if consume else (np.empty_like(gates), c.copy())
    _recurrence_backward(dy, dh, dc, dgates, h, cache)
    dx = x if consume and owns_x else np.empty_like(x)  # which is the last product, when x has been read
    dweight_ih, dweight_hh = np.empty_like(weight_ih), np.empty_like(weight_hh)
    dbias = np.empty(len(weight_ih), x.dtype) if has_bias else None
    products = [  # gates = x @ weight_ih.T + h_prev @ weight_hh.T + bias
        Product(dgates, True, packing.previous_states(h), False, dweight_hh),
        Product(dgates, True, x, False, dweight_ih),
        Product(dgates, False, weight_ih, False, dx),
    ]
    multiply_all(products, bf16, [] if dbias is None else summing(dgates, dbias))
    return dx, packing.unsort(dh), packing.unsort(dc), dweight_ih, dweight_hh, dbias
