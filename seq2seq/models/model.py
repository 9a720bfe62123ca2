"""Seq2Seq: an encoder and a decoder, whichever they are, with the loss that trains them.

Everything is time-major; padding costs nothing: tokens are packed first, and from the embedding to the loss there are
only real positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad import Tensor, autocast, device, nn, no_grad, random
from minigrad.nn.utils.rnn import PackedSequence, pack_padded_sequence
from minigrad.shapes_only import shapes_only
from seq2seq.models import copying
from seq2seq.models.contract import Decoder, Encoder, Memory, State
from seq2seq.models.inputs import Inputs
from seq2seq.models.masks import Masks
from seq2seq.models.tying import tie
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.devices import allow_tf32
from seq2seq.run.errors import UserError
from seq2seq.sources import Batch, Source

Array = np.ndarray
_SOME_WORDS = 9  # of either side, where it does not matter how many


class PackedBatch(NamedTuple):
    """The real positions of a batch, packed: step by step, in each step the longest first."""

    src: PackedSequence  # data (P,) int64 ids, or (P, F) rows of numbers
    given: PackedSequence  # the target's <sos> and tokens
    targets: Tensor  # what is to follow each of them, its tokens and <eos>
    copies: Array | None = None  # of ``Memory``

    def to(self, where: device) -> PackedBatch:
        return PackedBatch(self.src.to(where), self.given.to(where), self.targets.to(where), self.copies)


def pack_batch(batch: Batch) -> PackedBatch:
    """A batch without its padding, on the CPU."""
    src = pack_padded_sequence(Tensor(batch.src), batch.src_lengths, enforce_sorted=False)
    both = Tensor(np.stack([batch.trg_input, batch.trg_output], axis=2))
    trg = pack_padded_sequence(both, batch.trg_lengths, enforce_sorted=False)
    given, targets = (Tensor(column) for column in trg.data.array.T)
    return PackedBatch(src, trg._replace(data=given), targets)


class Seq2Seq(nn.Module):
    """Encoder and decoder with the loss that trains them.

    Args:
        num_inputs: of a source of ids its vocabulary, else its features.
        vocab_size: the target's, V.
        config: which source, encoder and decoder, their options, the range of the first weights, the precision.

    Raises:
        UserError: parts that do not fit each other.
    """

    def __init__(self, num_inputs: int, vocab_size: int, config: Config) -> None:
        super().__init__()
        self.precision, self.form = config.precision, "full"  # of what the weights are: ``quantise.FORMS``
        self.source: Source = registry.build("source", config)
        reads = registry.reads(config)
        self.copies: bool = reads.copies
        if self.copies and not self.source.ids:
            raise UserError(f"decoder {config.decoder} copies words of the source; expected a source of text")
        self.encoder: Encoder = registry.build("encoder", config, Inputs(num_inputs, self.source.ids), reads)
        self.decoder: Decoder = registry.build("decoder", config, vocab_size, self.encoder.memory_shape)
        self.output_dropout = nn.Dropout(config.output_dropout)
        self._encoder_masks, self._decoder_masks = (
            Masks(part, registry.chosen_options(kind, part.name, config), config.embedding_dropout)
            for kind, part in (("encoder", self.encoder), ("decoder", self.decoder))
        )
        tie(self.encoder, self.decoder, config)
        for part in (self.encoder, self.decoder):
            part.init_weights(config.init_range)

    @property
    def bf16(self) -> bool:
        """Whether products are in bfloat16."""
        return self.precision == "bf16"

    @property
    def vocab_size(self) -> int:
        """V, words of the target that the model has numbers for."""
        return self.decoder.output.weight.shape[0]

    @property
    def device(self) -> device:
        """Where the weights are."""
        return self.decoder.output.weight.device

    def start(self, memory: Memory) -> State:
        """The decoder's first state; TypeError where it is no tuple of tensors."""
        state = self.decoder.start(memory)
        if not isinstance(state, tuple) or not all(isinstance(part, Tensor) for part in state):
            raise TypeError(
                f"decoder {self.decoder.name}: start returned {type(state).__name__}; expected a tuple of tensors"
            )
        return state

    def loss(
        self,
        batch: Batch,
        teacher_forcing_ratio: float = 1.0,
        label_smoothing: float = 0.0,
        own: npt.ArrayLike | None = None,
    ) -> Tensor:
        """The sum over all real target positions of -log p(token), a 0-d Tensor; divide by ``batch.num_trg_tokens``.

        After each step the decoder is given the right token with probability ``teacher_forcing_ratio``, else its own
        best guess; the choice is made once for the whole batch, as in the tutorials. Products are in the model's
        precision.

        Args:
            own: (T,) bool, the choices themselves: the steps that are given the model's own guess. Step 0 never is;
                what stands behind the longest target's end counts for nothing.

        Raises:
            ValueError: ``own`` is shorter than the longest target.
        """
        return self.loss_of(self.pack(batch), teacher_forcing_ratio, label_smoothing, own)

    def pack(self, batch: Batch) -> PackedBatch:
        """A batch without its padding, in the ids that the model has numbers for, where the weights are."""
        if not self.copies:
            return pack_batch(batch).to(self.device)
        batch, copies = copying.within_pairs(batch, self.vocab_size)
        return pack_batch(batch)._replace(copies=copies).to(self.device)

    def remember(self, batch: PackedBatch) -> Memory:
        """The memory of a batch's sources."""
        memory: Memory = self.encoder(batch.src)
        return memory._replace(copies=batch.copies)

    def loss_of(
        self,
        batch: PackedBatch,
        teacher_forcing_ratio: float = 1.0,
        label_smoothing: float = 0.0,
        own: npt.ArrayLike | None = None,
    ) -> Tensor:
        """``loss`` of a batch that is packed already, and where the weights are."""
        allow_tf32(self.precision)  # in the backward too
        num_steps = len(batch.given.batch_sizes)
        with autocast(self.device.type, enabled=self.bf16):
            with self._encoder_masks.of_weights(), self._encoder_masks.of(batch.src):
                memory = self.remember(batch)
            state = self.start(memory)
            own = draw_own(num_steps, teacher_forcing_ratio) if own is None else _checked_own(own, num_steps)
            with self._decoder_masks.of_weights(), self._decoder_masks.of(batch.given):
                features = self.decoder.sequence(batch.given, state, memory, own)
            targets = batch.given._replace(data=batch.targets)
            with self._decoder_masks.of(targets):  # another mask than any before
                return self.decoder.loss(features, targets, memory, label_smoothing, self.output_dropout)


def draw_own(num_steps: int, teacher_forcing_ratio: float) -> Array:
    """(T,) bool: which steps are given the model's own token, each but the first with probability 1 - ratio."""
    own = np.zeros(num_steps, bool)
    if teacher_forcing_ratio == 0:
        own[1:] = True
    elif teacher_forcing_ratio < 1:
        own[1:] = random.generator().random(num_steps - 1) >= teacher_forcing_ratio
    return own


def _checked_own(own: npt.ArrayLike, num_steps: int) -> Array:
    """Choices as a caller gives them, for the steps that there are; never the first."""
    choices = np.array(own, bool)
    if choices.ndim != 1 or len(choices) < num_steps:
        raise ValueError(f"loss: own has shape {choices.shape}; expected ({num_steps},), one for each target step")
    choices = choices[:num_steps]
    choices[:1] = False
    return choices


def build_model(num_inputs: int, vocab_size: int, config: Config) -> Seq2Seq:
    """The model of ``config`` with weights that are a function of its seed, in its precision, on its device."""
    random.manual_seed(config.seed)
    model = Seq2Seq(num_inputs, vocab_size, config)
    return (model.double() if config.precision == "fp64" else model).to(config.device)


@no_grad()
def require_fitting_parts(config: Config) -> None:
    """UserError where the parts of a run do not fit each other, whatever its data: a model of a few words is built, but
    for its numbers."""
    with shapes_only():
        Seq2Seq(_SOME_WORDS, _SOME_WORDS, config)


def sequence_losses(model: Seq2Seq, batches: Sequence[Batch], teacher_forcing_ratio: float) -> tuple[float, int]:
    """The summed -log p over all real target positions of ``batches``, and their number."""
    model.eval()
    total = sum(float(model.loss(batch, teacher_forcing_ratio).item()) for batch in batches)
    return total, sum(batch.num_trg_tokens for batch in batches)
