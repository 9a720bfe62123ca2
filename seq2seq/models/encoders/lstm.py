"""Embedding and stacked LSTM over the source (Sutskever et al., "Sequence to sequence learning with neural networks",
2014). Its last state is what it leaves; for decoders with attention, its outputs too."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import nn
from minigrad.decoding import PackedEncoder
from minigrad.nn.utils.rnn import PackedSequence, pad_packed_sequence
from seq2seq.models.contract import Encoder, Memory, MemoryShape, Reads
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import RecurrentOptions
from seq2seq.run.registry import register

Array = np.ndarray


@register("encoder", "lstm")
class LSTMEncoder(Encoder):
    """Embedding and stacked LSTM."""

    Options = RecurrentOptions
    capturable = True

    def __init__(self, options: RecurrentOptions, inputs: Inputs, reads: Reads) -> None:
        super().__init__()
        layers, dropout = options.num_layers, options.dropout
        self.embedding = inputs.layer(options.embedding_size)
        self.rnn = nn.LSTM(options.embedding_size, options.hidden_size, layers, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.reads = reads

    @property
    def memory_shape(self) -> MemoryShape:
        size = self.rnn.num_layers, self.rnn.hidden_size
        return MemoryShape((size, size)[: self.reads.states], self.rnn.hidden_size)

    def forward(self, source: PackedSequence) -> Memory:
        """Packed ids (P,) int64 or rows (P, F) -> h and c (L, N, H), and the outputs (S, N, H) where they are read."""
        y, states = self.rnn(source._replace(data=self.dropout(self.embedding(source.data))))
        states = states[: self.reads.states]
        if not self.reads.outputs:
            return Memory(states)
        outputs, lengths = pad_packed_sequence(y)
        return Memory(states, outputs, lengths.array)

    def prepacked(self, bf16: bool) -> Any:
        if self.reads.outputs or not isinstance(self.embedding, nn.Embedding):
            return None
        return _Prepacked(PackedEncoder(self.embedding, self.rnn, bf16), self.reads)


class _Prepacked:
    """The encoder with its weights packed for states without a backward."""

    def __init__(self, encoder: PackedEncoder, reads: Reads) -> None:
        self._encoder, self._reads = encoder, reads

    def memory(self, ids: Array, lengths: Array) -> Memory:
        """As of the encoder in evaluation."""
        return Memory(self._encoder.states(ids, lengths)[: self._reads.states])
