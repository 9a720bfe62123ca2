"""One LSTM layer whose input comes in pieces, recorded on the tape as one call over the whole sequence.

A decoder that is fed its own guesses knows the input of a step only after the step before. The pieces are computed as
they come, off the tape; when the last one is done, the whole input is known, and one node takes over what the pieces
left behind. So the backward is that of a layer over whole sequences, however many pieces there were.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad.autocast import bf16_enabled
from minigrad.function import Context
from minigrad.ops.fused import LSTMLayer, sum_of_biases
from minigrad.tensor import Tensor

Array = np.ndarray


class LSTMFinish(LSTMLayer):
    """The end of a layer fed in pieces (kernels.lstm_finish); arguments and gradients are those of LSTMLayer"""

    @staticmethod
    def forward(
        ctx: Context, x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b_ih: Any, b_hh: Any, run: Any
    ) -> tuple:
        y, h_n, c_n, ctx.cache = kernels.lstm_finish(run)
        ctx.save_for_backward(w_ih, w_hh)
        return y, h_n, c_n


class LSTMInPieces:
    """A layer under way.

    Args:
        h0, c0: (N,H) initial states.
        weight_ih, weight_hh: (4H,I), (4H,H); bias_ih, bias_hh: (4H,) or None.
        num_steps: T, steps of all pieces together.
        lengths: (N,) integers in 0..T, or None; as in ``lstm_layer``.
        packed: pieces come packed, and so do the results; as in ``lstm_layer``.
    """

    def __init__(
        self, h0: Tensor, c0: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
        bias_hh: Tensor | None, num_steps: int, lengths: Array | None = None, packed: bool = False,
    ) -> None:  # fmt: skip
        self._arguments = (h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)
        bias = sum_of_biases(*(None if b is None else b.array for b in (bias_ih, bias_hh)))
        self._run = kernels.lstm_start(
            h0.array, c0.array, weight_ih.array, weight_hh.array, bias, num_steps, lengths, bf16_enabled(), packed
        )
        self._steps = 0

    def extend(self, x: Array) -> Array:
        """The next steps: x (S,N,I), or packed (.,I) -> y in the same form, off the tape."""
        y = kernels.lstm_continue(x, self._steps, self._run)
        self._steps = self._run.cache.packing.stop(x, self._steps)
        return y

    def finish(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """After the last step: ``x``, which all pieces together must equal -> y in its form, h_n, c_n (N,H)."""
        run, self._run = self._run, None  # it holds more than the backward needs
        return LSTMFinish.apply(x, *self._arguments, run)
