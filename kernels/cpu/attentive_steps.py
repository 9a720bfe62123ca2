"""The steps of an attentive layer in compiled code. See `kernels.reference.attentive` for the equations.

Each thread takes its share of the batch through all steps: the products with the context and the state before, the
cell, the query, and what it reads. As every row is worked on alone, its bits depend on nothing beside it.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.attention import attend, attend_backward
from kernels.cpu.cho_gru import cho_gru_cell, cho_gru_cell_backward, cho_gru_reset, cho_gru_reset_backward
from kernels.cpu.gemm import Prepacked
from kernels.cpu.gru import gru_cell, gru_cell_backward
from kernels.cpu.jit import jit
from kernels.cpu.lstm import lstm_cell, lstm_cell_backward
from kernels.cpu.product import multiply_rows, workspace
from kernels.cpu.rows import copy_numbers
from kernels.cpu.team import Rows

LSTM, GRU, CHO_GRU = range(3)


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
def forward_rows(share: int, shares: int, cells: Any, reading: Any, memory: Any, matrices: Any, depth: int) -> None:
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
def backward_rows(
    share: int, shares: int, cells: Any, reading: Any, back: Any, cells_back: Any, memory: Any, grads: Any,
    matrices: Any, depth: int,
) -> None:  # fmt: skip
    """All steps, last first, of the rows of `forward_rows`: the states' gradients end as those of the first ones.

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
            copy_numbers(back.dcoverage[row], dscores)  # after = before + alignment
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
