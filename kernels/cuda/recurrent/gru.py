"""One GRU layer over packed rows, a step at a time, and its gradient. See `kernels.reference.gru` for the equations.

As `kernels.cuda.recurrent.lstm_stepwise`: the input part of all tokens in one product; then each step is a product with
the recurrent matrix and one launch for the rows that are still alive.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.recurrent import places
from kernels.cuda.recurrent.lstm_stepwise import closing_products
from kernels.cuda.runtime import graphs
from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.arrays import column_sums
from kernels.cuda.runtime.cublas import by_rows, gemm
from kernels.cuda.runtime.launcher import module
from kernels.packing import Packing


class GRUCache(NamedTuple):
    """What the backward needs."""

    x: Any  # (P, I), the input itself
    gates: Any  # (P, 3H) packed, activated, blocks r z n
    hidden_n: Any  # (P, H) packed, the recurrent part b_n before the reset gate
    h: Any  # (N + P, H) state buffer; y shares it
    packing: Packing
    weight_ih: Any  # (3H, I)
    weight_hh: Any  # (3H, H)
    has_bias: bool
    bf16: bool


def gru_forward(
    x: Any, h0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, packing: Packing, bf16: bool = False
) -> tuple[Any, Any, Any]:
    """See `kernels.gru_forward`."""
    (N, H), P, tokens = h0.shape, packing.num_tokens, x
    gates, hidden_n = (np.empty((P, width), np.float32, like=x) for width in (3 * H, H))
    h = np.empty((N + P, H), np.float32, like=x)
    cache = GRUCache(tokens, gates, hidden_n, h, packing, weight_ih, weight_hh, bias_ih is not None, bool(bf16))
    if bf16:
        tokens, weight_ih, weight_hh = map(to_bf16, (tokens, weight_ih, weight_hh))
    rounded = np.empty(h.shape, np.uint16, like=h) if bf16 else None
    places.start_states(packing, h0, None, H, h, rounded)
    gemm(tokens, weight_ih, gates, transpose_b=True)
    hidden_part = np.empty((N, 3 * H), np.float32, like=x)
    kernel, states = module("recurrent/gru_cells").gru_cells_forward, h if rounded is None else rounded
    arrays, size = (gates, hidden_part, bias_ih, bias_hh, hidden_n, h, rounded), np.int32(H)

    def run() -> None:
        multiply = by_rows(states, weight_hh, hidden_part, transpose_b=True)
        for step in places.steps_of(packing, H):
            multiply(step.before, 0, step.alive)
            kernel(step.launch, (*arrays, *step.numbers, size))

    if P:
        what = packing.steps.tobytes(), N, H
        graphs.run(run, packing.num_steps, "gru forward", *what, *map(graphs.address, (*arrays, weight_hh)))
    return h[N:], places.end_states(packing, h, None, H)[0], cache


def gru_backward(dy: Any, dh_n: Any, cache: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """See `kernels.gru_backward`."""
    packing, N, H = cache.packing, cache.packing.batch_size, cache.weight_hh.shape[1]
    dh = np.empty((N, H), np.float32, like=cache.h)
    places.start_states(packing, dh_n, None, H, dh)
    dinput, dhidden, input_operand, hidden_operand = _recurrence_backward(dy, dh, cache)
    x, h, weight_ih = (to_bf16(a) if cache.bf16 else a for a in (cache.x, cache.h, cache.weight_ih))
    previous = places.previous_states(packing, h)
    dx, dweight_ih, _ = closing_products(input_operand, x, previous[:, :0], weight_ih)
    dweight_hh = np.empty(cache.weight_hh.shape, np.float32, like=dx)
    gemm(hidden_operand, previous, dweight_hh, transpose_a=True)
    dbias_ih, dbias_hh = (column_sums(dinput), column_sums(dhidden)) if cache.has_bias else (None, None)
    return dx, places.unsorted(packing, dh, None, H)[0], dweight_ih, dweight_hh, dbias_ih, dbias_hh


def _recurrence_backward(dy: Any, dh: Any, cache: GRUCache) -> tuple[Any, Any, Any, Any]:
    """All steps, last first: the gradients (P, 3H) of the two parts, and both as products take them: themselves, or
    their copies in bfloat16. dh (N, H) ends as that of the initial states."""
    H, packing = dh.shape[1], cache.packing
    dinput, dhidden = (np.empty(cache.gates.shape, np.float32, like=dh) for _ in range(2))
    copies: list[Any] = [np.empty(cache.gates.shape, np.uint16, like=dh) if cache.bf16 else None for _ in range(2)]
    operands: list[Any] = copies if cache.bf16 else [dinput, dhidden]
    weight_hh = to_bf16(cache.weight_hh) if cache.bf16 else cache.weight_hh
    kernel = module("recurrent/gru_cells").gru_cells_backward
    arrays, size = (cache.gates, cache.hidden_n, cache.h, dy, dh, dinput, dhidden, *copies), np.int32(H)

    def run() -> None:
        multiply = by_rows(operands[1], weight_hh, dh, accumulate=True)
        for step in reversed(places.steps_of(packing, H)):
            token, before, _, alive = step.numbers
            kernel(step.launch, (*arrays, token, before, alive, size))
            multiply(step.token, 0, step.alive)

    if packing.num_tokens:
        what = packing.steps.tobytes(), *dh.shape
        graphs.run(run, packing.num_steps, "gru backward", *what, *map(graphs.address, (*arrays, weight_hh)))
    return dinput, dhidden, *operands
