"""A layer on a vector, or on each of several, whose mean starts the decoder (Vinyals et al., "Show and tell", 2015; of
several regions, Xu et al., "Show, attend and tell", 2015, section 3.1.2).

    y = tanh(W row + b)                       for each row: what an attentive decoder attends to
    h0 = tanh(W_h mean(y) + b_h), c0 likewise: the decoder's first states, of all layers
"""

from __future__ import annotations

from minigrad import nn, tanh
from minigrad.nn.utils.rnn import PackedSequence, pad_packed_sequence
from seq2seq.models.bridge import bridged_mean, make_bridges, mean_of
from seq2seq.models.contract import Encoder, Memory, MemoryShape, Reads
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import VectorOptions
from seq2seq.run.errors import UserError
from seq2seq.run.registry import register


@register("encoder", "vector")
class VectorEncoder(Encoder):
    """Linear layers with tanh: no order among the rows."""

    Options = VectorOptions

    def __init__(self, options: VectorOptions, inputs: Inputs, reads: Reads) -> None:
        super().__init__()
        if inputs.ids:
            raise UserError("encoder vector reads rows of numbers; expected a source of them, such as vectors")
        self.size = size = options.hidden_size
        self.num_layers = options.num_layers
        self.embedding = inputs.layer(size)
        self.bridges = make_bridges(reads.states, size, self.num_layers * size)
        self.dropout = nn.Dropout(options.dropout)
        self.reads = reads

    @property
    def memory_shape(self) -> MemoryShape:
        return MemoryShape(((self.num_layers, self.size),) * len(self.bridges), self.size)

    def forward(self, source: PackedSequence) -> Memory:
        """Packed rows (P, F) -> h and c (L, N, H), and what is made of each row (S, N, H) where it is read."""
        y, lengths = pad_packed_sequence(source._replace(data=tanh(self.embedding(source.data))))
        states = bridged_mean(self.bridges, self.dropout(mean_of(y, lengths.array)), self.num_layers)
        return Memory(states, self.dropout(y), lengths.array) if self.reads.outputs else Memory(states)
