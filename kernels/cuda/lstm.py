"""One LSTM layer over packed rows, and its gradient. See `kernels.reference.lstm` for the equations.

A step at a time: one product gives the input part of all P tokens; then each step is a product with the recurrent
matrix, added to its tokens' rows, and one launch for the gates of the rows that are still alive. Backward likewise,
then one closing product for each of dweight_ih, dweight_hh and dx. This way serves every size, and float32.

With bf16, and H that a kernel exists for, one launch does all steps instead (`kernels.cuda.lstm_persistent`), if the
device has room for it.

float64 is computed by the oracle on the device's arrays.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cuda import graphs, lstm_persistent, places
from kernels.cuda.arrays import bf16 as to_bf16
from kernels.cuda.arrays import column_sums
from kernels.cuda.cublas import by_rows, gemm
from kernels.cuda.launcher import module
from kernels.packing import Packing, pack_lengths, packing_of
from kernels.reference import lstm as reference


class LSTMCache(NamedTuple):
    """What the backward needs."""

    x: Any  # (P, I) packed; the input itself where it is so given or no row has padding
    gates: Any  # (P, 4H) packed, activated, blocks i f g o
    h: Any  # (N + P, H) state buffer; y shares it where x is packed or no row has padding
    c: Any  # (N + P, H) state buffer
    packing: Packing
    weight_ih: Any  # (4H, I)
    weight_hh: Any  # (4H, H)
    has_bias: bool
    bf16: bool

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of y: (T, N, H), or (P, H) for a packed x."""
        return self.packing.shape(self.weight_hh.shape[1])

    @property
    def batch_size(self) -> int:
        """N."""
        return self.packing.batch_size


class LSTMWeights(NamedTuple):
    """The weights of a layer in float32, and its matrices as products take them: themselves, or in bfloat16."""

    weight_ih: Any  # (4H, I)
    weight_hh: Any  # (4H, H)
    bias: Any  # (4H,), or None where `pack_lstm` has not made it
    operands: tuple[Any, Any]

    @property
    def input_size(self) -> int:
        return self.weight_ih.shape[1]

    @property
    def bf16(self) -> bool:
        return self.operands[0].dtype == np.uint16


class LSTMRun(NamedTuple):
    """A layer on its way through the steps: the cache that it fills, and the weights."""

    cache: LSTMCache
    h_bf16: Any  # (N + P, H) uint16 state buffer, what the recurrent product reads with bf16, else None
    weights: LSTMWeights


def pack_lstm(weight_ih: Any, weight_hh: Any, bias: Any, bf16: bool = False) -> Any:
    """See `kernels.pack_lstm`."""
    if weight_ih.dtype != np.float32:
        return reference.pack_lstm(weight_ih, weight_hh, bias, bf16)
    bias = np.zeros(len(weight_hh), np.float32, like=weight_hh) if bias is None else bias.copy()
    return _weights(weight_ih.copy(), weight_hh.copy(), bias, bf16)


def _weights(weight_ih: Any, weight_hh: Any, bias: Any, bf16: bool) -> LSTMWeights:
    """`pack_lstm` for one call: nothing is copied that need not be, and there may be no bias."""
    operands = (to_bf16(weight_ih), to_bf16(weight_hh)) if bf16 else (weight_ih, weight_hh)
    return LSTMWeights(weight_ih, weight_hh, bias, operands)


def _advance(
    tokens: Any, gates: Any, h: Any, h_bf16: Any, c: Any, packing: Packing, weights: LSTMWeights, start: int, stop: int
) -> None:
    """Steps start .. stop - 1, whose tokens (P, I) are there; gates (P, 4H), h, h_bf16 and c (N + P, H) are filled."""
    H = h.shape[1]
    first, last = packing.tokens_before(start), packing.tokens_before(stop)
    part = tokens[first:last]
    gemm(to_bf16(part) if weights.bf16 else part, weights.operands[0], gates[first:last], transpose_b=True)
    kernel, states, weight = (
        module("lstm_cells").lstm_cells_forward,
        h if h_bf16 is None else h_bf16,
        weights.operands[1],
    )
    arrays, size = (gates, weights.bias, c, h, h_bf16), np.int32(H)

    def run() -> None:
        multiply = by_rows(states, weight, gates, transpose_b=True, accumulate=True)
        for step in places.steps_of(packing, H, start, stop):
            multiply(step.before, step.token, step.alive)
            kernel(step.launch, (*arrays, *step.numbers, size))

    if last > first:
        what = packing.steps[start:stop].tobytes(), *h.shape
        graphs.run(run, stop - start, "lstm forward", *what, *map(graphs.address, (*arrays, weight)))


def _start(
    tokens: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias: Any, packing: Packing, bf16: bool
) -> LSTMRun:
    """tokens (P, I), or None for a buffer to be filled step by step."""
    if tokens is None:
        tokens = np.empty((packing.num_tokens, weight_ih.shape[1]), np.float32, like=h0)
    gates = np.empty((packing.num_tokens, len(weight_hh)), np.float32, like=h0)
    h, c = (places.state_buffer(packing, state) for state in (h0, c0))
    cache = LSTMCache(tokens, gates, h, c, packing, weight_ih, weight_hh, bias is not None, bool(bf16))
    return LSTMRun(cache, _rounded_states(h, packing, bf16), _weights(weight_ih, weight_hh, bias, bf16))


def _rounded_states(h: Any, packing: Packing, bf16: bool) -> Any:
    """The buffer beside h that products read, its initial states set; None without bf16."""
    if not bf16:
        return None
    rounded = np.empty(h.shape, np.uint16, like=h)
    rounded[: packing.batch_size] = to_bf16(h[: packing.batch_size])
    return rounded


def lstm_start(
    h0: Any,
    c0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias: Any,
    num_steps: int,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
    packed: bool = False,
) -> Any:
    """See `kernels.lstm_start`."""
    if h0.dtype != np.float32:
        return reference.lstm_start(h0, c0, weight_ih, weight_hh, bias, num_steps, lengths, bf16, packed)
    packing = pack_lengths(lengths, num_steps, len(h0))._replace(given_packed=packed)
    return _start(None, h0, c0, weight_ih, weight_hh, bias, packing, bf16)


def lstm_continue(x: Any, start: int, run: Any) -> Any:
    """See `kernels.lstm_continue`."""
    if isinstance(run, reference.LSTMRun):
        return reference.lstm_continue(x, start, run)
    cache, packing, stop = run.cache, run.cache.packing, run.cache.packing.stop(x, start)
    first, last = packing.tokens_before(start), packing.tokens_before(stop)
    cache.x[first:last] = places.pack(packing, x, start)
    _advance(cache.x, cache.gates, cache.h, run.h_bf16, cache.c, packing, run.weights, start, stop)
    return places.unpack(packing, cache.h[packing.batch_size :], start, stop)


def lstm_finish(run: Any) -> tuple[Any, Any, Any, Any]:
    """See `kernels.lstm_finish`."""
    if isinstance(run, reference.LSTMRun):
        return reference.lstm_finish(run)
    cache, packing = run.cache, run.cache.packing
    return *_results(packing, cache.h, cache.c), cache


def _results(packing: Packing, h: Any, c: Any) -> tuple[Any, Any, Any]:
    """y, h_n and c_n from the state buffers."""
    y = places.unpack(packing, h[packing.batch_size :])
    return y, places.last_states(packing, h), places.last_states(packing, c)


def lstm_forward(
    x: Any,
    h0: Any,
    c0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias: Any,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
) -> tuple[Any, Any, Any, Any]:
    """See `kernels.lstm_forward`."""
    if x.dtype != np.float32:
        return reference.lstm_forward(x, h0, c0, weight_ih, weight_hh, bias, lengths, bf16)
    packing = packing_of(x, lengths, len(h0))
    tokens = places.pack(packing, x)
    plan = lstm_persistent.plan(packing, h0.shape[1]) if bf16 else None
    if plan is not None:
        return lstm_persistent.forward(tokens, h0, c0, weight_ih, weight_hh, bias, packing, plan)
    run = _start(tokens, h0, c0, weight_ih, weight_hh, bias, packing, bf16)
    cache = run.cache
    _advance(tokens, cache.gates, cache.h, run.h_bf16, cache.c, packing, run.weights, 0, packing.num_steps)
    return lstm_finish(run)


def lstm_states(x: Any, h0: Any, c0: Any, weights: Any, lengths: np.ndarray | None = None) -> tuple[Any, Any, Any]:
    """See `kernels.lstm_states`."""
    if x.dtype != np.float32:
        return reference.lstm_states(x, h0, c0, weights, lengths)
    packing = packing_of(x, lengths, len(h0))
    plan = lstm_persistent.plan(packing, h0.shape[1]) if weights.bf16 else None
    if plan is not None:
        weight_ih, weight_hh, bias, _ = weights
        tokens = places.pack(packing, x)
        return lstm_persistent.forward(tokens, h0, c0, weight_ih, weight_hh, bias, packing, plan)[:3]
    gates = np.empty((packing.num_tokens, len(weights.bias)), np.float32, like=x)
    h, c = places.state_buffer(packing, h0), places.state_buffer(packing, c0)
    h_bf16 = _rounded_states(h, packing, weights.bf16)
    _advance(places.pack(packing, x), gates, h, h_bf16, c, packing, weights, 0, packing.num_steps)
    return _results(packing, h, c)


def _recurrence_backward(dy: Any, dh: Any, dc: Any, dgates: Any, cache: LSTMCache) -> Any:
    """All steps, last first: dgates (P, 4H) is written, dh and dc (N, H) end as those of the initial states.

    A row not yet alive keeps dh_n and dc_n there until the loop comes to its last token. dgates may be the cache's
    gates. Returns dgates as products take them: itself, or its copy in bfloat16.
    """
    H, packing = dh.shape[1], cache.packing
    rounded = np.empty(dgates.shape, np.uint16, like=dgates) if cache.bf16 else None
    weight_hh = to_bf16(cache.weight_hh) if cache.bf16 else cache.weight_hh
    operand = dgates if rounded is None else rounded
    kernel = module("lstm_cells").lstm_cells_backward
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
    if isinstance(cache, reference.LSTMCache):
        return reference.lstm_backward(dy, dh_n, dc_n, cache, consume)
    packing, H = cache.packing, cache.weight_hh.shape[1]
    dy = None if dy is None else places.pack(packing, dy)
    dh, dc = (_last_gradients(packing, gradient, H, cache.c) for gradient in (dh_n, dc_n))
    if isinstance(cache, lstm_persistent.Cache):
        return lstm_persistent.backward(dy, dh, dc, cache)
    dgates = cache.gates if consume else np.empty(cache.gates.shape, np.float32, like=cache.gates)
    operand = _recurrence_backward(dy, dh, dc, dgates, cache)
    x, weight_ih = (to_bf16(a) if cache.bf16 else a for a in (cache.x, cache.weight_ih))
    previous = places.previous_states(packing, to_bf16(cache.h) if cache.bf16 else cache.h)
    products = closing_products(operand, x, previous, weight_ih, packing)
    dbias = column_sums(dgates) if cache.has_bias else None
    dx, dweight_ih, dweight_hh = products
    return dx, places.unsort(packing, dh), places.unsort(packing, dc), dweight_ih, dweight_hh, dbias


def _last_gradients(packing: Packing, gradient: Any, H: int, like: Any) -> Any:
    """(N, H) gradient of the last states in sorted order, an array of its own; None is zeros."""
    if gradient is None:
        return np.zeros((packing.batch_size, H), np.float32, like=like)
    return places.sort(packing, gradient)


def closing_products(dgates: Any, x: Any, previous: Any, weight_ih: Any, packing: Packing) -> tuple[Any, Any, Any]:
    """dx in the layout of the input, dweight_ih and dweight_hh, all float32; operands float32 or bfloat16.

    dgates (P, G), x (P, I), previous states (P, H), weight_ih (G, I).
    """
    (P, G), (_, I), H = dgates.shape, x.shape, previous.shape[1]  # noqa: E741
    dx, dweight_ih, dweight_hh = (np.empty(shape, np.float32, like=x) for shape in ((P, I), (G, I), (G, H)))
    gemm(dgates, weight_ih, dx)
    gemm(dgates, x, dweight_ih, transpose_a=True)
    gemm(dgates, previous, dweight_hh, transpose_a=True)
    return places.unpack(packing, dx), dweight_ih, dweight_hh
