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
from minigrad import Tensor, nn, no_grad, random
from seq2seq.config import Config
from seq2seq.data import Batch
from seq2seq.vocabulary import PAD_ID

Array = np.ndarray


class State(NamedTuple):
    """What the decoder carries from step to step: h and c of every layer, (L,N,H) each."""

    h: Tensor
    c: Tensor

    def select(self, rows: Array) -> State:
        """The state of some rows of the batch, in the order of ``rows`` (int64)."""
        return State(Tensor(self.h.array[:, rows]), Tensor(self.c.array[:, rows]))


class Encoder(nn.Module):
    """Embedding and stacked LSTM over the source."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
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
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.rnn = nn.LSTM(embedding_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0)
        self.fc_out = nn.Linear(hidden_size, vocab_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, trg_input: Tensor, state: State, lengths: Array | None = None) -> tuple[Tensor, State]:
        """Any number of steps: trg_input (T,N) int64, lengths (N,) int64 up to T -> outputs (T,N,H), next state."""
        outputs, (h, c) = self.rnn(self.dropout(self.embedding(trg_input)), tuple(state), lengths=lengths)
        return outputs, State(h, c)


class Seq2Seq(nn.Module):
    """Encoder and decoder with the loss that trains them.

    Args:
        src_vocab_size, trg_vocab_size: rows of the two embeddings; the target's is also the number of outputs.
        config: sizes, dropout and initialisation.
    """

    def __init__(self, src_vocab_size: int, trg_vocab_size: int, config: Config) -> None:
        super().__init__()
        sizes = config.embedding_size, config.hidden_size, config.num_layers, config.dropout
        self.encoder = Encoder(src_vocab_size, *sizes)
        self.decoder = Decoder(trg_vocab_size, *sizes)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -config.init_range, config.init_range)

    def loss(self, batch: Batch, teacher_forcing_ratio: float = 1.0, label_smoothing: float = 0.0) -> Tensor:
        """The sum over all real target positions of -log p(word), a 0-d Tensor; divide by ``batch.num_trg_tokens``.

        After each step the decoder is given the right word with probability ``teacher_forcing_ratio``, else its own
        best guess; the choice is made once for the whole batch, as in the tutorials. A step that follows a right word
        does not wait for the one before it, so each run of them goes through one call.
        """
        state = self.encoder(Tensor(batch.src), batch.src_lengths)
        losses = []
        guesses = None
        for start, end in forced_runs(len(batch.trg_input), teacher_forcing_ratio):
            trg_input = batch.trg_input[start:end]
            if guesses is not None:
                trg_input = np.concatenate([guesses[None], trg_input[1:]])
            lengths = np.clip(batch.trg_lengths - start, 0, end - start)
            outputs, state = self.decoder(Tensor(trg_input), state, lengths)
            real = np.arange(end - start)[:, None] < lengths
            logits = self.decoder.fc_out(outputs[real])
            targets = Tensor(batch.trg_output[start:end][real])
            losses.append(F.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing))
            guesses = _guesses(logits.array, real[-1])
        return sum(losses[1:], losses[0])


def _guesses(logits: Array, real: Array) -> Array:
    """The likeliest word of each sentence still going on after a run: its rows are the last of ``logits``."""
    guesses = np.full(len(real), PAD_ID)
    count = int(real.sum())
    if count:
        guesses[real] = logits[-count:].argmax(axis=1)
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
