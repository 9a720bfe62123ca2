"""Decoders that attend to the encoder's outputs, with any score and cell (Luong et al., "Effective approaches to
attention-based neural machine translation", 2015; Bahdanau et al., "Neural machine translation by jointly learning to
align and translate", 2015).

    features = tanh(W_c [context; h] + b),  context = sum of the outputs with the weights of the alignment

or, with a plain output, [context; h; embedded token], which the output layer reads as they are.

Without input feeding the recurrent layers do not know what was attended to, and all states ask at once. With it the
first layer reads the context of the step before, and those above it that of the step itself (Wu et al., 2016). The
decoder ``bahdanau`` attends with the state before: its context is an input of the step that it is read for. A sequence
whose tokens are given needs no step in Python in any of them.

E embedding size, H state size, D size of an encoder's outputs, N sources, S positions, P packed rows, L layers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar
from weakref import proxy

import numpy as np

from minigrad import Tensor, cat, nn, tanh, zeros
from minigrad.decoding import (
    AttentiveSearchState,
    DecoderReading,
    PackedAttentiveDecoder,
    PackedLinear,
    PackedLSTM,
    SearchState,
)
from minigrad.nn.utils.rnn import PackedSequence, delay_sequence, lengths_of
from seq2seq.models.attention import Attended, Attention, AttentiveRNN, PrepackedAttentiveRNN
from seq2seq.models.cells import CELLS, CellOptions, cell_of
from seq2seq.models.contract import Decoder, Memory, MemoryShape, Reads, State, changes, require_states
from seq2seq.models.options import RecurrentDecoderOptions
from seq2seq.models.stack import layers_of
from seq2seq.run.registry import option, register

Array = np.ndarray
Named = dict[str, Tensor]  # parts of a state by name


_PLAIN_OUTPUT: Any = (False, "let the output layer read context, state and token, without a layer between")


@dataclass(frozen=True)
class CoverageOptions(CellOptions):
    """Those of every decoder with attention and a choice of cells."""

    coverage: bool = option(False, "let what was attended to before enter the score, an additive one")


@dataclass(frozen=True)
class BahdanauOptions(CoverageOptions):
    """Those of a decoder whose score is given."""

    plain_output: bool = option(*_PLAIN_OUTPUT)


@dataclass(frozen=True)
class ScoreOptions(CoverageOptions):
    """Those of a decoder with a choice of scores too."""

    attention: str = option("general", "how a state is compared with a position: dot, scaled, general, or additive")


@dataclass(frozen=True)
class AttentionOptions(ScoreOptions):
    """All that can be chosen."""

    input_feeding: bool = option(False, "let the next step read what this one attended to")
    plain_output: bool = option(*_PLAIN_OUTPUT)


@register("decoder", "attention")
class AttentionDecoder(Decoder):
    """Embedding, recurrent layers, attention and output layer.

    Its state is h (L, N, H) and, of an LSTM, c; with input feeding the context (N, D) that the next step reads; the
    last alignment (N, S), and the next one where that is known; with coverage that too (N, S); and the keys (S, N, H)
    where the score is additive. A subclass may keep its last features (N, H).

    Attributes:
        attends_before: whether a step reads what the state before it attends to.
        feeds_features: whether the recurrent layers read the features of the step before beside the token.
    """

    Options: ClassVar[type] = AttentionOptions
    attends_before: ClassVar[bool] = False
    feeds_features: ClassVar[bool] = False

    def __init__(self, options: Any, vocab_size: int, memory: MemoryShape) -> None:
        super().__init__()
        chosen, depth = self.chosen(options), memory.output_size
        size, cell, layers, width = chosen.hidden_size, cell_of(chosen, CELLS), chosen.num_layers, chosen.embedding_size
        require_states(self.name, memory, ((layers, size),) * self.reads_of(options).states)
        self.attention = Attention(chosen.attention, size, depth, chosen.coverage)
        self.embedding = nn.Embedding(vocab_size, width, sparse=True)
        self.attentive = AttentiveRNN(cell, width, depth, size) if chosen.input_feeding else None
        if chosen.input_feeding:
            layers, width = layers - 1, size + depth
        self.norm = nn.LayerNorm(size) if chosen.input_feeding and chosen.decoder_layer_norm else nn.Identity()
        width += size if self.feeds_features else 0
        self.rnn = layers_of(CELLS[cell], width, size, layers, chosen.dropout, **chosen.between) if layers else None
        self.combine = None if chosen.plain_output else nn.Linear(depth + size, size)
        self.fc_out = nn.Linear(depth + size + chosen.embedding_size if chosen.plain_output else size, vocab_size)
        self.dropout = nn.Dropout(chosen.dropout)
        kept = {"h": True, "c": cell == "lstm", "context": chosen.input_feeding, "next": self.attends_before}
        kept |= {"features": self.feeds_features, "alignment": True, "coverage": chosen.coverage}
        kept |= {"keys": self.attention.key is not None}
        self._parts = tuple(name for name, is_kept in kept.items() if is_kept)
        uncompiled = chosen.coverage or chosen.plain_output or any(chosen.between.values())
        self._compilable = cell in ("lstm", "gru") and not uncompiled

    @classmethod
    def chosen(cls, options: Any) -> AttentionOptions:
        """All choices; some decoders have made some of them."""
        return options

    @classmethod
    def reads_of(cls, options: Any) -> Reads:
        cell = CELLS[cell_of(cls.chosen(options), CELLS)]
        return Reads(states=len(cell.state_names), outputs=True)

    def start(self, memory: Memory) -> State:
        values = memory.outputs
        assert values is not None  # they are read, and so they are there
        S, N, D = values.shape
        of_zeros = partial(zeros, dtype=values.dtype, device=values.device)
        nothing = of_zeros(N, S)
        state = dict(zip(("h", "c"), memory.states, strict=False)) | {"alignment": nothing, "coverage": nothing}
        state |= {"context": of_zeros(N, D), "features": of_zeros(N, self.output.in_features)}
        state |= {"keys": self.attention.keys(values)}
        if self.attends_before:
            first = state["coverage"] if "coverage" in self._parts else None
            read = self.attention(state["h"][0], attended_of(state, memory), first, np.ones(N, np.int64))
            state |= {"context": read[0], "next": read[1], "coverage": read[1]}
        return tuple(state[name] for name in self._parts)

    def alignment(self, state: State) -> Tensor:
        return state[self._parts.index("alignment")]

    def step(self, tokens: Tensor, state: State, memory: Memory, layers: Any = None) -> tuple[Tensor, State]:
        """tokens (N,) int64 -> features (N, H), the next state; ``layers``: other ones than the decoder's own."""
        now = dict(zip(self._parts, state, strict=True))
        one = PackedSequence(tokens, Tensor(np.array([len(tokens)])))
        features, alignment, after = self._run(one, now, memory, layers or self)
        after |= {"alignment": now["next"], "next": alignment} if self.attends_before else {"alignment": alignment}
        if "coverage" in now:
            after["coverage"] = now["coverage"] + alignment
        return features, tuple((now | after).values())

    def sequence(self, tokens: PackedSequence, state: State, memory: Memory, own: Array) -> Tensor:
        """All steps in one call where every token is given."""
        if own.any():
            return super().sequence(tokens, state, memory, own)
        return self._run(tokens, dict(zip(self._parts, state, strict=True)), memory, self)[0]

    def prepacked(self, bf16: bool) -> PrepackedDecoder:
        return PrepackedDecoder(self, bf16)

    def compiled_search(self, form: str) -> PackedAttentiveDecoder | None:
        """None where there is no such kernel: for Cho's GRU, coverage, a plain output, what may be between layers, a
        GPU, and a subclass that changes what a step gives."""
        changed = changes(self, AttentionDecoder, "start", "step", "features", "log_probs")
        if not self._compilable or self.fc_out.weight.device.type != "cpu" or changed:
            return None
        assert self.combine is not None  # all that is compiled has it
        parts = self.embedding, self.attentive, self.rnn, self.attention, self.combine, self.fc_out
        layers = partial(_weights_of, self.attentive, self.rnn)
        feeding = self.attentive is not None, self.attends_before
        reading = partial(_reading_of, self.attention, self.combine, *feeding)
        modules = [part for part in parts if part is not None]
        return PackedAttentiveDecoder(modules, self.embedding, layers, reading, self.fc_out, form)

    def search_start(self, state: State, memory: Memory) -> AttentiveSearchState:
        now = dict(zip(self._parts, state, strict=True))
        keys, values, lengths = attended_of(now, memory)
        return AttentiveSearchState(SearchState(now["h"], keys, values, now.get("c"), now.get("context")), lengths)

    def _run(self, tokens: PackedSequence, state: Named, memory: Memory, layers: Any) -> tuple[Tensor, Tensor, Named]:
        """Packed tokens (P,) -> features (P, H), alignments (P, S), the last h, c and context."""
        x, attended = tokens._replace(data=self.dropout(self.embedding(tokens.data))), attended_of(state, memory)
        if layers.attentive is None:
            top, after = through_stack(layers.rnn, x, state)
            context, alignment = self.attention(top, attended, state.get("coverage"), lengths_of(tokens))
        else:
            context, alignment, top, after = self._feed_back(layers, x, state, attended)
        return self.features(layers, context, top, x.data, alignment), alignment, after

    def features(self, layers: Any, context: Tensor, top: Tensor, embedded: Tensor, alignment: Tensor) -> Tensor:
        """What a step has for the output layer: of contexts (P, D), the last layer's h (P, H), what the step read
        (P, E), and alignments (P, S)."""
        read = [context, top]
        return cat([*read, embedded], 1) if layers.combine is None else tanh(layers.combine(cat(read, 1)))

    def _feed_back(
        self, layers: Any, x: PackedSequence, state: Named, attended: Attended
    ) -> tuple[Tensor, Tensor, Tensor, Named]:
        """Rows (P, E) through all layers: contexts (P, D) and alignments (P, S), the last layer's h (P, H), the last
        states and context."""
        hidden = [name for name in ("h", "c") if name in state]
        first = state | {name: state[name][0] for name in hidden}
        top, context, alignment, after = layers.attentive(x.data, first, self.attention, attended, lengths_of(x))
        top, last = self.norm(top), {name: after[name].unsqueeze(0) for name in hidden}
        if self.attends_before:
            context = delay_sequence(x._replace(data=context), state["context"]).data
        if layers.rnn is not None:
            both = x._replace(data=self.dropout(cat([top, context], 1)))
            top, others = through_stack(layers.rnn, both, {name: state[name][1:] for name in hidden})
            last = {name: cat([last[name], others[name]]) for name in hidden}
        return context, alignment, top, last | {"context": after["context"]}


def through_stack(rnn: Any, x: PackedSequence, state: Named) -> tuple[Tensor, Named]:
    """Ordinary layers: rows (P, .) -> the last one's h (P, H), the last h and c (L, N, H)."""
    states = state["h"], state.get("c")
    y, last = rnn(x, states[0] if states[1] is None else states)
    return y.data, {"h": last} if states[1] is None else dict(zip(("h", "c"), last, strict=True))


def _weights_of(attentive: AttentiveRNN | None, rnn: Any) -> list[tuple[Tensor, ...]]:
    """weight_ih, weight_hh and both biases of each layer."""
    names = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
    first = [] if attentive is None else [tuple(getattr(attentive, name) for name in names)]
    others = range(0 if rnn is None else rnn.num_layers)
    return first + [tuple(getattr(rnn, f"{name}_l{layer}") for name in names) for layer in others]


def _reading_of(attention: Attention, combine: nn.Linear, feeds: bool, before: bool) -> DecoderReading:
    query = None if attention.query is None else attention.query.weight
    return DecoderReading(combine.weight, combine.bias, query, attention.v, attention.scale, feeds, before)


def attended_of(state: Named, memory: Memory) -> Attended:
    assert memory.outputs is not None  # they are read, and so they are there
    assert memory.lengths is not None
    return Attended(state.get("keys", memory.outputs), memory.outputs, memory.lengths)


class PrepackedDecoder:
    """A decoder with its weights packed for steps without a backward: it calls these layers instead of its own."""

    def __init__(self, decoder: AttentionDecoder, bf16: bool) -> None:
        self._decoder, attentive, rnn = proxy(decoder), decoder.attentive, decoder.rnn
        self.attentive = None if attentive is None else PrepackedAttentiveRNN(attentive, decoder.attention, bf16)
        self._lstm = PackedLSTM(rnn, bf16) if isinstance(rnn, nn.LSTM) else None
        self.rnn = rnn if self._lstm is None else self._step_of_stack
        self.combine = None if decoder.combine is None else PackedLinear(decoder.combine, bf16)
        self.output = PackedLinear(decoder.fc_out, bf16)

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """As of the decoder in evaluation."""
        stepped: tuple[Tensor, State] = self._decoder.step(tokens, state, memory, self)
        return stepped

    def _step_of_stack(self, x: PackedSequence, states: Any) -> tuple[PackedSequence, Any]:
        assert self._lstm is not None
        y, last = self._lstm(x.data, states)
        return x._replace(data=y), last


@register("decoder", "dot-attention")
class DotAttentionDecoder(AttentionDecoder):
    """``attention`` with an LSTM and products, and nothing to choose."""

    Options = RecurrentDecoderOptions

    @classmethod
    def chosen(cls, options: Any) -> AttentionOptions:
        return AttentionOptions(**asdict(options), attention="dot")


@register("decoder", "bahdanau")
class BahdanauDecoder(AttentionDecoder):
    """The additive score of the state before a step, whose context the first layer reads in that step."""

    Options = BahdanauOptions
    attends_before = True

    @classmethod
    def chosen(cls, options: Any) -> AttentionOptions:
        return AttentionOptions(**asdict(options), attention="additive", input_feeding=True)
