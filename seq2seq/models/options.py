"""Options that several encoders and decoders have in common."""

from __future__ import annotations

from dataclasses import dataclass

from seq2seq.run.registry import option


@dataclass(frozen=True)
class RecurrentOptions:
    """Those of an embedding with a stack of recurrent layers on it."""

    embedding_size: int = option(256, "size of the embeddings", 1, 65536)
    hidden_size: int = option(512, "size of the recurrent states", 1, 65536)
    num_layers: int = option(2, "recurrent layers in the encoder and in the decoder", 1, 64)
    dropout: float = option(0.5, "probability that an embedding or a state between layers is zeroed", 0.0, 0.99)
