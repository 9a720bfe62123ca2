"""An LSTM layer a step at a time: every size, and float32.

One product gives the input part of all P tokens; then each step is a product with the recurrent matrix, added to its
tokens' rows, and one launch for the gates of the rows that are still alive. Backward likewise, then one closing product
for each of dweight_ih, dweight_hh and dx.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.recurrent import places
from kernels.cuda.runtime import graphs
from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.arrays import column_sums
from kernels.cuda.runtime.cublas import by_rows, gemm
from kernels.cuda.runtime.launcher import module
from kernels.packing import Packing


class LSTMWeights(NamedTuple):
    """The weights of a layer in float32, and its matrices as the products of this file take them, once they are made:
    themselves, or in bfloat16."""

    weight_ih: Any  # (4H, I)
    weight_hh: Any  # (4H, H)
    bias: Any  # (4H,), or None where `prepack_lstm` has not made it
    bf16: bool
    operands: tuple[Any, Any] | None = None

    @property
    def input_size(self) -> int:
        """I."""
        return self.weight_ih.shape[1]

    def with_operands(self) -> "LSTMWeights":
        """The same, operands made."""
        matrices = self.weight_ih, self.weight_hh
        return self._replace(operands=(to_bf16(matrices[0]), to_bf16(matrices[1])) if self.bf16 else matrices)


class States(NamedTuple):
    """State buffers of a layer."""

    h: Any  # (N + P, H)
    h_bf16: Any  # (N + P, H) uint16, what the recurrent product reads with bf16, else None
    c: Any  # (N + P, H)


class Cache(NamedTuple):
    """What the backward needs."""

    x: Any  # (P, I), the input itself
    gates: Any  # (P, 4H) packed, activated, blocks i f g o
    h: Any  # (N + P, H) state buffer; y shares it
    c: Any  # (N + P, H) state buffer
    packing: Packing
    weight_ih: Any  # (4H, I)
    weight_hh: Any  # (4H, H)
    has_bias: bool
    bf16: bool

    def backward(self, dy: Any, dh_n: Any, dc_n: Any, consume: bool) -> tuple[Any, Any, Any, Any, Any, Any]:
        """See `kernels.lstm_backward`."""
        packing, shape = self.packing, (self.packing.batch_size, self.weight_hh.shape[1])
        dh, dc = (np.empty(shape, np.float32, like=self.c) for _ in range(2))
        places.start_states(packing, dh_n, dc_n, shape[1], h=dh, c=dc)
        dgates = self.gates if consume else np.empty(self.gates.shape, np.float32, like=self.gates)
        operand = _recurrence_backward(dy, dh, dc, dgates, self)
        x, weight_ih, h = (to_bf16(a) if self.bf16 else a for a in (self.x, self.weight_ih, self.h))
        dx, *dweights = closing_products(operand, x, places.previous_states(packing, h), weight_ih)
        dbias = column_sums(dgates) if self.has_bias else None
        return dx, *places.unsorted(packing, dh, dc, shape[1]), *dweights, dbias


class Run(NamedTuple):
    """A layer on its way through the steps."""

    cache: Cache  # is filled
    states: States
    weights: LSTMWeights

    def advance(self) -> None:
        """All steps, of a run whose tokens are there."""
        self._advance(0, self.cache.packing.num_steps)

    def extend(self, x: Any, start: int) -> Any:
        """See `kernels.incremental_lstm_step`."""
        packing, stop = self.cache.packing, self.cache.packing.stop(start, len(x))
        first, last = packing.tokens_before(start), packing.tokens_before(stop)
        self.cache.x[first:last] = x
        self._advance(start, stop)
        return self.cache.h[packing.batch_size :][first:last]

    def finish(self) -> tuple[Any, Any, Any, Cache]:
        """See `kernels.incremental_lstm_finish`."""
        packing, (h, _, c) = self.cache.packing, self.states
        return h[packing.batch_size :], *places.end_states(packing, h, c, h.shape[1]), self.cache

    def _advance(self, start: int, stop: int) -> None:
        """Steps start .. stop - 1, whose tokens are there; the gates and the states are filled."""
        (tokens, gates, *_), packing = self.cache, self.cache.packing
        first, last = packing.tokens_before(start), packing.tokens_before(stop)
        if first == last:
            return
        assert self.weights.operands is not None
        (weight_ih, weight_hh), (h, h_bf16, c) = self.weights.operands, self.states
        part = to_bf16(tokens[first:last]) if self.weights.bf16 else tokens[first:last]
        gemm(part, weight_ih, gates[first:last], transpose_b=True)
        kernel = module("recurrent/lstm_cells").lstm_cells_forward
        arrays, H = (gates, self.weights.bias, c, h, h_bf16), h.shape[1]

        def work() -> None:
            operand = h if h_bf16 is None else h_bf16
            multiply = by_rows(operand, weight_hh, gates, transpose_b=True, accumulate=True)
            for step in places.steps_of(packing, H, start, stop):
                multiply(step.before, step.token, step.alive)
                kernel(step.launch, (*arrays, *step.numbers, np.int32(H)))

        what = packing.steps[start:stop].tobytes(), *h.shape
        graphs.run(work, stop - start, "lstm forward", *what, *map(graphs.address, (*arrays, weight_hh)))


def start(tokens: Any, h0: Any, c0: Any, weights: LSTMWeights, packing: Packing) -> Run:
    """A layer before its first step; tokens (P, I), or None for a buffer to be filled step by step."""
    P = packing.num_tokens
    if tokens is None:
        tokens = np.empty((P, weights.input_size), np.float32, like=h0)
    gates = np.empty((P, len(weights.weight_hh)), np.float32, like=h0)
    states = _initial(packing, h0, c0, weights.bf16)
    matrices = weights.weight_ih, weights.weight_hh
    cache = Cache(tokens, gates, states.h, states.c, packing, *matrices, weights.bias is not None, weights.bf16)
    return Run(cache, states, weights if weights.operands else weights.with_operands())


def _initial(packing: Packing, h0: Any, c0: Any, bf16: bool) -> States:
    """Buffers that hold the initial states, their other rows unset."""
    shape = packing.batch_size + packing.num_tokens, h0.shape[1]
    h, c = (np.empty(shape, np.float32, like=h0) for _ in range(2))
    states = States(h, np.empty(shape, np.uint16, like=h0) if bf16 else None, c)
    places.start_states(packing, h0, c0, h0.shape[1], *states)
    return states


def _recurrence_backward(dy: Any, dh: Any, dc: Any, dgates: Any, cache: Cache) -> Any:
    """All steps, last first: dgates (P, 4H) is written, dh and dc (N, H) end as those of the initial states.

    A row not yet alive keeps dh_n and dc_n there until the loop comes to its last token. dgates may be the cache's
    gates. Returns dgates as products take them: itself, or its copy in bfloat16.
    """
    H, packing = dh.shape[1], cache.packing
    rounded = np.empty(dgates.shape, np.uint16, like=dgates) if cache.bf16 else None
    weight_hh = to_bf16(cache.weight_hh) if cache.bf16 else cache.weight_hh
    operand = dgates if rounded is None else rounded
    kernel = module("recurrent/lstm_cells").lstm_cells_backward
    arrays, size = (cache.gates, cache.c, dy, dh, dc, dgates, rounded), np.int32(H)

    def work() -> None:
        multiply = by_rows(operand, weight_hh, dh)
        for step in reversed(places.steps_of(packing, H)):
            kernel(step.launch, (*arrays, *step.numbers, size))
            multiply(step.token, 0, step.alive)

    if packing.num_tokens:
        what = packing.steps.tobytes(), *dh.shape
        graphs.run(work, packing.num_steps, "lstm backward", *what, *map(graphs.address, (*arrays, weight_hh)))
    return operand


def closing_products(dgates: Any, x: Any, previous: Any, weight_ih: Any) -> tuple[Any, Any, Any]:
    """dx, dweight_ih and dweight_hh, all float32; operands float32 or bfloat16.

    dgates (P, G), x (P, I), previous states (P, H), weight_ih (G, I).
    """
    (P, G), (_, I), H = dgates.shape, x.shape, previous.shape[1]  # noqa: E741
    dx, dweight_ih, dweight_hh = (np.empty(shape, np.float32, like=x) for shape in ((P, I), (G, I), (G, H)))
    gemm(dgates, weight_ih, dx)
    gemm(dgates, x, dweight_ih, transpose_a=True)
    gemm(dgates, previous, dweight_hh, transpose_a=True)
    return dx, dweight_ih, dweight_hh
