"""Options that several encoders and decoders have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seq2seq.run.registry import option

# Parts share these, so each stands here once.
_EMBEDDING_SIZE: Any = (256, "size of the embeddings", 1, 65536)
_HIDDEN_SIZE: Any = (512, "size of the states, of all layers", 1, 65536)
_NUM_LAYERS: Any = (2, "layers in the encoder and in the decoder", 1, 64)
_DROPOUT: Any = (0.5, "probability that an embedding or what a layer gives is zeroed", 0.0, 0.99, True)
_VARIATIONAL_DROPOUT: Any = (
    False, "zero the same numbers at all steps of a sequence (Gal et al., 2016)", None, None, True,
)  # fmt: skip
_RECURRENT_DROPOUT: Any = (0.0, "probability that a recurrent weight is zeroed for a batch", 0.0, 0.99, True)


@dataclass(frozen=True)
class RecurrentOptions:
    """Those of an embedding with a stack of recurrent layers on it; ``seq2seq.models.masks`` has the last two."""

    embedding_size: int = option(*_EMBEDDING_SIZE)
    hidden_size: int = option(*_HIDDEN_SIZE)
    num_layers: int = option(*_NUM_LAYERS)
    dropout: float = option(*_DROPOUT)
    variational_dropout: bool = option(*_VARIATIONAL_DROPOUT)
    recurrent_dropout: float = option(*_RECURRENT_DROPOUT)


@dataclass(frozen=True)
class RecurrentDecoderOptions(RecurrentOptions):
    """Those of a decoder, and what may be between its layers. Its encoder has options of its own for that."""

    decoder_residual: bool = option(False, "add to what a decoder's layer gives what it reads (Wu et al., 2016)")
    decoder_layer_norm: bool = option(False, "normalise what a decoder's layer gives (Ba et al., 2016)")

    @property
    def between(self) -> dict[str, bool]:
        """As ``seq2seq.models.stack.layers_of`` takes it."""
        return {"residual": self.decoder_residual, "layer_norm": self.decoder_layer_norm}


@dataclass(frozen=True)
class SingleLayerOptions:
    """Those of a decoder of one layer, however many its encoder has."""

    embedding_size: int = option(*_EMBEDDING_SIZE)
    hidden_size: int = option(*_HIDDEN_SIZE)
    dropout: float = option(*_DROPOUT)
    variational_dropout: bool = option(*_VARIATIONAL_DROPOUT)
    recurrent_dropout: float = option(*_RECURRENT_DROPOUT)


@dataclass(frozen=True)
class VectorOptions:
    """Those of a layer on vectors, which is no embedding."""

    hidden_size: int = option(*_HIDDEN_SIZE)
    num_layers: int = option(*_NUM_LAYERS)
    dropout: float = option(*_DROPOUT)


@dataclass(frozen=True)
class TransformerOptions:
    """Those of one half of a Transformer."""

    hidden_size: int = option(*_HIDDEN_SIZE)
    num_layers: int = option(*_NUM_LAYERS)
    num_heads: int = option(8, "heads of each attention; a divisor of hidden_size", 1, 1024)
    ffn_size: int = option(2048, "units of each feed-forward block", 1, 65536)
    dropout: float = option(*_DROPOUT)
    attention_dropout: float = option(0.0, "probability that a weight of an attention is zeroed", 0.0, 0.99, True)
    ffn_dropout: float = option(0.0, "probability that a unit of a feed-forward block is zeroed", 0.0, 0.99, True)
    norm_first: bool = option(True, "normalise what a block reads (pre-norm) instead of the sum with what it gives")
    activation: str = option("gelu", "of feed-forward blocks: gelu or relu")
    learned_positions: int = option(0, "positions that get a learned vector each; 0: sines and cosines", 0, 65536)
