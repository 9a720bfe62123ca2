"""The plain LSTM encoder-decoder (Sutskever et al., "Sequence to sequence learning with neural networks", 2014).

The encoder's last state is all the decoder sees of the source. Sizes and parameter names are those of the PyTorch
tutorials' first model, so its parameter count is theirs exactly. Everything is time-major; padding costs nothing: words
are packed first, and from the embedding to the loss there are only real positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import minigrad.nn.functional as F
from minigrad import Tensor, autocast, device, nn, no_grad, random
from minigrad.nn.utils.rnn import PackedSequence, lengths_of, pack_padded_sequence
from seq2seq.run.config import Config
from seq2seq.run.devices import allow_tf32
from seq2seq.sources import Batch

Array = np.ndarray


class State(NamedTuple):
    """What the decoder carries from step to step: h and c of every layer, (L,N,H) each."""

    h: Tensor
    c: Tensor


class Words(NamedTuple):
    """The real words of a batch, packed: step by step, in each step the longest sentence first."""

    src: PackedSequence  # data (P,) int64
    given: PackedSequence  # the target's <sos> and words
    targets: Tensor  # what is to follow each of them, its words and <eos>

    def to(self, where: device) -> Words:
        return Words(self.src.to(where), self.given.to(where), self.targets.to(where))


def pack_batch(batch: Batch) -> Words:
    """The words of a batch without its padding, on the CPU."""
    src = pack_padded_sequence(Tensor(batch.src), batch.src_lengths, enforce_sorted=False)
    both = Tensor(np.stack([batch.trg_input, batch.trg_output], axis=2))
    trg = pack_padded_sequence(both, batch.trg_lengths, enforce_sorted=False)
    given, targets = (Tensor(column) for column in trg.data.array.T)
    return Words(src, trg._replace(data=given), targets)


class Encoder(nn.Module):
    """Embedding and stacked LSTM over the source."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size, sparse=True)
        self.rnn = nn.LSTM(embedding_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, src: Tensor | PackedSequence, src_lengths: Array | None = None) -> State:
        """src (S,N) int64 and src_lengths (N,), or packed -> the state after each sentence's last token."""
        if not isinstance(src, PackedSequence):
            src = pack_padded_sequence(src, src_lengths, enforce_sorted=False)
        _, (h, c) = self.rnn(src._replace(data=self.dropout(self.embedding(src.data))))
        return State(h, c)


class Decoder(nn.Module):
    """Embedding, stacked LSTM and output layer over the target."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size, sparse=True)
        self.rnn = nn.LSTM(embedding_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0)
        self.fc_out = nn.Linear(hidden_size, vocab_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: Tensor | PackedSequence, state: State) -> tuple[Any, State]:
        """Any number of steps: words (T,N) int64 -> outputs (T,N,H), next state; packed, (P,) -> (P,H)."""
        if isinstance(words, PackedSequence):
            embedded: Any = words._replace(data=self.dropout(self.embedding(words.data)))
        else:
            embedded = self.dropout(self.embedding(words))
        outputs, (h, c) = self.rnn(embedded, tuple(state))
        return outputs, State(h, c)


class IncrementalDecoder:
    """A decoder whose next words may depend on its outputs: see ``nn.IncrementalLSTM``. Everything is packed.

    Args:
        decoder: on which the tape is to be recorded.
        state: the first one.
        lengths: (N,) int64, steps of each sentence.
    """

    def __init__(self, decoder: Decoder, state: State, lengths: Array) -> None:
        self._embedding = decoder.embedding
        self._dropout = nn.IncrementalDropout(decoder.dropout.p, decoder.training)
        self._rnn = nn.IncrementalLSTM(decoder.rnn, state, lengths)

    @no_grad()
    def step(self, words: Tensor) -> Tensor:
        """The words (R,) of the next steps -> outputs (R,H), off the tape."""
        return self._rnn.step(self._dropout.step(self._embedding(words)))

    def finish(self, words: Tensor) -> Tensor:
        """All steps on the tape: words (P,), those of the steps -> outputs (P,H)."""
        return self._rnn.finish(self._dropout.finish(self._embedding(words)))[0]


class Seq2Seq(nn.Module):
    """Encoder and decoder with the loss that trains them.

    Args:
        src_vocab_size, trg_vocab_size: rows of the two embeddings; the target's is also the number of outputs.
        config: sizes, dropout and initialisation.
    """

    def __init__(self, src_vocab_size: int, trg_vocab_size: int, config: Config) -> None:
        super().__init__()
        self.precision = config.precision
        sizes = config.embedding_size, config.hidden_size, config.num_layers, config.dropout
        self.encoder = Encoder(src_vocab_size, *sizes)
        self.decoder = Decoder(trg_vocab_size, *sizes)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -config.init_range, config.init_range)

    @property
    def bf16(self) -> bool:
        """Whether products are in bfloat16."""
        return self.precision == "bf16"

    @property
    def device(self) -> device:
        """Where the weights are."""
        return self.encoder.embedding.weight.device

    def loss(
        self,
        batch: Batch,
        teacher_forcing_ratio: float = 1.0,
        label_smoothing: float = 0.0,
        own: npt.ArrayLike | None = None,
    ) -> Tensor:
        """The sum over all real target positions of -log p(word), a 0-d Tensor; divide by ``batch.num_trg_tokens``.

        After each step the decoder is given the right word with probability ``teacher_forcing_ratio``, else its own
        best guess; the choice is made once for the whole batch, as in the tutorials. Products are in the model's
        precision.

        Args:
            own: (T,) bool, the choices themselves: the steps that are given the model's own guess. Step 0 never is.
        """
        return self.loss_of(pack_batch(batch).to(self.device), teacher_forcing_ratio, label_smoothing, own)

    def loss_of(
        self,
        words: Words,
        teacher_forcing_ratio: float = 1.0,
        label_smoothing: float = 0.0,
        own: npt.ArrayLike | None = None,
    ) -> Tensor:
        """``loss`` of a batch that is packed already, and where the weights are."""
        allow_tf32(self.precision)  # in the backward too
        with autocast(self.device.type, enabled=self.bf16):
            state = self.encoder(words.src)
            if own is None:
                own = draw_own(len(words.given.batch_sizes), teacher_forcing_ratio)
            outputs = self._decode(words.given, state, np.asarray(own))
            layer = self.decoder.fc_out
            return F.linear_cross_entropy(
                outputs, layer.weight, layer.bias, words.targets, reduction="sum", label_smoothing=label_smoothing
            )

    def _decode(self, given: PackedSequence, state: State, own: Array) -> Tensor:
        """The decoder's outputs (P,H). A step that follows a right word does not wait for the one before it: each run
        of them is one call, and what is recorded is one call over all steps."""
        sizes = given.batch_sizes.array  # the sentences of a step are the first ones of the step before
        runs = list(itertools.pairwise([0, *(np.flatnonzero(own[1 : len(sizes)]) + 1).tolist(), len(sizes)]))
        if len(runs) == 1:
            return self.decoder(given, state)[0].data
        words, first = given.data.array.copy(), np.cumsum([0, *sizes])
        decoder, layer = IncrementalDecoder(self.decoder, state, lengths_of(given)), self.decoder.fc_out
        for start, end in runs:
            outputs = decoder.step(Tensor(words[first[start] : first[end]]))
            if end < len(sizes):
                going_on = outputs[len(outputs) - sizes[end - 1] :][: sizes[end]]
                guesses = F.linear_argmax(going_on, layer.weight, layer.bias)
                words[first[end] : first[end + 1]] = guesses.array
        return decoder.finish(Tensor(words))


def draw_own(num_steps: int, teacher_forcing_ratio: float) -> Array:
    """(T,) bool: which steps are given the model's own word, each but the first with probability 1 - ratio."""
    own = np.zeros(num_steps, bool)
    if teacher_forcing_ratio == 0:
        own[1:] = True
    elif teacher_forcing_ratio < 1:
        own[1:] = random.generator().random(num_steps - 1) >= teacher_forcing_ratio
    return own


def build_model(src_vocab_size: int, trg_vocab_size: int, config: Config) -> Seq2Seq:
    """The model of ``config`` with weights that are a function of its seed, in its precision, on its device."""
    random.manual_seed(config.seed)
    model = Seq2Seq(src_vocab_size, trg_vocab_size, config)
    return (model.double() if config.precision == "fp64" else model).to(config.device)


@no_grad()
def sequence_losses(model: Seq2Seq, batches: Sequence[Batch], teacher_forcing_ratio: float) -> tuple[float, int]:
    """The summed -log p over all real target positions of ``batches``, and their number."""
    model.eval()
    total = sum(float(model.loss(batch, teacher_forcing_ratio).item()) for batch in batches)
    return total, sum(batch.num_trg_tokens for batch in batches)
