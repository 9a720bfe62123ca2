"""What is zeroed alike at all steps of a batch, as a part's options say: numbers of a sequence, and recurrent weights.

A part need not know of it: it has ``variational_dropout`` or ``recurrent_dropout`` among its options (as
``RecurrentOptions`` does), and drops with ``nn.Dropout`` and recurrent layers. The default ``Decoder.sequence`` takes
care of what goes step by step.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from minigrad import nn
from minigrad.nn.utils.rnn import PackedSequence


class Masks:
    """Those of one encoder or decoder; there are some in training alone.

    Args:
        part: the encoder or decoder.
        options: its own.
    """

    def __init__(self, part: nn.Module, options: Any) -> None:
        self._part = part
        self._variational: bool = getattr(options, "variational_dropout", False)
        self._recurrent: float = getattr(options, "recurrent_dropout", 0.0)

    def of(self, sequences: PackedSequence) -> AbstractContextManager[Any]:
        """Inside, dropout has one mask for each of the sequences, if the part is to have it so."""
        wanted = self._part.training and self._variational
        return nn.variational_dropout(sequences) if wanted else nullcontext()

    def of_weights(self) -> AbstractContextManager[Any]:
        """Inside, elements of the recurrent weights are zeroed, if they are to be."""
        wanted = self._part.training and self._recurrent > 0
        return nn.utils.weight_drop(self._part, self._recurrent) if wanted else nullcontext()
