"""An LSTM over the target that attends to the encoder's outputs by their products with its state (Luong et al.,
"Effective approaches to attention-based neural machine translation", 2015, section 3.1, score "dot").

    alignment = softmax(outputs . h),  context = alignment . outputs,  features = tanh(W_c [context; h] + b)

What it attends to is not fed to the next step, so a sequence whose tokens are given needs no step in Python.
"""

from __future__ import annotations

import numpy as np

from minigrad import Tensor, cat, matmul, nn, tanh, zeros
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from seq2seq.models.contract import Decoder, Memory, MemoryShape, Reads, State, require_states
from seq2seq.models.options import RecurrentOptions
from seq2seq.run.errors import UserError
from seq2seq.run.registry import register


@register("decoder", "dot-attention")
class DotAttentionDecoder(Decoder):
    """Embedding, stacked LSTM, dot attention and output layer."""

    Options = RecurrentOptions
    reads = Reads(outputs=True)

    def __init__(self, options: RecurrentOptions, vocab_size: int, memory: MemoryShape) -> None:
        super().__init__()
        size, layers, dropout = options.hidden_size, options.num_layers, options.dropout
        require_states("dot-attention", memory, ((layers, size),) * 2)
        if memory.output_size != size:
            raise UserError(
                f"decoder dot-attention multiplies outputs of hidden_size = {size}; the encoder leaves outputs of "
                f"{memory.output_size}; expected a pair that fits"
            )
        self.embedding = nn.Embedding(vocab_size, options.embedding_size, sparse=True)
        self.rnn = nn.LSTM(options.embedding_size, size, layers, dropout=dropout if layers > 1 else 0.0)
        self.combine = nn.Linear(2 * size, size)
        self.fc_out = nn.Linear(size, vocab_size)
        self.dropout = nn.Dropout(dropout)

    @property
    def output(self) -> nn.Linear:
        return self.fc_out

    def start(self, memory: Memory) -> State:
        """h and c (L, N, H), and the last alignment (N, S), which is none yet."""
        values = memory.outputs
        assert values is not None
        return *memory.states, zeros(values.shape[1], values.shape[0], dtype=values.dtype, device=values.device)

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """tokens (N,) int64 -> features (N, H), the next h, c and alignment."""
        y, (h, c) = self.rnn(self.dropout(self.embedding(tokens)).unsqueeze(0), state[:2])
        features, alignment = self.attend(y, memory)
        return features[0], (h, c, alignment[:, 0])

    def alignment(self, state: State) -> Tensor:
        return state[2]

    def sequence(self, tokens: PackedSequence, state: State, memory: Memory, own: np.ndarray) -> Tensor:
        """All steps in one call where every token is given."""
        if own.any():
            return super().sequence(tokens, state, memory, own)
        y, _ = self.rnn(tokens._replace(data=self.dropout(self.embedding(tokens.data))), state[:2])
        queries, lengths = pad_packed_sequence(y)
        return pack_padded_sequence(self.attend(queries, memory)[0], lengths, enforce_sorted=False).data

    def attend(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """States of the last layer (T, N, H) -> features (T, N, H), alignment (N, T, S)."""
        assert memory.outputs is not None  # they are read, and so they are there
        assert memory.lengths is not None
        values = memory.outputs.transpose(0, 1)  # (N, S, H)
        scores = matmul(queries.transpose(0, 1), values.transpose(1, 2))  # (N, T, S)
        alignment = F.masked_softmax(scores, memory.lengths)
        context = matmul(alignment, values).transpose(0, 1)
        return tanh(self.combine(cat([context, queries], 2))), alignment
