"""The encoder of a Transformer (Vaswani et al., "Attention is all you need", 2017): every position reads every other.

Only its attention works on padded sequences; all else works on packed rows. It leaves no final states, unless a bridge
makes some of the mean of its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from minigrad import nn
from minigrad.nn.utils.rnn import PackedSequence, pad_packed_sequence
from seq2seq.models.bridge import BridgeOptions, bridged_mean, make_bridges, mean_of
from seq2seq.models.contract import Encoder, Memory, MemoryShape, Reads
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import TransformerOptions
from seq2seq.models.transformer import TransformerHalf, steps_of
from seq2seq.run.registry import register


@dataclass(frozen=True)
class TransformerEncoderOptions(BridgeOptions, TransformerOptions):
    """Those of each half, and a bridge."""


@register("encoder", "transformer")
class TransformerEncoder(TransformerHalf, Encoder):
    """Embedding, positions, layers and, if it is to be, a bridge."""

    Options = TransformerEncoderOptions

    def __init__(self, options: TransformerEncoderOptions, inputs: Inputs, reads: Reads) -> None:
        super().__init__(nn.TransformerEncoderLayer, options, inputs)
        count, self.num_layers = reads.states if options.bridge else 0, options.num_layers
        self.bridges = make_bridges(count, self.size, self.num_layers * self.size)

    @property
    def memory_shape(self) -> MemoryShape:
        return MemoryShape(((self.num_layers, self.size),) * len(self.bridges), self.size)

    def forward(self, source: PackedSequence) -> Memory:
        """Packed ids (P,) int64 or rows (P, F) -> outputs (S, N, E), with a bridge states (L, N, E)."""
        x = source._replace(data=self.embed(source.data, steps_of(source)))
        for layer in self.layers:
            x = layer(x)
        outputs, lengths = pad_packed_sequence(x._replace(data=self.norm(x.data)))
        if not len(self.bridges):
            return Memory((), outputs, lengths.array)
        states = bridged_mean(self.bridges, mean_of(outputs, lengths.array), self.num_layers)
        return Memory(states, outputs, lengths.array)
