"""Embedding and recurrent layers over the source: LSTM, GRU or Cho's GRU, in one direction or in both.

In one direction the last states are what a decoder starts from (Sutskever et al., "Sequence to sequence learning with
neural networks", 2014). In both (Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997) each has
hidden_size units, and of a layer's two last states a bridge makes one of that size (as in Bahdanau et al., "Neural
machine translation by jointly learning to align and translate", 2015, appendix A.2.2, for both directions), h and c
each by a matrix of its own that all layers share: tanh(W [forward; backward] + b). With the option ``bridge`` there is
one for a single direction too, and for each state that the decoder has: a GRU's h makes h and c. Decoders with
attention read the outputs.

Where ``split_directions`` gives each direction half of hidden_size, its states side by side are of that size already,
and there is a bridge only if it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import proxy

import numpy as np

from minigrad import Tensor, cat, nn
from minigrad.decoding import PackedEncoder, PackedLinear
from minigrad.nn.utils.rnn import PackedSequence, pad_packed_sequence
from seq2seq.models.bridge import ACTIVATIONS, BridgeOptions, bridged_states, make_bridges
from seq2seq.models.contract import Encoder, Memory, MemoryShape, Reads, changes
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import RecurrentOptions
from seq2seq.models.stack import layers_of
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.registry import option, register

Array = np.ndarray


@dataclass(frozen=True)
class RecurrentEncoderOptions(BridgeOptions, RecurrentOptions):
    """Those of a stack, what may be between its layers, and a bridge behind it."""

    residual: bool = option(False, "add to what an encoder's layer gives what it reads (Wu et al., 2016)")
    layer_norm: bool = option(False, "normalise what an encoder's layer gives (Ba et al., 2016)")
    pyramid: int = option(0, "upper layers of the encoder that each halve the time (Chan et al., 2016)", 0, 63)
    split_directions: bool = option(False, "half of hidden_size for each of two directions, and no bridge unless asked")
    bridge_activation: str = option("tanh", "of a recurrent encoder's bridge: tanh, relu, or linear, which is none")
    bridge_top: bool = option(False, "let that bridge make the states of all layers of the last one's h")

    def check(self, bidirectional: bool) -> None:
        """UserError where some do not go together, or not with this number of directions."""
        if self.pyramid >= self.num_layers:
            raise UserError(f"pyramid is {self.pyramid}; expected less than num_layers = {self.num_layers}")
        if self.split_directions and not bidirectional:
            raise UserError("split_directions is true; expected an encoder of two directions, such as bilstm")
        if self.split_directions and self.hidden_size % 2:
            raise UserError(f"hidden_size is {self.hidden_size}; expected an even one with split_directions")
        if self.bridge_activation not in ACTIVATIONS:
            raise UserError(f"bridge_activation is {shown(self.bridge_activation)}; expected {', '.join(ACTIVATIONS)}")
        if self.bridge_top and not self.has_bridge(bidirectional):
            raise UserError("bridge_top is true, but there is no bridge; expected bridge true too")

    def has_bridge(self, bidirectional: bool) -> bool:
        """Whether the encoder has one."""
        return self.bridge or (bidirectional and not self.split_directions)


class RecurrentEncoder(Encoder):
    """Embedding, layers and, of two directions or if it is to be, a bridge."""

    Options = RecurrentEncoderOptions
    cell: ClassVar[Any]  # nn.LSTM, nn.GRU or nn.ChoGRU
    bidirectional: ClassVar[bool] = False

    def __init__(self, options: RecurrentEncoderOptions, inputs: Inputs, reads: Reads) -> None:
        super().__init__()
        self.size, self.num_layers, self.reads = options.hidden_size, options.num_layers, reads
        own = len(self.cell.state_names)  # h, or h and c
        self.num_states = reads.states if options.bridge else min(reads.states, own)
        self.embedding = inputs.layer(options.embedding_size)
        options.check(self.bidirectional)
        self._activation, self._top = options.bridge_activation, options.bridge_top
        self._width = self.size // 2 if options.split_directions else self.size  # of a direction
        between = {name: getattr(options, name) for name in ("residual", "layer_norm", "pyramid")}
        sizes = options.embedding_size, self._width, self.num_layers
        self.rnn = layers_of(self.cell, *sizes, options.dropout, self.bidirectional, **between)
        count = self.num_states if options.has_bridge(self.bidirectional) else 0
        self.bridges = make_bridges(count, self.memory_shape.output_size, self.size)
        self.dropout = nn.Dropout(options.dropout)

    @property
    def memory_shape(self) -> MemoryShape:
        states = ((self.num_layers, self.size),) * self.num_states
        return MemoryShape(states, 2 * self._width if self.bidirectional else self._width)

    def forward(self, source: PackedSequence) -> Memory:
        """Packed ids (P,) int64 -> final states (L, N, H), and where they are read the outputs (S, N, D), of both
        directions side by side."""
        y, last = self.rnn(source._replace(data=self.dropout(self.embedding(source.data))))
        states = self.bridged(last if isinstance(last, tuple) else (last,))
        if not self.reads.outputs:
            return Memory(states)
        outputs, lengths = pad_packed_sequence(y)
        return Memory(states, outputs, lengths.array)

    def prepacked(self, bf16: bool) -> Any:
        """None where there is no such kernel: for Cho's GRU, a stack, vectors, a subclass with a forward of its own,
        and on a GPU all but LSTMs in one direction without a bridge."""
        if changes(self, RecurrentEncoder, "forward"):
            return None
        if type(self.rnn) not in (nn.LSTM, nn.GRU) or not isinstance(self.embedding, nn.Embedding):
            return None
        one_way_lstm = self.cell is nn.LSTM and not self.bidirectional and not len(self.bridges)
        if self.embedding.weight.device.type != "cpu" and not one_way_lstm:
            return None
        return _Prepacked(self, bf16)

    def bridged(self, states: tuple[Tensor, ...], bridges: Sequence[Any] = ()) -> tuple[Tensor, ...]:
        """What the decoder starts from, of the last states h, or h and c, of all layers and directions; ``bridges``:
        other ones than the encoder's own."""
        states = states[: self.num_states]
        if self.bidirectional:
            states = tuple(map(_side_by_side, states))
        if self._top:
            states = (cat([states[0][-1:]] * self.num_layers),)
        return bridged_states(bridges or self.bridges, states, self._activation) if len(self.bridges) else states


def _side_by_side(state: Tensor) -> Tensor:
    """The last states (L*2, N, H), forward before backward in each layer -> (L, N, 2H)."""
    layers, (_, batch_size, size) = state.shape[0] // 2, state.shape
    return state.reshape(layers, 2, batch_size, size).transpose(1, 2).reshape(layers, batch_size, 2 * size)


class _Prepacked:
    """An encoder with its weights packed for runs without a backward."""

    def __init__(self, encoder: RecurrentEncoder, bf16: bool) -> None:
        embedding: Any = encoder.embedding
        self._encoder, self._layers = proxy(encoder), PackedEncoder(embedding, encoder.rnn, bf16)
        self._bridges = [PackedLinear(bridge, bf16) for bridge in encoder.bridges]

    def memory(self, ids: Array, lengths: Array) -> Memory:
        """As of the encoder in evaluation."""
        if not self._encoder.reads.outputs:
            return Memory(self._encoder.bridged(self._layers.states(ids, lengths), self._bridges))
        outputs, states = self._layers.run(ids, lengths)
        return Memory(self._encoder.bridged(states, self._bridges), outputs, lengths)


@register("encoder", "lstm")
class LSTMEncoder(RecurrentEncoder):
    """Of LSTM layers."""

    cell = nn.LSTM
    capturable = True


@register("encoder", "bilstm")
class BidirectionalLSTMEncoder(RecurrentEncoder):
    """Of LSTM layers in both directions."""

    cell = nn.LSTM
    bidirectional = True


@register("encoder", "gru")
class GRUEncoder(RecurrentEncoder):
    """Of GRU layers."""

    cell = nn.GRU


@register("encoder", "bigru")
class BidirectionalGRUEncoder(RecurrentEncoder):
    """Of GRU layers in both directions."""

    cell = nn.GRU
    bidirectional = True


@register("encoder", "cho-gru")
class ChoGRUEncoder(RecurrentEncoder):
    """Of GRU layers whose reset gate acts before the product (Cho et al., 2014)."""

    cell = nn.ChoGRU


@register("encoder", "bicho-gru")
class BidirectionalChoGRUEncoder(RecurrentEncoder):
    """Of such layers in both directions, as Bahdanau et al. (2015) have them."""

    cell = nn.ChoGRU
    bidirectional = True
