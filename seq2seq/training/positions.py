"""Parts that know a limited number of positions: what a run reads and writes has to be within them.

Told before the first step: a validation pair that is too long would end a run after an epoch, a translation that may
become too long at the first one that does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from minigrad.shapes_only import shapes_only
from seq2seq.models.model import Seq2Seq
from seq2seq.run.config import Config
from seq2seq.sources import EncodedSplit
from seq2seq.text.codec import TextCodec


def within_positions(config: Config, codec: TextCodec, encoded: Mapping[str, EncodedSplit]) -> TextCodec:
    """The codec, whose translations end where the decoder's positions do.

    Raises:
        UserError: a source or a target, or the ``max_output_length`` that is asked for, is longer.
    """
    with shapes_only():
        model = Seq2Seq(codec.source.num_inputs, len(codec.trg_vocabulary), config)
    encoder, decoder = model.encoder, model.decoder
    for name, split in encoded.items():
        longest = int(split.src.lengths.max(initial=0)) + model.source.marks
        encoder.require_positions(longest, f"split {name}: the longest source")
        decoder.require_positions(int(split.trg.lengths.max(initial=0)) + 1, f"split {name}: the longest target")
    if config.max_output_length is not None:
        decoder.require_positions(config.max_output_length, "max_output_length: the longest translation")
    most = decoder.max_positions or codec.max_output_length
    return replace(codec, max_output_length=min(codec.max_output_length, most))
