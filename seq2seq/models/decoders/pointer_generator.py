"""The pointer-generator decoder: a word is written from the vocabulary, or copied from the source (See et al., "Get to
the point: summarization with pointer-generator networks", 2017, equations 8, 9 and 11 to 13).

    P(w) = g P_vocab(w) + (1 - g) sum of a_s over the positions s that hold w
    g    = sigmoid(w [context; h; embedding] + b)

with a the alignment of the step. Words that only the source knows are copied too. The coverage loss adds, for every
step, sum_s min(a_s, c_s), with c the sum of the alignments before: to look at the same place again costs something.

H state size, P packed rows, R rows, S source positions, N sources, V vocabulary; ids as in ``seq2seq.models.copying``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import Tensor, cat, nn, ops, zeros
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import PackedSequence, pad_packed_sequence, rows_of
from seq2seq.models.contract import Memory, MemoryShape, Reads, State
from seq2seq.models.decoders.attention import AttentionDecoder, AttentionOptions
from seq2seq.run.errors import UserError
from seq2seq.run.registry import option, register
from seq2seq.text.vocabulary import UNK_ID

Array = np.ndarray
LEAST = float(np.finfo(np.float32).tiny)  # of a probability whose logarithm is taken in a loss


@dataclass(frozen=True)
class PointerGeneratorOptions(AttentionOptions):
    """Those of ``attention``, and what looking twice costs."""

    coverage_loss: float = option(0.0, "the weight of the loss for attending to the same positions again", 0.0, 100.0)


@register("decoder", "pointer-generator")
class PointerGeneratorDecoder(AttentionDecoder):
    """``attention`` that can copy. Its features are [those of ``attention``; the logit of g; the alignment]."""

    Options = PointerGeneratorOptions

    def __init__(self, options: PointerGeneratorOptions, vocab_size: int, memory: MemoryShape) -> None:
        super().__init__(options, vocab_size, memory)
        self._vocab_size, self._coverage_loss = vocab_size, options.coverage_loss
        self.generate = nn.Linear(memory.output_size + options.hidden_size + options.embedding_size, 1)

    @classmethod
    def reads_of(cls, options: Any) -> Reads:
        return super().reads_of(options)._replace(copies=True)

    def start(self, memory: Memory) -> State:
        assert memory.copies is not None  # they are read, and so they are there
        assert memory.outputs is not None
        if len(memory.copies) != len(memory.outputs):
            raise UserError(
                f"decoder {self.name} copies what stands at a position of the source; the encoder made "
                f"{len(memory.outputs)} outputs of {len(memory.copies)} positions; expected one for each"
            )
        return super().start(memory)

    def step(self, tokens: Tensor, state: State, memory: Memory, layers: Any = None) -> tuple[Tensor, State]:
        return super().step(self._known(tokens), state, memory, layers)

    def features(self, layers: Any, context: Tensor, top: Tensor, embedded: Tensor, alignment: Tensor) -> Tensor:
        written = super().features(layers, context, top, embedded, alignment)
        return cat([written, self.generate(cat([context, top, embedded], 1)), alignment], 1)

    def log_probs(
        self, features: Tensor, copies: Array | None, output: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """(R, V + S): of the vocabulary, then of the copies; -inf of what the source does not have."""
        written, generate, alignment = self._split(features)
        assert copies is not None  # they are read, and so they are there
        words = F.softmax((output or self.output)(written), -1) * generate
        nothing = zeros(*alignment.shape, dtype=words.dtype, device=words.device)
        places = Tensor(np.ascontiguousarray(copies.T)).to(words.device)
        both = ops.scatter_add(cat([words, nothing], 1), 1, places, alignment * (-generate + 1))
        with np.errstate(divide="ignore"):  # of what has no probability
            return ops.log(both)

    def loss(
        self, features: Tensor, targets: PackedSequence, memory: Memory, label_smoothing: float, dropout: nn.Module
    ) -> Tensor:
        """Smoothed is what the vocabulary gives; in training the coverage loss is added."""
        written, generate, alignment = self._split(features)
        assert memory.copies is not None  # they are read, and so they are there
        logits, ids = self.output(dropout(written)), targets.data
        places = Tensor(np.ascontiguousarray(memory.copies[:, rows_of(targets)].T)).to(ids.device)
        in_vocabulary = (ids < self._vocab_size).to(logits.dtype)
        by_word = ops.exp(-F.cross_entropy(logits, self._known(ids), reduction="none")) * in_vocabulary
        by_place = (alignment * (places == ids.unsqueeze(1)).to(logits.dtype)).sum(1)
        generate = generate.squeeze(1)
        total = -ops.log(ops.clamp(generate * by_word + (1 - generate) * by_place, min=LEAST)).sum()
        if label_smoothing:
            even = -F.log_softmax(logits, -1).mean(1).sum()
            total = (1 - label_smoothing) * total + label_smoothing * even
        return total + self._looked_at_again(targets._replace(data=alignment)) if self._counts_coverage else total

    def guess(self, features: Tensor, copies: Array | None = None) -> Tensor:
        return self.log_probs(features.detach(), copies).argmax(-1)

    @property
    def _counts_coverage(self) -> bool:
        return self.training and self._coverage_loss > 0

    def _looked_at_again(self, alignment: PackedSequence) -> Tensor:
        """The coverage loss of the alignments (P, S) of all steps, weighted."""
        weights, _ = pad_packed_sequence(alignment)
        before = ops.cumsum(weights, 0) - weights
        return ops.minimum(weights, before).sum() * self._coverage_loss

    def _split(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What ``attention`` makes (R, H), g (R, 1), the alignment (R, S)."""
        size = self.output.in_features
        return features[:, :size], ops.sigmoid(features[:, size : size + 1]), features[:, size + 1 :]

    def _known(self, tokens: Tensor) -> Tensor:
        """<unk> for what the vocabulary does not have."""
        return ops.masked_fill(tokens, tokens >= self._vocab_size, UNK_ID)
