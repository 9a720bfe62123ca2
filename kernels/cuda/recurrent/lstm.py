"""One LSTM layer over packed rows, and its gradient. See `kernels.reference.lstm` for the equations.

A step at a time: one product gives the input part of all P tokens; then each step is a product with the recurrent
matrix, added to its tokens' rows, and one launch for the gates of the rows that are still alive. Backward likewise,
then one closing product for each of dweight_ih, dweight_hh and dx. This way serves every size, and float32.

With bf16, or where TF32 is allowed, one launch does all steps instead (`kernels.cuda.recurrent.lstm_persistent`), if
the device has room for it.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.recurrent import lstm_persistent, places
from kernels.cuda.runtime import graphs
from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.arrays import column_sums
from kernels.cuda.runtime.cublas import by_rows, gemm
from kernels.cuda.runtime.launcher import module
from kernels.packing import Packing


class LSTMCache(NamedTuple):
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


class LSTMWeights(NamedTuple):
    """The weights of a layer in float32, and its matrices as products take them: themselves, or in bfloat16."""

    weight_ih: Any  # (4H, I)
    weight_hh: Any  # (4H, H)
    bias: Any  # (4H,), or None where `prepack_lstm` has not made it
    operands: tuple[Any, Any]

    @property
    def input_size(self) -> int:
        return self.weight_ih.shape[1]

    @property
    def bf16(self) -> bool:
        return self.operands[0].dtype == np.uint16


class States(NamedTuple):
    """State buffers of a layer."""

    h: Any  # (N + P, H)
    h_bf16: Any  # (N + P, H) uint16, what the recurrent product reads with bf16, else None
    c: Any  # (N + P, H)


class LSTMRun(NamedTuple):
    """A layer on its way through the steps: the cache that it fills, its states, and the weights."""

    cache: LSTMCache
    states: States
    weights: LSTMWeights


def prepack_lstm(weight_ih: Any, weight_hh: Any, bias: Any, bf16: bool = False) -> Any:
    """See `kernels.prepack_lstm`."""
    bias = np.zeros(len(weight_hh), np.float32, like=weight_hh) if bias is None else bias.copy()
    return _weights(weight_ih.copy(), weight_hh.copy(), bias, bf16)


def _weights(weight_ih: Any, weight_hh: Any, bias: Any, bf16: bool) -> LSTMWeights:
    """`prepack_lstm` for one call: nothing is copied that need not be, and there may be no bias."""
    operands = (to_bf16(weight_ih), to_bf16(weight_hh)) if bf16 else (weight_ih, weight_hh)
    return LSTMWeights(weight_ih, weight_hh, bias, operands)


def _initial(packing: Packing, h0: Any, c0: Any, bf16: bool) -> States:
    """Buffers that hold the initial states, their other rows unset."""
    shape = packing.batch_size + packing.num_tokens, h0.shape[1]
    h, c = (np.empty(shape, np.float32, like=h0) for _ in range(2))
    states = States(h, np.empty(shape, np.uint16, like=h0) if bf16 else None, c)
    places.start_states(packing, h0, c0, h0.shape[1], *states)
    return states


def _advance(
    tokens: Any, gates: Any, states: States, packing: Packing, weights: LSTMWeights, start: int, stop: int
) -> None:
    """Steps start .. stop - 1, whose tokens (P, I) are there; gates (P, 4H) and the states are filled."""
    first, last = packing.tokens_before(start), packing.tokens_before(stop)
    if first == last:
        return
    weight_ih, weight_hh = weights.operands
    part = tokens[first:last]
    gemm(to_bf16(part) if weights.bf16 else part, weight_ih, gates[first:last], transpose_b=True)
    (h, h_bf16, c), kernel = states, module("recurrent/lstm_cells").lstm_cells_forward
    arrays, H = (gates, weights.bias, c, h, h_bf16), h.shape[1]

    def run() -> None:
        operand = h if h_bf16 is None else h_bf16
        multiply = by_rows(operand, weight_hh, gates, transpose_b=True, accumulate=True)
        for step in places.steps_of(packing, H, start, stop):
            multiply(step.before, step.token, step.alive)
            kernel(step.launch, (*arrays, *step.numbers, np.int32(H)))

    what = packing.steps[start:stop].tobytes(), *h.shape
    graphs.run(run, stop - start, "lstm forward", *what, *map(graphs.address, (*arrays, weight_hh)))


def _start(
    tokens: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias: Any, packing: Packing, bf16: bool
) -> LSTMRun:
    """tokens (P, I), or None for a buffer to be filled step by step."""
    if tokens is None:
        tokens = np.empty((packing.num_tokens, weight_ih.shape[1]), np.float32, like=h0)
    gates = np.empty((packing.num_tokens, len(weight_hh)), np.float32, like=h0)
    states = _initial(packing, h0, c0, bf16)
    has_bias = bias is not None
    cache = LSTMCache(tokens, gates, states.h, states.c, packing, weight_ih, weight_hh, has_bias, bool(bf16))
    return LSTMRun(cache, states, _weights(weight_ih, weight_hh, bias, bf16))


def incremental_lstm_start(
    h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias: Any, packing: Packing, bf16: bool = False
) -> Any:
    """See `kernels.incremental_lstm_start`."""
    plan = lstm_persistent.plan(packing, h0.shape[1], bf16)
    if plan is not None:
        return lstm_persistent.start(None, h0, c0, weight_ih, weight_hh, bias, packing, plan)[0]
    return _start(None, h0, c0, weight_ih, weight_hh, bias, packing, bf16)


def incremental_lstm_step(x: Any, start: int, run: Any) -> Any:
    """See `kernels.incremental_lstm_step`."""
    if isinstance(run, lstm_persistent.Run):
        return lstm_persistent.extend(x, start, run)
    cache, packing, stop = run.cache, run.cache.packing, run.cache.packing.stop(start, len(x))
    first, last = packing.tokens_before(start), packing.tokens_before(stop)
    cache.x[first:last] = x
    _advance(cache.x, cache.gates, run.states, packing, run.weights, start, stop)
    return cache.h[packing.batch_size :][first:last]


def incremental_lstm_finish(run: Any) -> tuple[Any, Any, Any, Any]:
    """See `kernels.incremental_lstm_finish`."""
    if isinstance(run, lstm_persistent.Run):
        return lstm_persistent.finish(run)
    cache, packing = run.cache, run.cache.packing
    return *_results(packing, run.states), cache


def _results(packing: Packing, states: States) -> tuple[Any, Any, Any]:
    """y, h_n and c_n."""
    h_n, c_n = places.end_states(packing, states.h, states.c, states.h.shape[1])
    return states.h[packing.batch_size :], h_n, c_n


def lstm_forward(
    x: Any,
    h0: Any,
    c0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias: Any,
    packing: Packing,
    bf16: bool = False,
) -> tuple[Any, Any, Any, Any]:
    """See `kernels.lstm_forward`."""
    plan = lstm_persistent.plan(packing, h0.shape[1], bf16)
    if plan is not None:
        return lstm_persistent.forward(x, h0, c0, weight_ih, weight_hh, bias, packing, plan)
    run = _start(x, h0, c0, weight_ih, weight_hh, bias, packing, bf16)
    _advance(x, run.cache.gates, run.states, packing, run.weights, 0, packing.num_steps)
    return incremental_lstm_finish(run)


def lstm_states(x: Any, h0: Any, c0: Any, weights: Any, packing: Packing) -> tuple[Any, Any, Any]:
    """See `kernels.lstm_states`."""
    plan = lstm_persistent.plan(packing, h0.shape[1], weights.bf16)
    if plan is not None:
        weight_ih, weight_hh, bias, _ = weights
        return lstm_persistent.forward(x, h0, c0, weight_ih, weight_hh, bias, packing, plan, False)[:3]
    gates = np.empty((packing.num_tokens, len(weights.bias)), np.float32, like=x)
    states = _initial(packing, h0, c0, weights.bf16)
    _advance(x, gates, states, packing, weights, 0, packing.num_steps)
    return _results(packing, states)


def _recurrence_backward(dy: Any, dh: Any, dc: Any, dgates: Any, cache: LSTMCache) -> Any:
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

    def run() -> None:
        multiply = by_rows(operand, weight_hh, dh)
        for step in reversed(places.steps_of(packing, H)):
            kernel(step.launch, (*arrays, *step.numbers, size))
            multiply(step.token, 0, step.alive)

    if packing.num_tokens:
        what = packing.steps.tobytes(), *dh.shape
        graphs.run(run, packing.num_steps, "lstm backward", *what, *map(graphs.address, (*arrays, weight_hh)))
    return operand


def lstm_backward(
    dy: Any, dh_n: Any, dc_n: Any, cache: Any, consume: bool = False
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """See `kernels.lstm_backward`."""
    packing = cache.packing
    if isinstance(cache, lstm_persistent.Cache):
        return lstm_persistent.backward(dy, dh_n, dc_n, cache)
    shape = packing.batch_size, cache.weight_hh.shape[1]
    dh, dc = (np.empty(shape, np.float32, like=cache.c) for _ in range(2))
    places.start_states(packing, dh_n, dc_n, shape[1], h=dh, c=dc)
    dgates = cache.gates if consume else np.empty(cache.gates.shape, np.float32, like=cache.gates)
    operand = _recurrence_backward(dy, dh, dc, dgates, cache)
    x, weight_ih, h = (to_bf16(a) if cache.bf16 else a for a in (cache.x, cache.weight_ih, cache.h))
    dx, *dweights = closing_products(operand, x, places.previous_states(packing, h), weight_ih)
    dbias = column_sums(dgates) if cache.has_bias else None
    return dx, *places.unsorted(packing, dh, dc, shape[1]), *dweights, dbias


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
