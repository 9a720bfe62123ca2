"""The encoder of a Transformer (Vaswani et al., "Attention is all you need", 2017): every position reads every other.

Only its attention works on padded sequences; all else works on packed rows.
"""

from __future__ import annotations

from minigrad import nn
from minigrad.nn.utils.rnn import PackedSequence, pad_packed_sequence
from seq2seq.models.contract import Encoder, Memory, MemoryShape, Reads
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import TransformerOptions
from seq2seq.models.transformer import TransformerHalf, steps_of
from seq2seq.run.registry import register


@register("encoder", "transformer")
class TransformerEncoder(TransformerHalf, Encoder):
    """Embedding, positions and layers; it leaves outputs and no final states."""

    def __init__(self, options: TransformerOptions, inputs: Inputs, reads: Reads) -> None:
        super().__init__(nn.TransformerEncoderLayer, options, inputs)

    @property
    def memory_shape(self) -> MemoryShape:
        return MemoryShape((), self.size)

    def forward(self, source: PackedSequence) -> Memory:
        """Packed ids (P,) int64 or rows (P, F) -> outputs (S, N, E)."""
        x = source._replace(data=self.embed(source.data, steps_of(source)))
        for layer in self.layers:
            x = layer(x)
        outputs, lengths = pad_packed_sequence(x._replace(data=self.norm(x.data)))
        return Memory((), outputs, lengths.array)
