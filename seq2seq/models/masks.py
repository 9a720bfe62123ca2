"""What is zeroed alike at all steps of a batch: numbers of a sequence, recurrent weights, and words.

A part need not know of it: it has ``variational_dropout`` or ``recurrent_dropout`` among its options (as
``RecurrentOptions`` does), and drops with ``nn.Dropout`` and recurrent layers; its words are those of the
``nn.Embedding`` that is its ``embedding``. The default ``Decoder.sequence`` takes care of what goes step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from minigrad import nn
from minigrad.nn.utils.rnn import PackedSequence


class Masks:
    """Those of one encoder or decoder; there are some in training alone.

    Args:
        part: the encoder or decoder.
        options: its own.
        embedding_dropout: the probability that a word's vector is zeroed.
    """

    def __init__(self, part: nn.Module, options: Any, embedding_dropout: float = 0.0) -> None:
        self._part = part
        self._variational: bool = getattr(options, "variational_dropout", False)
        self._recurrent: float = getattr(options, "recurrent_dropout", 0.0)
        self._words = embedding_dropout

    def of(self, sequences: PackedSequence) -> AbstractContextManager[Any]:
        """Inside, dropout has one mask for each of the sequences, if the part is to have it so."""
        wanted = self._part.training and self._variational
        return nn.variational_dropout(sequences) if wanted else nullcontext()

    @contextmanager
    def of_weights(self) -> Iterator[None]:
        """Inside, elements of the recurrent weights and vectors of words are zeroed, if they are to be."""
        with ExitStack() as masks:
            if self._part.training and self._recurrent > 0:
                masks.enter_context(nn.utils.weight_drop(self._part, self._recurrent))
            table = getattr(self._part, "embedding", None)
            if self._part.training and self._words > 0 and isinstance(table, nn.Embedding):
                masks.enter_context(nn.utils.embedding_drop(table, self._words))
            yield
