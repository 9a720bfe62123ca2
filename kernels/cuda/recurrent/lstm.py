"""One LSTM layer over packed rows, and its gradient. See `kernels.reference.lstm` for the equations.

A layer is computed by one of two strategies, chosen once, where it begins: all steps in one launch
(`lstm_persistent`), with bf16 or where TF32 is allowed, if the device has room for it; else a step at a time
(`lstm_stepwise`). What either gives is a `Run`, which leaves a `Cache`.
"""

from typing import Any, Protocol

import numpy as np

from kernels.cuda.recurrent import lstm_persistent, lstm_stepwise
from kernels.cuda.recurrent.lstm_stepwise import LSTMWeights
from kernels.packing import Packing

Gradients = tuple[Any, Any, Any, Any, Any, Any]


class Cache(Protocol):
    """What the backward needs."""

    def backward(self, dy: Any, dh_n: Any, dc_n: Any, consume: bool) -> Gradients:
        """See `kernels.lstm_backward`."""


class Run(Protocol):
    """A layer on its way through the steps."""

    def advance(self) -> None:
        """All steps, of a run whose tokens are there."""

    def extend(self, x: Any, start: int) -> Any:
        """See `kernels.incremental_lstm_step`."""

    def finish(self) -> tuple[Any, Any, Any, Any]:
        """See `kernels.incremental_lstm_finish`."""


def _begin(tokens: Any, h0: Any, c0: Any, weights: LSTMWeights, packing: Packing, need_gradients: bool = True) -> Run:
    """A layer before its first step; tokens (P, I) packed, or None where they will come some steps at a time."""
    plan = lstm_persistent.plan(packing, h0.shape[1], weights.bf16)
    if plan is None:
        return lstm_stepwise.start(tokens, h0, c0, weights, packing)
    return lstm_persistent.start(tokens, h0, c0, weights, packing, plan, need_gradients)


def _whole(x: Any, h0: Any, c0: Any, weights: LSTMWeights, packing: Packing, need_gradients: bool = True) -> Run:
    """A layer after its last step."""
    run = _begin(x, h0, c0, weights, packing, need_gradients)
    run.advance()
    return run


def lstm_forward(
    x: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias: Any, packing: Packing, bf16: bool = False
) -> tuple[Any, Any, Any, Any]:
    """See `kernels.lstm_forward`."""
    return _whole(x, h0, c0, LSTMWeights(weight_ih, weight_hh, bias, bool(bf16)), packing).finish()


def lstm_backward(dy: Any, dh_n: Any, dc_n: Any, cache: Cache, consume: bool = False) -> Gradients:
    """See `kernels.lstm_backward`."""
    return cache.backward(dy, dh_n, dc_n, consume)


def incremental_lstm_start(
    h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias: Any, packing: Packing, bf16: bool = False
) -> Any:
    """See `kernels.incremental_lstm_start`."""
    return _begin(None, h0, c0, LSTMWeights(weight_ih, weight_hh, bias, bool(bf16)), packing)


def incremental_lstm_step(x: Any, start: int, run: Run) -> Any:
    """See `kernels.incremental_lstm_step`."""
    return run.extend(x, start)


def incremental_lstm_finish(run: Run) -> tuple[Any, Any, Any, Any]:
    """See `kernels.incremental_lstm_finish`."""
    return run.finish()


def prepack_lstm(weight_ih: Any, weight_hh: Any, bias: Any, bf16: bool = False) -> Any:
    """See `kernels.prepack_lstm`."""
    bias = np.zeros(len(weight_hh), np.float32, like=weight_hh) if bias is None else bias.copy()
    return LSTMWeights(weight_ih.copy(), weight_hh.copy(), bias, bf16).with_operands()


def lstm_states(x: Any, h0: Any, c0: Any, weights: Any, packing: Packing) -> tuple[Any, Any, Any]:
    """See `kernels.lstm_states`."""
    return _whole(x, h0, c0, weights, packing, need_gradients=False).finish()[:3]
