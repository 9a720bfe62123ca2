"""What the two halves of a Transformer share: vectors of tokens and positions, layers, first weights.

Sources: Vaswani et al., "Attention is all you need" (2017); blocks that normalise what they read, which train without a
warm-up: Xiong et al., "On layer normalization in the Transformer architecture" (2020).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad.nn.utils.rnn import PackedSequence
from seq2seq.models.contract import Part
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import TransformerOptions
from seq2seq.run.errors import UserError

Array = np.ndarray
ACTIVATIONS = "gelu", "relu"


class TransformerHalf(Part):
    """Embedding, positions and layers: what an encoder and a decoder have alike.

    Args:
        layer: ``nn.TransformerEncoderLayer`` or ``nn.TransformerDecoderLayer``.
        options: its settings.
        inputs: what it reads, of a target always tokens.

    Raises:
        UserError: heads that do not divide the features, or an activation of another name.
    """

    Options = TransformerOptions

    def __init__(self, layer: Any, options: TransformerOptions, inputs: Inputs) -> None:
        super().__init__()
        size, heads = options.hidden_size, options.num_heads
        if size % heads:
            raise UserError(f"hidden_size is {size}; expected a multiple of num_heads = {heads}")
        if options.activation not in ACTIVATIONS:
            raise UserError(f"activation is {options.activation}; expected {' or '.join(ACTIVATIONS)}")
        self.size = size
        self.embedding = inputs.layer(size)
        self.scale = math.sqrt(size) if inputs.ids else 1.0
        self.max_positions = options.learned_positions
        self.positions = Positions(options.learned_positions, size)
        self.dropout = nn.Dropout(options.dropout)
        settings = {"dropout": options.dropout, "activation": options.activation, "norm_first": options.norm_first}
        layers = [layer(size, heads, options.ffn_size, **settings) for _ in range(options.num_layers)]
        self.layers = nn.ModuleList(layers)
        for module in self.layers.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = options.attention_dropout
        for made in layers:
            made.dropout.p = options.ffn_dropout
        self.norm = nn.LayerNorm(size) if options.norm_first else nn.Identity()

    def init_weights(self, init_range: float) -> None:
        """Embeddings from N(0, 1/E), so that their sums with positions are of order 1; matrices as Glorot and Bengio
        (2010); biases 0, scales 1."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():  # last, so that an output layer with the weights of an embedding has these
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, 0.0, self.size**-0.5)

    def embed(self, tokens: Tensor, steps: Array) -> Tensor:
        """Tokens (R,) int64, or rows (R, F), at the steps (R,), or (1,) for all -> (R, E)."""
        scaled = self.embedding(tokens) * self.scale
        return self.dropout(scaled + self.positions(steps, scaled))


class Positions(nn.Module):
    """A vector for each position, of sines and cosines or learned.

    Args:
        count: positions with a learned vector each; 0 for sines and cosines, for any number.
        size: E.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.learned = nn.Embedding(count, size) if count else None

    def forward(self, steps: Array, like: Tensor) -> Tensor:
        """Positions (R,) from 0 on -> (R, E), of the dtype of ``like`` (., E) and where it lies.

        UserError for a position that has no learned vector.
        """
        longest = int(steps.max(initial=-1)) + 1
        if self.learned is None:
            table = sinusoids(1 << longest.bit_length(), like.shape[-1])
            return Tensor(table[steps].astype(like.dtype)).to(like.device)
        if longest > self.learned.num_embeddings:
            raise UserError(
                f"learned_positions is {self.learned.num_embeddings}; expected {longest} or more, the length of a "
                "sequence with its specials"
            )
        return self.learned(Tensor(steps).to(like.device))


@lru_cache(maxsize=8)
def sinusoids(count: int, size: int) -> Array:
    """(count, E) float64: at position t the sine and cosine of t / 10000^(2i/E) stand in the columns 2i and 2i + 1."""
    angles = np.arange(count)[:, None] / 10_000 ** (np.arange(0, size, 2) / size)
    table = np.stack([np.sin(angles), np.cos(angles)], 2).reshape(count, -1)
    return table[:, :size]


def steps_of(tokens: PackedSequence) -> Array:
    """(P,) int64: the position of each packed token in its sequence."""
    sizes = tokens.batch_sizes.array
    return np.repeat(np.arange(len(sizes)), sizes)
