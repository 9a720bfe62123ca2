"""Layers that share their weights, as ``tie_weights`` says: a word has one vector, wherever it is read or written.

Contract: a shared tensor is one parameter: it is counted, updated and stored once.

Source: Press and Wolf, "Using the output embedding to improve language models" (2017), section 3: two-way, the
target's embedding with the output layer, and three-way, the source's too.
"""

from __future__ import annotations

from minigrad import nn
from seq2seq.models.contract import Decoder, Encoder
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted


def tie(encoder: Encoder, decoder: Decoder, config: Config) -> None:
    """Let the layers share their weights.

    Raises:
        UserError: the source has another vocabulary than the target, a part has no embedding, or sizes differ.
    """
    if config.tie_weights == "none":
        return
    if config.tie_weights == "all" and not config.share_vocab:
        raise UserError("tie_weights is 'all'; expected --share-vocab too, since both sides must have the same words")
    tied = [("encoder", encoder), ("decoder", decoder)] if config.tie_weights == "all" else [("decoder", decoder)]
    for kind, part in tied:
        embedding = getattr(part, "embedding", None)
        if not isinstance(embedding, nn.Embedding):
            raise UserError(f"tie_weights is {config.tie_weights!r}; {kind} {part.name} has no embedding of words")
        if embedding.weight.shape != decoder.output.weight.shape:
            found, expected = embedding.weight.shape[1], decoder.output.weight.shape[1]
            raise UserError(
                f"tie_weights is {config.tie_weights!r}; the words of {kind} {part.name} have "
                f"{counted(found, 'number')}, those of the output layer {expected}; "
                f"expected equal sizes, as by --embedding-size {expected}"
            )
        embedding.weight = decoder.output.weight
        embedding.sparse = False  # the output layer has a gradient for every row
