"""One recurrent layer that attends to a memory at every step. See `kernels.reference.attentive` for the equations.

Forward: one product for the input part of all tokens; then the steps (`kernels.cpu.attentive_steps`). Backward
likewise, then one closing product over all tokens for each matrix. The steps' matrices are prepacked once for all.
"""

from typing import NamedTuple

import numpy as np

from kernels.attentive import AttentiveState, AttentiveWeights
from kernels.cpu.attention import (
    Memory,
    MemoryGradients,
    coverage_buffer,
    make_memory,
    sorted_order,
    zero_gradients,
)
from kernels.cpu.attentive_steps import (
    CHO_GRU,
    GRU,
    LSTM,
    Cells,
    CellsBack,
    Matrices,
    Reading,
    ReadingBack,
    backward_rows,
    forward_rows,
)
from kernels.cpu.gemm import Prepacked, multiply, multiplying, prepack_all
from kernels.cpu.lstm import num_shares
from kernels.cpu.sums import column_sums, summing
from kernels.packing import Packing
from kernels.threads import run, run_all

KINDS = {"lstm": LSTM, "gru": GRU, "cho-gru": CHO_GRU}


class PrepackedAttentive(NamedTuple):
    """The weights of a layer, the matrices in panels."""

    kind: int
    input_part: Prepacked
    matrices: Matrices
    biases: tuple[np.ndarray, np.ndarray]  # (G,) each, see `_biases`
    v: np.ndarray | None  # (A,)
    coverage: np.ndarray | None  # (A,)
    bf16: bool

    @property
    def input_size(self) -> int:
        return self.input_part.depth

    @property
    def hidden_size(self) -> int:
        return self.matrices.hidden.depth

    @property
    def context_size(self) -> int:
        return self.matrices.context.depth

    @property
    def key_size(self) -> int:
        return self.matrices.query.columns or self.hidden_size

    @property
    def bias(self) -> np.ndarray:
        return self.biases[0]


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


def _matrices(weights: AttentiveWeights, kind: int, backward: bool, bf16: bool) -> Matrices:
    """Those of the forward, B = W^T, or of the backward, B = W."""
    size, hidden = weights.hidden.shape[1], weights.hidden
    gates, reset = (hidden[: 2 * size], hidden[2 * size :]) if kind == CHO_GRU else (hidden, hidden[:0])
    query = np.empty((0, size), hidden.dtype) if weights.query is None else weights.query
    sources = [(part, not backward) for part in (weights.context, gates, reset, query)]
    return Matrices(*prepack_all(*sources, bf16=bf16))


def _biases(weights: AttentiveWeights, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Both (G,); twice their sum where they act alike, of which one is read."""
    if weights.bias_ih is None or weights.bias_hh is None:
        none = np.zeros(len(weights.hidden), weights.hidden.dtype)
        return none, none
    if kind == GRU:
        return weights.bias_ih.copy(), weights.bias_hh.copy()
    both = weights.bias_ih + weights.bias_hh
    return both, both


def _shares(cells: Cells, reading: Reading, packing: Packing) -> int:
    """Shares that the batch is cut into."""
    numbers = cells.gates.shape[1] * (cells.h.shape[1] + reading.context.shape[1])
    return num_shares(packing, packing.num_tokens * numbers)


def prepack_attentive(weights: AttentiveWeights, cell: str, bf16: bool = False) -> PrepackedAttentive:
    """See `kernels.prepack_attentive`."""
    kind, (input_part,) = KINDS[cell], prepack_all((weights.input, True), bf16=bf16)
    matrices = _matrices(weights, kind, False, bf16)
    v, coverage = (None if part is None else part.copy() for part in (weights.v, weights.coverage))
    return PrepackedAttentive(kind, input_part, matrices, _biases(weights, kind), v, coverage, bf16)


class _Run(NamedTuple):
    """A layer whose steps are done."""

    cells: Cells
    reading: Reading
    memory: Memory
    last: AttentiveState


def _run_steps(
    x: np.ndarray, state: AttentiveState, weights: PrepackedAttentive, keys: np.ndarray, values: np.ndarray,
    lengths: np.ndarray, packing: Packing, scale: float,
) -> _Run:  # fmt: skip
    kind, P, N, dtype = weights.kind, len(x), packing.batch_size, x.dtype
    h, context = packing.state_buffer(state.h), packing.state_buffer(state.context)
    gates, size = np.empty((P, weights.input_part.columns), dtype), h.shape[1]
    multiply(x, False, weights.input_part, gates)
    c = np.empty((0, size), dtype) if state.c is None else packing.state_buffer(state.c)
    kept = np.empty((0 if kind == LSTM else P, size), dtype)
    cells = Cells(kind, gates, *weights.biases, h, c, kept)
    asks_itself = weights.matrices.query.columns == 0
    query = h[N:] if asks_itself else np.empty((P, keys.shape[2]), dtype)
    coverage, alignment = coverage_buffer(state.coverage, packing, dtype), np.empty((P, len(keys)), dtype)
    reading = Reading(packing.steps, sorted_order(packing), context, coverage, query, alignment)
    memory = make_memory(keys, values, lengths, weights.v, weights.coverage, scale, weights.bf16)
    shares, depth = _shares(cells, reading, packing), max(size, context.shape[1])
    run(lambda share: forward_rows(share, shares, cells, reading, memory, weights.matrices, depth), shares)
    buffers = h, context, None if state.c is None else c, None if state.coverage is None else coverage
    last = AttentiveState(*(None if buffer is None else packing.last_states(buffer) for buffer in buffers))
    return _Run(cells, reading, memory, last)


def attentive_states(
    x: np.ndarray,
    state: AttentiveState,
    weights: PrepackedAttentive,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    packing: Packing,
    scale: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, AttentiveState]:
    """See `kernels.attentive_states`."""
    (cells, reading, _, last), N = _run_steps(x, state, weights, keys, values, lengths, packing, scale), len(state.h)
    return cells.h[N:], reading.context[N:], reading.alignment, last


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
    prepacked, N = prepack_attentive(weights, cell, bf16), packing.batch_size
    cells, reading, memory, last = _run_steps(x, state, prepacked, keys, values, lengths, packing, scale)
    cache = AttentiveCache(x, keys, values, weights.hidden, weights, packing, memory, cells, reading, memory.bf16)
    return cells.h[N:], reading.context[N:], reading.alignment, last, cache


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
        lambda share: backward_rows(share, shares, undone, reading, back, cells_back, memory, grads, matrices, depth),
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
