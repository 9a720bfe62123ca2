"""An LSTM, and the dropout that goes with it, over a batch whose next input may depend on the last output.

A decoder that is given its own best guess knows the input of a step only after the step before. ``step`` computes the
next steps as soon as their input is known, off the tape. Once every input is known, ``finish`` records all steps as one
call per layer, which takes over what the steps have computed. So the backward is the one over whole sequences, however
many calls of ``step`` there were.

All rows are packed (see ``nn.utils.rnn``): step by step, in each step the longest sequence first.
P packed rows of all steps, R of the next ones, N batch, I input, H hidden, L layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from kernels.packing import pack_lengths
from minigrad import ops
from minigrad.autocast import bf16_enabled
from minigrad.function import Context
from minigrad.grad_mode import no_grad
from minigrad.nn.parameter import Parameter
from minigrad.nn.recurrent import LSTM
from minigrad.nn.variational import next_dropout
from minigrad.ops.fused import LSTMLayer, sum_of_biases
from minigrad.ops.packed import checked_lengths
from minigrad.tensor import Tensor

Array = np.ndarray


class IncrementalDropout:
    """One dropout over all steps. Its mask is a function of a key, so the steps need not keep it.

    In ``nn.variational_dropout`` it is that of the sequences of this block.

    Args:
        p: probability that an element is zeroed.
        training: False passes everything through.
    """

    def __init__(self, p: float, training: bool) -> None:
        self._p = p if training else 0.0
        self._drop = next_dropout(self._p) if self._p else lambda x, first: x
        self._num_rows = 0  # of the steps so far

    def step(self, x: Tensor) -> Tensor:
        """The next steps, off the tape: x (R, F) -> (R, F)."""
        first, self._num_rows = self._num_rows, self._num_rows + len(x)
        with no_grad():
            return self._drop(x, first)

    def finish(self, x: Tensor) -> Tensor:
        """All steps on the tape: x (P, F) -> (P, F), equal to what the steps gave."""
        return self._drop(x, 0)


class IncrementalLSTM:
    """The layers of an ``nn.LSTM``, with one dropout mask between them for all steps.

    Args:
        lstm: of one direction, time-major.
        hx: h0 and c0, (L, N, H) each.
        lengths: (N,) integers on the host, the steps of each sequence in the order of the batch.

    Raises:
        ValueError: a bidirectional or batch-first LSTM. TypeError, ValueError: another dtype or shape.
        RuntimeError: ``finish`` before the last step, or twice.
    """

    def __init__(self, lstm: LSTM, hx: tuple[Tensor, Tensor], lengths: Array) -> None:
        if lstm.bidirectional or lstm.batch_first:
            raise ValueError("IncrementalLSTM: the LSTM is bidirectional or batch_first; expected neither")
        self._layers = []
        for layer, weights in enumerate(lstm.all_weights):
            dropout = IncrementalDropout(lstm.dropout if layer else 0.0, lstm.training)
            self._layers.append(_Layer(dropout, [state[layer] for state in hx], weights, lengths))

    def step(self, x: Tensor) -> Tensor:
        """The next steps, one or more whole ones, off the tape: x (R, I) -> outputs of the last layer (R, H)."""
        for layer in self._layers:
            x = layer.step(x)
        return x

    def finish(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """All steps on the tape, once: x (P, I), that of the steps -> outputs (P, H), and h_n, c_n (L, N, H)."""
        finals = []
        for layer in self._layers:
            x, *states = layer.finish(x)
            finals.append(states)
        h_n, c_n = (ops.stack(list(states), 0) for states in zip(*finals, strict=True))
        return x, (h_n, c_n)


class _Layer:
    """One layer and the dropout of its input: h0, c0 (N, H), weights (4H, I), (4H, H) and two biases (4H,) or none."""

    def __init__(
        self, dropout: IncrementalDropout, states: list[Tensor], weights: list[Parameter], lengths: Array
    ) -> None:
        biases = weights[2:] or (None, None)
        self._dropout = dropout
        self._arguments = (*states, *weights[:2], *biases)
        h0, c0, weight_ih, weight_hh = (tensor.array for tensor in self._arguments[:4])
        bias = sum_of_biases(*(None if bias is None else bias.array for bias in biases))
        most = int(lengths.max(initial=0))
        packing = pack_lengths(checked_lengths("IncrementalLSTM", lengths, most, len(h0)))
        self._run = kernels.incremental_lstm_start(h0, c0, weight_ih, weight_hh, bias, packing, bf16_enabled())
        self._num_steps = 0  # so far

    def step(self, x: Tensor) -> Tensor:
        rows = self._dropout.step(x).array
        y = kernels.incremental_lstm_step(rows, self._num_steps, self._run)
        self._num_steps = self._run.cache.packing.stop(self._num_steps, len(rows))
        return Tensor(y)

    def finish(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        run, self._run = self._run, None  # it holds more than the backward needs
        if run is None or self._num_steps < run.cache.packing.num_steps:
            raise RuntimeError("IncrementalLSTM: finish comes before the last step or twice; expected once, after it")
        return _FinishedLayer.apply(self._dropout.finish(x), *self._arguments, run)


class _FinishedLayer(LSTMLayer):
    """LSTMLayer, computed before (kernels.incremental_lstm_finish)"""

    @staticmethod
    def forward(
        ctx: Context, x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b_ih: Any, b_hh: Any, run: Any
    ) -> tuple:
        y, h_n, c_n, ctx.cache = kernels.incremental_lstm_finish(run)
        ctx.shape = x.shape
        ctx.save_for_backward(w_ih, w_hh)
        return y, h_n, c_n
