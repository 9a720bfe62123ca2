"""Embedding, stacked LSTM and output layer over the target (Sutskever et al., "Sequence to sequence learning with
neural networks", 2014): all that it sees of the source is the state it starts from.

Sizes and parameter names are those of the PyTorch tutorials' first model, so its parameter count is theirs exactly.
"""

from __future__ import annotations

import itertools

import numpy as np

from minigrad import Tensor, nn, no_grad
from minigrad.decoding import PackedDecoder
from minigrad.nn.utils.rnn import PackedSequence, lengths_of
from seq2seq.models.contract import Decoder, Memory, MemoryShape, State, changes, require_states
from seq2seq.models.options import RecurrentDecoderOptions
from seq2seq.models.stack import Stack, layers_of
from seq2seq.run.registry import register

Array = np.ndarray


@register("decoder", "lstm")
class LSTMDecoder(Decoder):
    """Embedding, stacked LSTM and output layer."""

    Options = RecurrentDecoderOptions
    capturable = True

    def __init__(self, options: RecurrentDecoderOptions, vocab_size: int, memory: MemoryShape) -> None:
        super().__init__()
        size, layers = options.hidden_size, options.num_layers
        require_states("lstm", memory, ((layers, size),) * 2)
        self.embedding = nn.Embedding(vocab_size, options.embedding_size, sparse=True)
        self.rnn = layers_of(nn.LSTM, options.embedding_size, size, layers, options.dropout, **options.between)
        self.fc_out = nn.Linear(size, vocab_size)
        self.dropout = nn.Dropout(options.dropout)

    def start(self, memory: Memory) -> State:
        return memory.states

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """tokens (N,) int64 -> h of the last layer (N, H), the next h and c (L, N, H)."""
        y, state = self.rnn(self.dropout(self.embedding(tokens)).unsqueeze(0), state)
        return y[0], state

    def sequence(self, tokens: PackedSequence, state: State, memory: Memory, own: Array) -> Tensor:
        """A step that follows a given token does not wait for the one before it: each run of them is computed at once,
        and what is recorded is one call over all steps."""
        sizes = tokens.batch_sizes.array  # the targets of a step are the first ones of the step before
        runs = list(itertools.pairwise([0, *np.flatnonzero(own).tolist(), len(sizes)]))
        if len(runs) > 1 and isinstance(self.rnn, Stack):  # what is between its layers is not incremental
            return super().sequence(tokens, state, memory, own)
        if len(runs) == 1:
            embedded = tokens._replace(data=self.dropout(self.embedding(tokens.data)))
            return self.rnn(embedded, state)[0].data
        given, first = tokens.data.array.copy(), np.cumsum([0, *sizes])
        steps = _IncrementalDecoder(self, state, lengths_of(tokens))
        for start, end in runs:
            features = steps.step(Tensor(given[first[start] : first[end]]))
            if end < len(sizes):
                last = len(features) - int(sizes[end - 1])
                going_on = Tensor(features.array[last : last + int(sizes[end])])
                given[first[end] : first[end + 1]] = self.guess(going_on).array
        return steps.finish(Tensor(given))

    def compiled_search(self, form: str) -> PackedDecoder | None:
        if isinstance(self.rnn, Stack) or changes(self, LSTMDecoder, "step", "log_probs"):
            return None
        return PackedDecoder(self.embedding, self.rnn, self.fc_out, form)


class _IncrementalDecoder:
    """The decoder under way, where tokens may depend on its features: see ``nn.IncrementalLSTM``. All is packed.

    Args:
        decoder: on which the tape is to be recorded.
        state: the first one.
        lengths: (N,) int64, steps of each target.
    """

    def __init__(self, decoder: LSTMDecoder, state: State, lengths: Array) -> None:
        h0, c0 = state
        self._embedding = decoder.embedding
        self._dropout = nn.IncrementalDropout(decoder.dropout.p, decoder.training)
        self._rnn = nn.IncrementalLSTM(decoder.rnn, (h0, c0), lengths)

    @no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """The tokens (R,) of the next steps -> features (R, H), off the tape."""
        return self._rnn.step(self._dropout.step(self._embedding(tokens)))

    def finish(self, tokens: Tensor) -> Tensor:
        """All steps on the tape: tokens (P,), those of the steps -> features (P, H)."""
        return self._rnn.finish(self._dropout.finish(self._embedding(tokens)))[0]
