"""A GRU over the target that sees the context, the encoder's last state, at every step (Cho et al., "Learning phrase
representations using RNN encoder-decoder for statistical machine translation", 2014, section 2.2).

The state starts from the context; each step reads it beside the token, and so does the output layer, beside the state
and the token, so that the state need not carry what does not change. The paper's cells are `--cell cho-gru`.
"""

from __future__ import annotations

import numpy as np

from minigrad import Tensor, cat, nn
from minigrad.nn.utils.rnn import PackedSequence, rows_of
from seq2seq.models.cells import CELLS, CellOptions, cell_of
from seq2seq.models.contract import Decoder, Memory, MemoryShape, Reads, State, require_states, select
from seq2seq.models.stack import layers_of
from seq2seq.run.registry import register


@register("decoder", "gru-context")
class GRUContextDecoder(Decoder):
    """Embedding, stacked GRU and output layer, with the context at every step."""

    Options = CellOptions
    reads = Reads(states=1)

    def __init__(self, options: CellOptions, vocab_size: int, memory: MemoryShape) -> None:
        super().__init__()
        embedding_size, size, layers = options.embedding_size, options.hidden_size, options.num_layers
        require_states("gru-context", memory, ((layers, size),))
        self.embedding = nn.Embedding(vocab_size, embedding_size, sparse=True)
        cell = CELLS[cell_of(options, ("gru", "cho-gru"))]
        self.rnn = layers_of(cell, embedding_size + size, size, layers, options.dropout, **options.between)
        self.fc_out = nn.Linear(embedding_size + 2 * size, vocab_size)
        self.dropout = nn.Dropout(options.dropout)

    def start(self, memory: Memory) -> State:
        return memory.states

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """tokens (N,) int64 -> token, h of the last layer and context side by side (N, E+2H), the next h (L, N, H)."""
        embedded, context = self.dropout(self.embedding(tokens)), _context(memory)
        y, h = self.rnn(cat([embedded, context], 1).unsqueeze(0), state[0])
        return cat([embedded, y[0], context], 1), (h,)

    def sequence(self, tokens: PackedSequence, state: State, memory: Memory, own: np.ndarray) -> Tensor:
        """All steps in one call where every token is given."""
        if own.any():
            return super().sequence(tokens, state, memory, own)
        embedded, context = self.dropout(self.embedding(tokens.data)), select(_context(memory), rows_of(tokens))
        y, _ = self.rnn(tokens._replace(data=cat([embedded, context], 1)), state[0])
        return cat([embedded, y.data, context], 1)


def _context(memory: Memory) -> Tensor:
    """(N, H): the last layer's state."""
    return memory.states[0][-1]
