"""An ``nn.LSTM`` fed in pieces: each may depend on the outputs of those before, as in a decoder that hears itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import ops, random
from minigrad.nn.recurrent import LSTM
from minigrad.tensor import Tensor

Array = np.ndarray


class DropoutInPieces:
    """One dropout over all steps, applied to a few of them at a time; no mask is kept.

    Args:
        p: probability that an element is zeroed.
        training: False passes everything through.
    """

    def __init__(self, p: float, training: bool) -> None:
        self._p = p if training else 0.0
        self._key = random.next_key() if self._p else None

    def part(self, x: Array, start: int) -> Array:
        """x (S,N,F), the steps from ``start`` on; packed, the rows from there on. Off the tape."""
        return ops.dropout(Tensor(x), self._p, self._key, start * x[0].size).array if len(x) else x

    def whole(self, x: Tensor) -> Tensor:
        """All steps on the tape."""
        return ops.dropout(x, self._p, self._key)


class StackInPieces:
    """The layers of an LSTM under way; the dropout between them has one mask for all steps.

    Args:
        lstm: one direction, time-major.
        hx: h0 and c0, (L,N,H) each.
        num_steps: T, steps of all pieces together.
        lengths: (N,) integers in 0..T, real steps of each sequence, or None.
        packed: pieces come as the data of a ``PackedSequence``, (.,I), and so do the results; needs ``lengths``.

    Raises:
        ValueError: a bidirectional or batch-first LSTM.
    """

    def __init__(
        self, lstm: LSTM, hx: tuple[Tensor, Tensor], num_steps: int, lengths: Array | None = None, packed: bool = False
    ) -> None:
        if lstm.bidirectional or lstm.batch_first:
            raise ValueError("StackInPieces: the LSTM is bidirectional or batch_first; expected neither")
        h0, c0 = hx
        if packed and lengths is None:
            raise ValueError("StackInPieces: lengths is None; expected (N,) integers, since pieces come packed")
        self._layers, self._dropouts = [], []
        for layer, (weight_ih, weight_hh, *biases) in enumerate(lstm.all_weights):
            bias_ih, bias_hh = biases or (None, None)
            start = (h0[layer], c0[layer], weight_ih, weight_hh, bias_ih, bias_hh)
            self._dropouts.append(DropoutInPieces(lstm.dropout if layer else 0.0, lstm.training))
            self._layers.append(ops.LSTMInPieces(*start, num_steps, lengths, packed))
        self._done = 0  # steps, or rows of the packed sequence

    def extend(self, x: Array) -> Array:
        """The next steps: x (S,N,I), or packed (.,I) -> outputs of the last layer in the same form, off the tape."""
        start, self._done = self._done, self._done + len(x)
        for layer, dropout in zip(self._layers, self._dropouts, strict=True):
            x = layer.extend(dropout.part(x, start))
        return x

    def finish(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """All steps on the tape: ``x``, equal to the pieces -> outputs in the same form, and (L,N,H) h_n, c_n."""
        finals: list[Any] = []
        for layer, dropout in zip(self._layers, self._dropouts, strict=True):
            x, *states = layer.finish(dropout.whole(x))
            finals.append(states)
        h_n, c_n = (ops.stack(list(states), 0) for states in zip(*finals, strict=True))
        return x, (h_n, c_n)
