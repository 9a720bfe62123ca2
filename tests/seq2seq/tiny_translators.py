"""Tiny models for what leaves a run: each registered part in a pair that fits, as it is and with other options."""

from __future__ import annotations

from typing import Any

import numpy as np

from seq2seq.decoding.translator import Translator
from seq2seq.models.model import build_model
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources.rows import RowSide
from seq2seq.text.codec import TextCodec
from seq2seq.text.side import TextSide, opened
from seq2seq.text.tokenizers import SpaceTokenizer
from seq2seq.text.vocabulary import Vocabulary
from tests.seq2seq.pairs import SMALL, options_that_fit, representative_pairs

WORDS = [f"w{number}" for number in range(12)]
SIZES = {"embedding_size": 8, "hidden_size": 12}
DECODERS = registry.names("decoder")
SENTENCES = ["w1 w2 w3", "w0", "w5 w5 w9 w2 w11 w4 w7", "w3 w8", "unseen w1 other unseen"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "between": {
        "num_layers": 3, "residual": True, "layer_norm": True, "decoder_residual": True, "decoder_layer_norm": True,
        "pyramid": 1, "bridge": True, "norm_first": False, "activation": "relu", "learned_positions": 40,
        "truncate_source": 4,
    },
    "turned": {
        "num_layers": 2, "cell": "cho-gru", "attention": "additive", "input_feeding": True, "coverage": True,
        "bridge": True, "reverse_source": True, "source_marks": "end",
    },
    "scaled": {
        "num_layers": 1, "cell": "gru", "attention": "scaled", "linear_features": True, "source_marks": "none",
        "plain_output": True,
    },
}  # fmt: skip
OF_OTHERS = {  # what weights of other toolkits become; of encoders with two directions
    "split": {"num_layers": 2, "split_directions": True, "source_marks": "none"},
    "split and bridged": {"num_layers": 2, "split_directions": True, "bridge": True, "bridge_activation": "relu"},
    "linear bridge": {"num_layers": 2, "bridge_activation": "linear", "source_marks": "end"},
    "top": {"num_layers": 2, "bridge_top": True, "bridge": True, "source_marks": "end"},
}


def translator(encoder: str, decoder: str, source: str = "text", **settings: Any) -> Translator:
    """A tiny model with weights large enough to have opinions, and a text for it."""
    config = Config(source=source, encoder=encoder, decoder=decoder, init_range=0.8, **settings)
    words = Vocabulary(WORDS)
    text = TextSide(SpaceTokenizer(), opened(words) if decoder == "pointer-generator" else words)
    rows = RowSide(np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(0.5, 2, 5, dtype=np.float32))
    side = TextSide(text.tokenizer, text.vocabulary, settings.get("truncate_source", 0)) if source == "text" else rows
    codec = TextCodec(side, text, 9)
    model = build_model(side.num_inputs, len(text.vocabulary), config).eval()
    return Translator(model, codec, config)


def cases() -> list[tuple[str, str, str]]:
    """Encoder, decoder and variant: every registered part with each variant, and bridges to every decoder."""
    found = [(*pair, variant) for pair in representative_pairs() for variant in VARIANTS]
    bridged = [(encoder, decoder, "turned") for encoder in ("bilstm", "transformer") for decoder in DECODERS]
    elsewhere = [(encoder, "luong", variant) for encoder in ("bilstm", "bigru") for variant in OF_OTHERS]
    return found + [case for case in bridged + elsewhere if case not in found]


def translator_of(encoder: str, decoder: str, variant: str = "plain", source: str = "text") -> Translator | None:
    """The tiny model of a case; None where its options do not fit each other."""
    settings = options_that_fit(encoder, decoder, source)
    if settings is None:  # a bridge may make them fit
        settings = known(encoder, decoder, SMALL)
    try:
        wanted = SIZES | (VARIANTS | OF_OTHERS)[variant]
        return translator(encoder, decoder, source, **settings | known(encoder, decoder, wanted))
    except UserError:
        return None


def known(encoder: str, decoder: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that these parts have."""
    own = registry.options_of({"source": "text", "encoder": encoder, "decoder": decoder})
    if decoder == "pointer-generator":
        wanted = wanted | {"pyramid": 0}  # it copies what stands at a position
    return {name: value for name, value in wanted.items() if name in own}
