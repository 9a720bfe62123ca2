"""A bidirectional LSTM over the source, with a bridge to the decoder (Schuster and Paliwal, "Bidirectional recurrent
neural networks", 1997; the bridge as in Bahdanau et al., "Neural machine translation by jointly learning to align and
translate", 2015, appendix A.2.2, for both directions).

Each direction has hidden_size units. Of a layer's two last states the bridge makes the one that a decoder of the same
size starts from, h and c each by a matrix of its own that all layers share: tanh(W [forward; backward] + b).
"""

from __future__ import annotations

from minigrad import Tensor, nn, tanh
from minigrad.nn.utils.rnn import PackedSequence, pad_packed_sequence
from seq2seq.models.contract import Encoder, Memory, MemoryShape, Reads
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import RecurrentOptions
from seq2seq.run.registry import register


@register("encoder", "bilstm")
class BidirectionalLSTMEncoder(Encoder):
    """Embedding, stacked LSTM in both directions, bridge."""

    Options = RecurrentOptions

    def __init__(self, options: RecurrentOptions, inputs: Inputs, reads: Reads) -> None:
        super().__init__()
        size, layers, dropout = options.hidden_size, options.num_layers, options.dropout
        self.embedding = inputs.layer(options.embedding_size)
        between = dropout if layers > 1 else 0.0
        self.rnn = nn.LSTM(options.embedding_size, size, layers, dropout=between, bidirectional=True)
        self.bridges = nn.ModuleList([nn.Linear(2 * size, size) for _ in range(reads.states)])  # of h, of c
        self.dropout = nn.Dropout(dropout)
        self.reads = reads

    @property
    def memory_shape(self) -> MemoryShape:
        size = self.rnn.num_layers, self.rnn.hidden_size
        return MemoryShape((size,) * len(self.bridges), 2 * self.rnn.hidden_size)

    def forward(self, source: PackedSequence) -> Memory:
        """Packed ids (P,) int64 or rows (P, F) -> h and c (L, N, H), and the outputs of both directions (S, N, 2H)
        where they are read."""
        y, last = self.rnn(source._replace(data=self.dropout(self.embedding(source.data))))
        states = tuple(tanh(bridge(_side_by_side(state))) for bridge, state in zip(self.bridges, last, strict=False))
        if not self.reads.outputs:
            return Memory(states)
        outputs, lengths = pad_packed_sequence(y)
        return Memory(states, outputs, lengths.array)


def _side_by_side(state: Tensor) -> Tensor:
    """The last states (L*2, N, H), forward before backward in each layer -> (L, N, 2H)."""
    layers, (_, batch_size, size) = state.shape[0] // 2, state.shape
    return state.reshape(layers, 2, batch_size, size).transpose(1, 2).reshape(layers, batch_size, 2 * size)
