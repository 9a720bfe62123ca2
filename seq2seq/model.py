"""The plain LSTM encoder-decoder (Sutskever et al., "Sequence to sequence learning with neural networks", 2014).

The encoder's last state is all the decoder sees of the source. Sizes and parameter names are those of the PyTorch
tutorials' first model, so its parameter count is theirs exactly. Everything is time-major; padding costs nothing: the
LSTM layers skip what is past a sentence's length, and only real positions reach the output layer and the loss.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

import minigrad.nn.functional as F
from minigrad import Tensor, autocast, nn, no_grad, random
from seq2seq.config import Config
from seq2seq.data import Batch
from seq2seq.vocabulary import PAD_ID

Array = np.ndarray


class State(NamedTuple):
    """What the decoder carries from step to step: h and c of every layer, (L,N,H) each."""

    h: Tensor
    c: Tensor


class Encoder(nn.Module):
    """Embedding and stacked LSTM over the source."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size, sparse=True)
        self.rnn = nn.LSTM(embedding_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, src: Tensor, src_lengths: Array) -> State:
        """src (S,N) int64, src_lengths (N,) int64 -> the state after each sentence's last token."""
        _, (h, c) = self.rnn(self.dropout(self.embedding(src)), lengths=src_lengths)
        return State(h, c)


class Decoder(nn.Module):
    """Embedding, stacked LSTM and output layer over the target."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size, sparse=True)
        self.rnn = nn.LSTM(embedding_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0)
        self.fc_out = nn.Linear(hidden_size, vocab_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, trg_input: Tensor, state: State, lengths: Array | None = None) -> tuple[Tensor, State]:
        """Any number of steps: trg_input (T,N) int64, lengths (N,) int64 up to T -> outputs (T,N,H), next state."""
        outputs, (h, c) = self.rnn(self.dropout(self.embedding(trg_input)), tuple(state), lengths=lengths)
        return outputs, State(h, c)


class DecoderInPieces:
    """A decoder whose next words may depend on its outputs: see ``nn.StackInPieces``. Arguments as ``Decoder.forward``,
    with the number of steps in place of the words."""

    def __init__(self, decoder: Decoder, state: State, num_steps: int, lengths: Array) -> None:
        self._decoder = decoder
        self._dropout = nn.DropoutInPieces(decoder.dropout.p, decoder.training)
        self._stack = nn.StackInPieces(decoder.rnn, state, num_steps, lengths)
        self._steps = 0

    def extend(self, words: Array) -> Array:
        """The next steps: words (S,N) -> outputs (S,N,H), off the tape."""
        start, self._steps = self._steps, self._steps + len(words)
        with no_grad():
            embedded = self._decoder.embedding(Tensor(words)).array
        return self._stack.extend(self._dropout.part(embedded, start))

    def finish(self, words: Array) -> Tensor:
        """All steps on the tape: words (T,N), those of the pieces -> outputs (T,N,H)."""
        return self._stack.finish(self._dropout.whole(self._decoder.embedding(Tensor(words))))[0]


class Seq2Seq(nn.Module):
    """Encoder and decoder with the loss that trains them.

    Args:
        src_vocab_size, trg_vocab_size: rows of the two embeddings; the target's is also the number of outputs.
        config: sizes, dropout and initialisation.
    """

    def __init__(self, src_vocab_size: int, trg_vocab_size: int, config: Config) -> None:
        super().__init__()
        self.bf16 = config.precision == "bf16"
        sizes = config.embedding_size, config.hidden_size, config.num_layers, config.dropout
        self.encoder = Encoder(src_vocab_size, *sizes)
        self.decoder = Decoder(trg_vocab_size, *sizes)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -config.init_range, config.init_range)

    def loss(self, batch: Batch, teacher_forcing_ratio: float = 1.0, label_smoothing: float = 0.0) -> Tensor:
        """The sum over all real target positions of -log p(word), a 0-d Tensor; divide by ``batch.num_trg_tokens``.

        After each step the decoder is given the right word with probability ``teacher_forcing_ratio``, else its own
        best guess; the choice is made once for the whole batch, as in the tutorials. Products are in bfloat16 if the
        model's precision is that.
        """
        with autocast("cpu", enabled=self.bf16):
            state = self.encoder(Tensor(batch.src), batch.src_lengths)
            real = np.arange(len(batch.trg_output))[:, None] < batch.trg_lengths
            outputs = self._decode(batch, state, teacher_forcing_ratio)[real]
            layer, targets = self.decoder.fc_out, Tensor(batch.trg_output[real])
            return F.linear_cross_entropy(
                outputs, layer.weight, layer.bias, targets, reduction="sum", label_smoothing=label_smoothing
            )

    def _decode(self, batch: Batch, state: State, teacher_forcing_ratio: float) -> Tensor:
        """The decoder's outputs (T,N,H). A step that follows a right word does not wait for the one before it: each run
        of them is one piece, and what is recorded is one call over all steps."""
        runs = list(forced_runs(len(batch.trg_input), teacher_forcing_ratio))
        if len(runs) == 1:
            return self.decoder(Tensor(batch.trg_input), state, batch.trg_lengths)[0]
        words = batch.trg_input.copy()
        pieces = DecoderInPieces(self.decoder, state, len(words), batch.trg_lengths)
        for start, end in runs:
            outputs = pieces.extend(words[start:end])
            if end < len(words):
                words[end] = self._guesses(outputs[-1], batch.trg_lengths > end)
        return pieces.finish(words)

    def _guesses(self, outputs: Array, going_on: Array) -> Array:
        """The likeliest word of each sentence that goes on, padding for the others: outputs (N,H), going_on (N,)."""
        guesses = np.full(len(going_on), PAD_ID)
        layer = self.decoder.fc_out
        guesses[going_on] = F.linear_argmax(Tensor(outputs[going_on]), layer.weight, layer.bias).array
        return guesses


def forced_runs(num_steps: int, teacher_forcing_ratio: float) -> Iterator[tuple[int, int]]:
    """Cuts the steps into runs [start, end): the first step of a run (but not step 0) gets the model's own word."""
    own = np.zeros(num_steps, bool)
    if teacher_forcing_ratio == 0:
        own[1:] = True
    elif teacher_forcing_ratio < 1:
        own[1:] = random.generator().random(num_steps - 1) >= teacher_forcing_ratio
    starts = [0, *np.flatnonzero(own).tolist(), num_steps]
    return itertools.pairwise(starts)


def build_model(src_vocab_size: int, trg_vocab_size: int, config: Config) -> Seq2Seq:
    """The model of ``config`` with weights that are a function of its seed, in its precision."""
    random.manual_seed(config.seed)
    model = Seq2Seq(src_vocab_size, trg_vocab_size, config)
    return model.double() if config.precision == "fp64" else model


@no_grad()
def sequence_losses(model: Seq2Seq, batches: Sequence[Batch], teacher_forcing_ratio: float) -> tuple[float, int]:
    """The summed -log p over all real target positions of ``batches``, and their number."""
    model.eval()
    total = sum(float(model.loss(batch, teacher_forcing_ratio).item()) for batch in batches)
    return total, sum(batch.num_trg_tokens for batch in batches)
