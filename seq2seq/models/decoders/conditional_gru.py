"""The conditional GRU: two cells a step, and between them a look at the source (Sennrich et al., "Nematus: a toolkit
for neural machine translation", 2017, section 2; before it NYU's tutorial dl4mt).

    h0       = tanh(W_0 mean of the outputs + b)
    h'       = GRU_1(e(y), h)
    C        = sum of the outputs with the weights softmax of v . tanh(W h' + U m + b)
    h        = GRU_2(C, h')
    features = tanh(W_h h + W_e e(y) + W_c C + b), of the embedding's size

So a step attends after it has read its token, which Bahdanau's cannot, and the cell that follows reads what was found.
The cells are PyTorch's, with a bias on both sides of the reset gate: the first of Nematus has it outside alone, the
second inside alone.

E embedding size, H state size, D size of an encoder's outputs, N sources, S positions.
"""

from __future__ import annotations

import numpy as np

from minigrad import Tensor, cat, nn, tanh, zeros
from seq2seq.models.attention import Attended, Attention
from seq2seq.models.bridge import mean_of
from seq2seq.models.contract import Decoder, Memory, MemoryShape, Reads, State
from seq2seq.models.options import SingleLayerOptions
from seq2seq.run.registry import register


@register("decoder", "conditional-gru")
class ConditionalGRUDecoder(Decoder):
    """Embedding, two cells with attention between them, and output layer.

    Its state is h (N, H), the last alignment (N, S), and the keys (S, N, D).
    """

    Options = SingleLayerOptions
    reads = Reads(states=0, outputs=True)

    def __init__(self, options: SingleLayerOptions, vocab_size: int, memory: MemoryShape) -> None:
        super().__init__()
        width, size, depth = options.embedding_size, options.hidden_size, memory.output_size
        self.embedding = nn.Embedding(vocab_size, width, sparse=True)
        self.initial = nn.Linear(depth, size)
        self.cells = nn.ModuleList([nn.GRUCell(width, size), nn.GRUCell(depth, size)])
        self.attention = Attention("additive", size, depth, coverage=False, key_size=depth)
        self.combine = nn.Linear(depth + size + width, width)
        self.fc_out = nn.Linear(width, vocab_size)
        self.dropout = nn.Dropout(options.dropout)

    def start(self, memory: Memory) -> State:
        values, lengths = memory.outputs, memory.lengths
        assert values is not None  # they are read, and so they are there
        assert lengths is not None
        S, N, _ = values.shape
        nothing = zeros(N, S, dtype=values.dtype, device=values.device)
        return tanh(self.initial(mean_of(values, lengths))), nothing, self.attention.keys(values)

    def alignment(self, state: State) -> Tensor:
        return state[1]

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """tokens (N,) int64 -> features (N, E), the next state."""
        values, lengths = memory.outputs, memory.lengths
        assert values is not None  # they are read, and so they are there
        assert lengths is not None
        (h, _, keys), (before, after) = state, self.cells
        embedded = self.dropout(self.embedding(tokens))
        h = before(embedded, h)
        one_each = np.ones(len(tokens), np.int64)
        context, alignment = self.attention(h, Attended(keys, values, lengths), None, one_each)
        h = after(context, h)
        return tanh(self.combine(cat([context, h, embedded], 1))), (h, alignment, keys)
