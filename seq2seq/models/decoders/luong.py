"""The decoder with attention of Luong et al., "Effective approaches to attention-based neural machine translation"
(2015), with the input feeding of section 3.3: the attentional vector of a step is what the next one reads.

    h_t = RNN([embedding; a_(t-1)], h_(t-1)),  a_t = tanh(W_c [context; h_t] + b),  a_0 = 0

with the context of the last layer's h_t. a_t is both the features for the output layer and what the first layer reads
beside the next token. The decoder ``attention`` with input feeding differs: it feeds the context, and attends with its
first layer (Wu et al., 2016), which a kernel does for all steps at once; here each step waits for the features of the
one before, and so they go one by one.

H state size, N sources, P packed rows, F feature size, S positions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from minigrad import Tensor, cat
from minigrad.nn.utils.rnn import PackedSequence, lengths_of
from seq2seq.models.contract import Array, Decoder, Memory, State
from seq2seq.models.decoders.attention import (
    AttentionDecoder,
    AttentionOptions,
    Named,
    ScoreOptions,
    attended_of,
    through_stack,
)
from seq2seq.run.registry import option, register


@dataclass(frozen=True)
class LuongOptions(ScoreOptions):
    """Those of ``attention``, but that its input is always fed."""

    linear_features: bool = option(False, "leave out the tanh of what the output layer and the next step read")


@register("decoder", "luong")
class LuongDecoder(AttentionDecoder):
    """``attention`` whose recurrent layers read the features of the step before."""

    Options = LuongOptions
    feeds_features = True

    def __init__(self, options: LuongOptions, vocab_size: int, memory: Any) -> None:
        super().__init__(options, vocab_size, memory)
        self._linear = options.linear_features

    @classmethod
    def chosen(cls, options: Any) -> AttentionOptions:
        shared = asdict(options)
        shared.pop("linear_features")
        return AttentionOptions(**shared)

    def sequence(self, tokens: PackedSequence, state: State, memory: Memory, own: Array) -> Tensor:
        """Step by step, whatever is given."""
        return Decoder.sequence(self, tokens, state, memory, own)

    def features(self, layers: Any, context: Tensor, top: Tensor, embedded: Tensor, alignment: Tensor) -> Tensor:
        if self._linear:
            combined: Tensor = layers.combine(cat([context, top], 1))
            return combined
        return super().features(layers, context, top, embedded, alignment)

    def compiled_search(self, form: str) -> None:
        """No kernel feeds features."""

    def _run(self, tokens: PackedSequence, state: Named, memory: Memory, layers: Any) -> tuple[Tensor, Tensor, Named]:
        """One step, as the base class has it; the features are kept too."""
        embedded = self.dropout(self.embedding(tokens.data))
        x = tokens._replace(data=cat([embedded, state["features"]], 1))
        top, after = through_stack(layers.rnn, x, state)
        context, alignment = self.attention(top, attended_of(state, memory), state.get("coverage"), lengths_of(tokens))
        features = self.features(layers, context, top, embedded, alignment)
        return features, alignment, after | {"features": features}
