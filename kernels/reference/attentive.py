"""One recurrent layer that attends to a memory at every step, and its gradient.

    h_t = cell(W x_t + V C_{t-1}, h_{t-1}),  an LSTM, a GRU or a GRU of Cho's
    C_t, alignment_t = attend(Q h_t),  see `kernels.reference.attention`

A row past its length keeps its state.

Sources: the attention is that of Bahdanau et al. (2015) and Luong et al. (2015), the context as an input of the next
step that of Luong et al. (2015, section 3.3) and Wu et al., "Google's neural machine translation system" (2016).
"""

from typing import NamedTuple

import numpy as np

from kernels.attentive import AttentiveState, AttentiveWeights
from kernels.packing import Packing
from kernels.reference.attention import Score, attend, attend_backward, memory_of
from kernels.reference.cho_gru import cho_gru_step, cho_gru_step_backward
from kernels.reference.gru import gru_step, gru_step_backward
from kernels.reference.lstm import lstm_step, lstm_step_backward, steps_of
from kernels.reference.precision import product

Array = np.ndarray


class Step(NamedTuple):
    """What the backward needs of one step of R rows."""

    before: AttentiveState
    gates: Array  # (R, G), activated
    kept: Array  # (R, H): the cell state c of an LSTM, the recurrent part of n of a GRU, r h of one of Cho's
    query: Array  # (R, A)
    y: Array  # (R, H)
    alignment: Array  # (R, S)


class AttentiveCache(NamedTuple):
    """What the backward needs."""

    x: Array  # (P, I)
    keys: Array  # (S, N, A)
    values: Array  # (S, N, D)
    hidden: Array  # (G, H), of the weights
    lengths: Array  # (N,)
    weights: AttentiveWeights
    packing: Packing
    cell: str
    score: Score
    steps: list[Step]


def _some(state: AttentiveState, rows: Array) -> AttentiveState:
    """The state of some rows, a copy."""
    return AttentiveState(*(None if part is None else part[rows] for part in state))


def _cell_forward(
    cell: str, input_part: Array, state: AttentiveState, weights: AttentiveWeights, bf16: bool
) -> tuple[Array, Array, Array]:
    """(R, G) with its bias -> activated gates (R, G), what is kept (R, H), h (R, H)."""
    h, bias = state.h, 0 if weights.bias_hh is None else weights.bias_hh
    if cell == "cho-gru":
        return cho_gru_step(input_part + bias, h, weights.hidden, bf16)
    hidden_part = product(h, weights.hidden.T, bf16) + bias
    if cell == "gru":
        return gru_step(input_part, hidden_part, h)
    gates, h, c = lstm_step(input_part + hidden_part, state.c)
    return gates, c, h


def _cell_backward(
    cell: str, dh: Array, dc: Array, step: Step, weights: AttentiveWeights, bf16: bool
) -> tuple[Array, Array, Array, Array | None]:
    """Gradient of `_cell_forward`: (R, G) of the input part and of the hidden part, (R, H) of h, and of c."""
    if cell == "cho-gru":
        dgates, dh = cho_gru_step_backward(dh, step.gates, step.before.h, weights.hidden, bf16)
        return dgates, dgates, dh, None
    if cell == "gru":
        dgates, dhidden, direct = gru_step_backward(dh, step.gates, step.kept, step.before.h)
        return dgates, dhidden, direct + product(dhidden, weights.hidden, bf16), None  # hidden_part = h @ hidden.T
    dgates, dc = lstm_step_backward(dh, dc, step.gates, step.before.c, step.kept)
    return dgates, dgates, product(dgates, weights.hidden, bf16), dc  # hidden_part = h @ hidden.T


def attentive_forward(
    x: Array,
    state: AttentiveState,
    weights: AttentiveWeights,
    keys: Array,
    values: Array,
    lengths: Array,
    packing: Packing,
    cell: str,
    scale: float = 1.0,
    bf16: bool = False,
) -> tuple[Array, Array, Array, AttentiveState, AttentiveCache]:
    """See `kernels.attentive_forward`."""
    score, memory = Score(weights.v, weights.coverage, scale, bf16), memory_of(keys, values, lengths)
    widths = weights.hidden.shape[1], values.shape[2], len(keys)
    y, context, alignment = (np.empty((len(x), width), x.dtype, like=x) for width in widths)
    state, steps = AttentiveState(*(None if part is None else part.copy() for part in state)), []
    bias = 0 if weights.bias_ih is None else weights.bias_ih
    for t, rows in steps_of(packing, x):
        before = _some(state, rows)
        input_part = product(x[t], weights.input.T, bf16) + product(before.context, weights.context.T, bf16) + bias
        gates, kept, y[t] = _cell_forward(cell, input_part, before, weights, bf16)
        query = y[t] if weights.query is None else product(y[t], weights.query.T, bf16)
        context[t], alignment[t] = attend(query, memory.of(rows), score, before.coverage)
        state.h[rows], state.context[rows] = y[t], context[t]
        if state.c is not None:
            state.c[rows] = kept
        if state.coverage is not None:
            state.coverage[rows] = before.coverage + alignment[t]
        steps.append(Step(before, gates, kept, query, y[t], alignment[t]))
    cache = AttentiveCache(x, keys, values, weights.hidden, lengths.copy(), weights, packing, cell, score, steps)
    return y, context, alignment, state, cache


class PrepackedAttentive(NamedTuple):
    """The arguments of `prepack_attentive`."""

    weights: AttentiveWeights
    cell: str
    bf16: bool

    @property
    def input_size(self) -> int:
        return self.weights.input.shape[1]

    @property
    def hidden_size(self) -> int:
        return self.weights.hidden.shape[1]

    @property
    def context_size(self) -> int:
        return self.weights.context.shape[1]

    @property
    def key_size(self) -> int:
        return self.hidden_size if self.weights.query is None else len(self.weights.query)

    @property
    def bias(self) -> Array:
        return self.weights.hidden[:, 0].copy()  # of the size of a bias, which there need not be


def prepack_attentive(weights: AttentiveWeights, cell: str, bf16: bool = False) -> PrepackedAttentive:
    """See `kernels.prepack_attentive`."""
    copies = (None if part is None else part.copy() for part in weights)
    return PrepackedAttentive(AttentiveWeights._make(copies), cell, bf16)


def attentive_states(
    x: Array,
    state: AttentiveState,
    weights: PrepackedAttentive,
    keys: Array,
    values: Array,
    lengths: Array,
    packing: Packing,
    scale: float = 1.0,
) -> tuple[Array, Array, Array, AttentiveState]:
    """See `kernels.attentive_states`."""
    given, cell, bf16 = weights
    return attentive_forward(x, state, given, keys, values, lengths, packing, cell, scale, bf16)[:4]


def attentive_backward(
    dy: Array | None, dcontext: Array | None, dalignment: Array | None, dstate: AttentiveState, cache: AttentiveCache
) -> tuple[Array, AttentiveState, AttentiveWeights, Array, Array]:
    """See `kernels.attentive_backward`."""
    x, keys, values, _, lengths, weights, packing, cell, score, steps = cache
    memory, bf16, N, H = memory_of(keys, values, lengths), score.bf16, packing.batch_size, weights.hidden.shape[1]
    widths = {"h": H, "context": values.shape[2], "c": H, "coverage": len(keys)}
    running = {
        name: np.zeros((N, width), x.dtype, like=x) if part is None else part.copy()
        for (name, width), part in zip(widths.items(), dstate, strict=True)
    }  # state = that after the last step
    dinput, dhidden = (np.empty((len(x), len(weights.hidden)), x.dtype, like=x) for _ in range(2))
    dquery = np.empty((len(x), keys.shape[2]), x.dtype, like=x)
    dkeys, dvalues, dscore = np.zeros_like(keys), np.zeros_like(values), []
    for (t, rows), step in zip(reversed(list(steps_of(packing, x))), reversed(steps), strict=True):
        dh, dc, dread = running["h"][rows], running["c"][rows], running["context"][rows]  # state.h[rows] = y[t], ...
        dh = dh if dy is None else dh + dy[t]
        dread = dread if dcontext is None else dread + dcontext[t]
        dweighed = running["coverage"][rows]  # state.coverage[rows] = before.coverage + alignment[t]
        dweighed = dweighed if dalignment is None else dweighed + dalignment[t]
        dquery[t], dkeys_t, dvalues_t, dv, dcoverage, dcoverage_weight = attend_backward(
            dread, dweighed, step.query, memory.of(rows), score, step.before.coverage, step.alignment
        )  # context[t], alignment[t] = attend(query, ...)
        dkeys[:, rows] += dkeys_t
        dvalues[:, rows] += dvalues_t
        dscore.append((dv, dcoverage_weight))
        if dcoverage is not None:
            running["coverage"][rows] += dcoverage  # attend(..., before.coverage)
        dh = dh + (dquery[t] if weights.query is None else product(dquery[t], weights.query, bf16))  # query = y @ Q.T
        dinput[t], dhidden[t], running["h"][rows], dc = _cell_backward(cell, dh, dc, step, weights, bf16)
        running["context"][rows] = product(dinput[t], weights.context, bf16)  # input_part = ... + context @ context.T
        if dc is not None:
            running["c"][rows] = dc
    dstate = AttentiveState(
        running["h"], running["context"], running["c"] if cell == "lstm" else None,
        None if score.coverage_weight is None else running["coverage"],
    )  # fmt: skip
    dx = product(dinput, weights.input, bf16)  # input_part = x[t] @ input.T + ...
    return dx, dstate, _weight_gradients(x, dinput, dhidden, dquery, dscore, cache), dkeys, dvalues


def _weight_gradients(
    x: Array, dinput: Array, dhidden: Array, dquery: Array, dscore: list, cache: AttentiveCache
) -> AttentiveWeights:
    """A product over all tokens for each matrix."""
    weights, bf16, H = cache.weights, cache.score.bf16, cache.hidden.shape[1]

    def stacked(parts: list[Array], width: int) -> Array:
        return np.concatenate([np.empty((0, width), x.dtype, like=x), *parts])

    h_prev = stacked([step.before.h for step in cache.steps], H)
    context_prev = stacked([step.before.context for step in cache.steps], cache.values.shape[2])
    y, kept = stacked([step.y for step in cache.steps], H), stacked([step.kept for step in cache.steps], H)
    hidden = product(dhidden.T, h_prev, bf16)  # hidden_part = h_prev @ hidden.T
    if cache.cell == "cho-gru":
        hidden[2 * H :] = product(dhidden[:, 2 * H :].T, kept, bf16)  # n = tanh(a_n + reset @ u_n.T)
    bias_ih, bias_hh = (None if weights.bias_ih is None else part.sum(axis=0) for part in (dinput, dhidden))
    query = None if weights.query is None else product(dquery.T, y, bf16)  # query = y @ query.T
    v, coverage = (
        None if weight is None else sum((found[position] for found in dscore), np.zeros_like(weight))
        for position, weight in enumerate((weights.v, weights.coverage))
    )
    return AttentiveWeights(
        product(dinput.T, x, bf16),  # input_part = x[t] @ input.T + ...
        product(dinput.T, context_prev, bf16),  # input_part = ... + context @ context.T
        hidden, bias_ih, bias_hh, query, v, coverage,
    )  # fmt: skip
