"""One LSTM layer some steps at a time, where what it reads follows from what it wrote; `lstm_backward` goes back."""

from typing import NamedTuple

import numpy as np

from kernels.cpu.lstm import LSTMCache, LSTMWeights, advance, prepack_lstm
from kernels.packing import Packing


class LSTMRun(NamedTuple):
    """A layer on its way through the steps: the cache that it fills, all h, and the weights."""

    cache: LSTMCache
    h: np.ndarray  # (N + P, H) state buffer; y shares it
    weights: LSTMWeights


def incremental_lstm_start(
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    packing: Packing,
    bf16: bool = False,
) -> LSTMRun:
    """See `kernels.incremental_lstm_start`."""
    gates, x = (np.empty((packing.num_tokens, size), h0.dtype) for size in (len(weight_hh), weight_ih.shape[1]))
    initial, c = packing.sort(h0), packing.state_buffer(c0)  # h itself need not outlive the forward
    cache = LSTMCache(x, gates, initial, c, packing, weight_ih, weight_hh, bias is not None, bf16, owns_x=True)
    return LSTMRun(cache, packing.state_buffer(h0), prepack_lstm(weight_ih, weight_hh, bias, bf16))


def incremental_lstm_step(x: np.ndarray, start: int, run: LSTMRun) -> np.ndarray:
    """See `kernels.incremental_lstm_step`."""
    cache, packing = run.cache, run.cache.packing
    first = packing.tokens_before(start)
    last = first + len(x)
    cache.x[first:last] = x
    advance(cache.x, cache.gates, run.h, cache.c, packing, run.weights, start, packing.stop(start, len(x)))
    return run.h[packing.batch_size :][first:last]


def incremental_lstm_finish(run: LSTMRun) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCache]:
    """See `kernels.incremental_lstm_finish`."""
    cache, packing = run.cache, run.cache.packing
    return packing.next_states(run.h), packing.last_states(run.h), packing.last_states(cache.c), cache
