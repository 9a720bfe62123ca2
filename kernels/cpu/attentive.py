"""One recurrent layer that attends to a memory at every step. See `kernels.reference.attentive` for the equations.

Forward: one product for the input part of all tokens; then each thread takes its share of the batch through all steps:
the products with the context and the state before, the cell, the query, and what it reads. Backward likewise, then one
closing product over all tokens for each matrix. As every row is worked on alone, its bits depend on nothing beside it.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.attentive import AttentiveState, AttentiveWeights
from kernels.cpu.attention import (
    Memory,
    MemoryGradients,
    attend,
    attend_backward,
    coverage_buffer,
    make_memory,
    sorted_order,
    zero_gradients,
)
from kernels.cpu.cho_gru import cho_gru_cell, cho_gru_cell_backward, cho_gru_reset, cho_gru_reset_backward
from kernels.cpu.gemm import Prepacked, multiply, multiplying, prepack_all
from kernels.cpu.gru import _cell_backward as gru_cell_backward
from kernels.cpu.gru import gru_cell
from kernels.cpu.jit import jit
from kernels.cpu.lstm import _cell_backward as lstm_cell_backward
from kernels.cpu.lstm import lstm_cell, num_shares
from kernels.cpu.product import multiply_rows, workspace
from kernels.cpu.sums import column_sums, summing
from kernels.cpu.team import Rows
from kernels.packing import Packing
from kernels.threads import run, run_all

LSTM, GRU, CHO_GRU = range(3)
KINDS = {"lstm": LSTM, "gru": GRU, "cho-gru": CHO_GRU}


class Matrices(NamedTuple):
    """The matrices of a step's products, in panels: those of the forward, or transposed for the backward."""

    context: Prepacked  # D and G
    hidden: Prepacked  # H and G, of Cho's GRU r and z alone
    reset: Prepacked  # H and H, the block n of Cho's GRU; empty otherwise
    query: Prepacked  # H and A; empty where the state itself is the query


class Cells(NamedTuple):
    """The cells of all tokens."""

    kind: int
    gates: np.ndarray  # (P, G) the input part, and then the activated gates
    bias_ih: np.ndarray  # (G,) of an LSTM and of Cho's GRU the sum of both biases
    bias_hh: np.ndarray  # (G,)
    h: np.ndarray  # (N + P, H) state buffer
    c: np.ndarray  # (N + P, H) state buffer of an LSTM; else (0, H)
    kept: np.ndarray  # (P, H) the recurrent part of n of a GRU, r h of one of Cho's; else (0, H)


class CellsBack(NamedTuple):
    """The gradients of cells."""

    dh: np.ndarray  # (N, H) in sorted order
    dc: np.ndarray  # (N, H) of an LSTM; else (0, H)
    dinput: np.ndarray  # (P, G) of the input part
    dhidden: np.ndarray  # (P, G) of the recurrent part: of an LSTM and of Cho's GRU the same array


class Reading(NamedTuple):
    """What the steps ask and read."""

    steps: np.ndarray  # (T, 3), of a `Packing`
    order: np.ndarray  # (N,) the sequence at each sorted position
    context: np.ndarray  # (N + P, D) state buffer
    coverage: np.ndarray  # (N + P, S) state buffer, or (N + P, 0)
    query: np.ndarray  # (P, A); where the state itself is the query, a view of it
    alignment: np.ndarray  # (P, S)


class ReadingBack(NamedTuple):
    """The gradients that come in, and those of the states and queries."""

    dy: np.ndarray  # (P, H), or (0, H) for zero; so are the next two
    dread: np.ndarray  # (P, D)
    dalignment: np.ndarray  # (P, S)
    dcontext: np.ndarray  # (N, D) in sorted order
    dcoverage: np.ndarray  # (N, S) likewise; also without coverage, as work space
    dquery: np.ndarray  # (P, A)


class Span(NamedTuple):
    """The rows of a share at a step, every `stride`-th one: where the first lies, and how many they are."""

    before: int  # in state buffers (N + P, .)
    after: int
    token: int  # in arrays (P, .)
    position: int  # in arrays (N, .) in sorted order
    stride: int
    size: int


class AttentiveCache(NamedTuple):
    """What the backward needs."""

    x: np.ndarray  # (P, I)
    keys: np.ndarray  # (S, N, A), as given
    values: np.ndarray  # (S, N, D), as given
    hidden: np.ndarray  # (G, H), of the weights
    weights: AttentiveWeights
    packing: Packing
    memory: Memory
    cells: Cells
    reading: Reading
    bf16: bool


@jit
def _multiply(
    source: np.ndarray, rows: Rows, matrix: Any, work: np.ndarray, out: np.ndarray, to: Rows, more: bool
) -> None:
    """to (+)= rows of the source times a prepacked matrix; source and out are flat."""
    multiply_rows(
        source, False, rows.at, rows.stride, rows.size, work, matrix.panels, matrix.depth, matrix.columns, 0,
        matrix.columns, out, to.at, to.stride, more,
    )  # fmt: skip


@jit
def _rows(first: int, span: Span, width: int) -> Rows:
    """The rows of a span in an array of this width, from row `first` on."""
    return Rows(first * width, span.stride * width, span.size)


@jit
def _span(steps: np.ndarray, t: int, share: int, shares: int, batch_size: int) -> Span:
    """The rows share, share + shares, ... of step t."""
    before, after, alive = steps[t, 0] + share, steps[t, 1] + share, steps[t, 2] - share
    return Span(before, after, after - batch_size, share, shares, (alive + shares - 1) // shares)


@jit
def _cells_forward(cells: Any, span: Span, matrices: Any, recurrent: np.ndarray, work: np.ndarray) -> None:
    """h after the step, for the rows of a span; gates holds the parts of input and context. recurrent (., 3H)."""
    gates, h, kept, columns = cells.gates, cells.h, cells.kept, cells.gates.shape[1]
    size = h.shape[1]
    states, into = _rows(span.before, span, size), _rows(span.token, span, columns)
    aside = cells.kind == GRU
    to = Rows(np.int64(0), columns, span.size) if aside else into
    out = recurrent.reshape(-1) if aside else gates.reshape(-1)
    _multiply(h.reshape(-1), states, matrices.hidden, work, out, to, not aside)
    if cells.kind == CHO_GRU:
        for k in range(span.size):
            at, before = span.token + k * span.stride, span.before + k * span.stride
            cho_gru_reset(gates[at], cells.bias_ih, h[before], kept[at])
        to = Rows(span.token * columns + 2 * size, span.stride * columns, span.size)
        _multiply(kept.reshape(-1), _rows(span.token, span, size), matrices.reset, work, gates.reshape(-1), to, True)
    for k in range(span.size):
        at, before, after = span.token + k * span.stride, span.before + k * span.stride, span.after + k * span.stride
        if cells.kind == LSTM:
            lstm_cell(gates[at], cells.bias_ih, cells.c[before], cells.c[after], h[after])
        elif cells.kind == GRU:
            gru_cell(gates[at], recurrent[k], cells.bias_ih, cells.bias_hh, kept[at], h[before], h[after])
        else:
            cho_gru_cell(gates[at], cells.bias_ih, h[before], h[after])


@jit
def _cells_backward(cells: Any, back: Any, span: Span, matrices: Any, dreset: np.ndarray, work: np.ndarray) -> None:
    """Gradient of `_cells_forward`: dinput and dhidden are written, dh and dc of h and c become those before.

    The c after the step in cells.c becomes h. dreset (., H): work space.
    """
    gates, h, kept, dh, dinput = cells.gates, cells.h, cells.kept, back.dh, back.dinput
    size, columns = h.shape[1], gates.shape[1]
    for k in range(span.size):
        at, before, row = span.token + k * span.stride, span.before + k * span.stride, span.position + k * span.stride
        if cells.kind == LSTM:
            after = span.after + k * span.stride
            lstm_cell_backward(dh[row], back.dc[row], gates[at], cells.c[before], cells.c[after], dinput[at])
        elif cells.kind == GRU:
            gru_cell_backward(dh[row], gates[at], kept[at], h[before], dinput[at], back.dhidden[at])
        else:
            cho_gru_cell_backward(dh[row], gates[at], h[before], dinput[at])
    if cells.kind == CHO_GRU:
        of_n = Rows(span.token * columns + 2 * size, span.stride * columns, span.size)
        to = Rows(np.int64(0), size, span.size)
        _multiply(dinput.reshape(-1), of_n, matrices.reset, work, dreset.reshape(-1), to, False)
        for k in range(span.size):
            at, before = span.token + k * span.stride, span.before + k * span.stride
            cho_gru_reset_backward(dh[span.position + k * span.stride], dreset[k], gates[at], h[before], dinput[at])
    rows, states = _rows(span.token, span, columns), _rows(span.position, span, size)
    _multiply(back.dhidden.reshape(-1), rows, matrices.hidden, work, dh.reshape(-1), states, cells.kind != LSTM)


@jit
def _forward_rows(share: int, shares: int, cells: Any, reading: Any, memory: Any, matrices: Any, depth: int) -> None:
    """All steps of the sorted rows share, share + shares, ...; depth: the most numbers that a product's row has."""
    steps, order, context, coverage, query, alignment = reading
    batch_size, columns = order.shape[0], cells.gates.shape[1]
    most = (batch_size + shares - 1) // shares
    work = np.empty(workspace(most, depth), matrices.hidden.panels.dtype)
    recurrent, scratch = np.empty((most, columns), query.dtype), np.empty(query.shape[1], query.dtype)
    flat_gates, flat_query = cells.gates.reshape(-1), query.reshape(-1)
    for t in range(steps.shape[0]):
        span = _span(steps, t, share, shares, batch_size)
        read, into = _rows(span.before, span, context.shape[1]), _rows(span.token, span, columns)
        _multiply(context.reshape(-1), read, matrices.context, work, flat_gates, into, True)
        _cells_forward(cells, span, matrices, recurrent, work)
        if matrices.query.panels.shape[0] > 0:
            states, asked = _rows(span.after, span, cells.h.shape[1]), _rows(span.token, span, query.shape[1])
            _multiply(cells.h.reshape(-1), states, matrices.query, work, flat_query, asked, False)
        for k in range(span.size):
            at, before, after = span.token + k * shares, span.before + k * shares, span.after + k * shares
            n = order[span.position + k * shares]
            attend(memory, n, query[at], coverage[before], scratch, alignment[at], context[after])
            for s in range(coverage.shape[1]):
                coverage[after, s] = coverage[before, s] + alignment[at, s]


@jit
def _backward_rows(
    share: int, shares: int, cells: Any, reading: Any, back: Any, cells_back: Any, memory: Any, grads: Any,
    matrices: Any, depth: int,
) -> None:  # fmt: skip
    """All steps, last first, of the rows of `_forward_rows`: the states' gradients end as those of the first ones.

    A row not yet alive keeps there what comes to its last state until the loop comes to its last token.
    """
    steps, order, context, coverage, query, alignment = reading
    batch_size, (size, columns) = order.shape[0], (cells.h.shape[1], cells.gates.shape[1])
    most, dh, dcontext = (batch_size + shares - 1) // shares, cells_back.dh, back.dcontext
    work = np.empty(workspace(most, depth), matrices.hidden.panels.dtype)
    dreset, scratch = np.empty((most, size), query.dtype), np.empty(query.shape[1], query.dtype)
    dscores, read = np.empty(alignment.shape[1], query.dtype), np.empty(context.shape[1], query.dtype)
    for t in range(steps.shape[0] - 1, -1, -1):
        span = _span(steps, t, share, shares, batch_size)
        for k in range(span.size):
            at, row = span.token + k * shares, span.position + k * shares
            _add_row(back.dy, at, dh[row])
            _add_row(back.dread, at, dcontext[row])
            dscores[:] = back.dcoverage[row]  # after = before + alignment
            _add_row(back.dalignment, at, dscores)
            attend_backward(
                memory, order[row], query[at], coverage[span.before + k * shares], alignment[at], dcontext[row],
                scratch, read, dscores, grads, back.dquery[at], back.dcoverage[row],
            )  # fmt: skip
            if matrices.query.panels.shape[0] == 0:
                _add_row(back.dquery, at, dh[row])  # query = h
        if matrices.query.panels.shape[0] > 0:
            asked, states = _rows(span.token, span, query.shape[1]), _rows(span.position, span, size)
            _multiply(back.dquery.reshape(-1), asked, matrices.query, work, dh.reshape(-1), states, True)
        _cells_backward(cells, cells_back, span, matrices, dreset, work)
        rows, before = _rows(span.token, span, columns), _rows(span.position, span, context.shape[1])
        _multiply(cells_back.dinput.reshape(-1), rows, matrices.context, work, dcontext.reshape(-1), before, False)


@jit
def _add_row(matrix: np.ndarray, row: int, total: np.ndarray) -> None:
    """total += a row of a matrix, which has none where it stands for zero."""
    if matrix.shape[0] > 0:
        values = matrix[row]
        for k in range(total.shape[0]):
            total[k] += values[k]


def _matrices(weights: AttentiveWeights, kind: int, backward: bool, bf16: bool) -> Matrices:
    """Those of the forward, B = W^T, or of the backward, B = W."""
    size, hidden = weights.hidden.shape[1], weights.hidden
    gates, reset = (hidden[: 2 * size], hidden[2 * size :]) if kind == CHO_GRU else (hidden, hidden[:0])
    query = np.empty((0, size), hidden.dtype) if weights.query is None else weights.query
    sources = [(part, not backward) for part in (weights.context, gates, reset, query)]
    return Matrices(*prepack_all(*sources, bf16=bf16))


def _biases(weights: AttentiveWeights, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Both (G,); their sum and nothing where they act alike."""
    if weights.bias_ih is None or weights.bias_hh is None:
        none = np.zeros(len(weights.hidden), weights.hidden.dtype)
        return none, none
    if kind == GRU:
        return weights.bias_ih, weights.bias_hh
    return weights.bias_ih + weights.bias_hh, weights.bias_hh


def _shares(cells: Cells, reading: Reading, packing: Packing) -> int:
    """Shares that the batch is cut into."""
    numbers = cells.gates.shape[1] * (cells.h.shape[1] + reading.context.shape[1])
    return num_shares(packing, packing.num_tokens * numbers)


def attentive_forward(
    x: np.ndarray,
    state: AttentiveState,
    weights: AttentiveWeights,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    packing: Packing,
    cell: str,
    scale: float = 1.0,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, AttentiveState, AttentiveCache]:
    """See `kernels.attentive_forward`."""
    kind, (columns, size), (P, N), dtype = KINDS[cell], weights.hidden.shape, (len(x), packing.batch_size), x.dtype
    gates, (given,) = np.empty((P, columns), dtype), prepack_all((weights.input, True), bf16=bf16)
    multiply(x, False, given, gates)
    h, context = packing.state_buffer(state.h), packing.state_buffer(state.context)
    c = np.empty((0, size), dtype) if state.c is None else packing.state_buffer(state.c)
    kept = np.empty((0 if kind == LSTM else P, size), dtype)
    cells = Cells(kind, gates, *_biases(weights, kind), h, c, kept)
    query = h[N:] if weights.query is None else np.empty((P, keys.shape[2]), dtype)
    coverage, alignment = coverage_buffer(state.coverage, packing, dtype), np.empty((P, len(keys)), dtype)
    reading = Reading(packing.steps, sorted_order(packing), context, coverage, query, alignment)
    memory = make_memory(keys, values, lengths, weights.v, weights.coverage, scale, bf16)
    matrices, depth = _matrices(weights, kind, False, bf16), max(size, context.shape[1])
    shares = _shares(cells, reading, packing)
    run(lambda share: _forward_rows(share, shares, cells, reading, memory, matrices, depth), shares)
    buffers = h, context, None if state.c is None else c, None if state.coverage is None else coverage
    last = AttentiveState(*(None if buffer is None else packing.last_states(buffer) for buffer in buffers))
    cache = AttentiveCache(x, keys, values, weights.hidden, weights, packing, memory, cells, reading, memory.bf16)
    return h[N:], context[N:], alignment, last, cache


def attentive_backward(
    dy: np.ndarray | None,
    dcontext: np.ndarray | None,
    dalignment: np.ndarray | None,
    dstate: AttentiveState,
    cache: AttentiveCache,
) -> tuple[np.ndarray, AttentiveState, AttentiveWeights, np.ndarray, np.ndarray]:
    """See `kernels.attentive_backward`."""
    _, _, _, _, weights, packing, memory, cells, reading, bf16 = cache
    (N, dtype), (columns, size) = (packing.batch_size, cells.h.dtype), weights.hidden.shape
    positions, width = len(memory.keys), reading.context.shape[1]

    def running(given: np.ndarray | None, width: int) -> np.ndarray:
        return np.zeros((N, width), dtype) if given is None else packing.sort(given)  # state = last_states(...)

    def rows(given: np.ndarray | None, width: int) -> np.ndarray:
        return np.empty((0, width), dtype) if given is None else given

    dinput = np.empty_like(cells.gates)
    dc = running(dstate.c, size) if cells.kind == LSTM else np.empty((0, size), dtype)
    cells_back = CellsBack(running(dstate.h, size), dc, dinput, np.empty_like(dinput) if cells.kind == GRU else dinput)
    back = ReadingBack(
        rows(dy, size), rows(dcontext, width), rows(dalignment, positions), running(dstate.context, width),
        running(dstate.coverage, positions), np.empty_like(reading.query, order="C"),
    )  # fmt: skip
    grads, matrices, depth = zero_gradients(memory), _matrices(weights, cells.kind, True, bf16), max(columns, size)
    depth, shares = max(depth, back.dquery.shape[1]), _shares(cells, reading, packing)
    undone = cells._replace(c=cells.c.copy())  # they become h
    run(
        lambda share: _backward_rows(share, shares, undone, reading, back, cells_back, memory, grads, matrices, depth),
        shares,
    )
    first = AttentiveState(
        packing.unsort(cells_back.dh), packing.unsort(back.dcontext),
        packing.unsort(dc) if cells.kind == LSTM else None,
        None if weights.coverage is None else packing.unsort(back.dcoverage),
    )  # fmt: skip
    dx, dweights = _closing_products(cache, cells_back, back, grads)
    return dx, first, dweights, grads.keys, grads.values


def _closing_products(
    cache: AttentiveCache, cells_back: CellsBack, back: ReadingBack, grads: MemoryGradients
) -> tuple[np.ndarray, AttentiveWeights]:
    """The gradients of x and of the weights, a product over all tokens for each matrix."""
    x, _, _, _, weights, packing, _, cells, reading, bf16 = cache
    size, dinput, dhidden = cells.h.shape[1], cells_back.dinput, cells_back.dhidden
    h_prev, read = packing.previous_states(cells.h), packing.previous_states(reading.context)
    inputs = [(weights.input, False), (x, False), (read, False), (h_prev, False), (cells.kept, False)]
    if weights.query is not None:
        inputs.append((cells.h[packing.batch_size :], False))
    of_x, inputs_of_x, inputs_of_read, states, resets, *asking = prepack_all(*inputs, bf16=bf16)
    dx, found = (
        np.empty_like(x),
        AttentiveWeights._make(None if part is None else np.empty_like(part) for part in weights),
    )
    of_gates, of_n = dhidden, dhidden[:, :0]
    if cells.kind == CHO_GRU:
        of_gates, of_n = (np.ascontiguousarray(part) for part in (dhidden[:, : 2 * size], dhidden[:, 2 * size :]))
    tasks = [
        multiplying(dinput, False, of_x, dx),  # gates = x @ input.T
        multiplying(dinput, True, inputs_of_x, found.input),  # gates = x @ input.T
        multiplying(dinput, True, inputs_of_read, found.context),  # gates += context_prev @ context.T
        multiplying(of_gates, True, states, found.hidden[: of_gates.shape[1]]),  # ... h_prev @ hidden.T
    ]
    if cells.kind == CHO_GRU:
        tasks.append(multiplying(of_n, True, resets, found.hidden[2 * size :]))  # n: gates += reset @ hidden_n.T
    if found.bias_ih is not None and found.bias_hh is not None:
        tasks += [summing(dinput, found.bias_ih), summing(dhidden, found.bias_hh)]
    if found.query is not None:
        tasks.append(multiplying(back.dquery, True, asking[0], found.query))  # query = h @ query.T
    run_all(*tasks)
    v = None if weights.v is None else column_sums(grads.v)
    return dx, found._replace(v=v, coverage=None if weights.coverage is None else column_sums(grads.coverage_weight))
