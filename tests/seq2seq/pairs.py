"""The pairs of an encoder and a decoder that the tests of models go through: each part with one partner."""

from __future__ import annotations

from functools import cache
from typing import Any

from minigrad.shapes_only import shapes_only
from seq2seq.models.model import Seq2Seq
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError

TRIED: tuple[dict[str, Any], ...] = ({}, {"num_layers": 1}, {"num_layers": 2}, {"share_vocab": True})
SMALL = {"num_heads": 2, "ffn_size": 7}
USUAL = "lstm", "gru-context", "transformer"

# Directions of each parameter by itself, where gradients of whole models are checked. A random direction has a part of
# every entry, so the first shows a wrong one; a second costs as much and would show the same.
ONE_EACH = 1


@cache
def options_that_fit(encoder: str, decoder: str, source: str = "text") -> dict[str, Any] | None:
    """Options with which the two fit each other and the source, of few heads and units; None where none do."""
    known = registry.options_of({"encoder": encoder, "decoder": decoder})
    small = {name: value for name, value in SMALL.items() if name in known}
    for tried in TRIED:
        try:
            with shapes_only():
                Seq2Seq(9, 9, Config(source=source, encoder=encoder, decoder=decoder, **small, **tried))
        except UserError:
            continue
        return small | tried
    return None


def representative_pairs(source: str = "text") -> list[tuple[str, str]]:
    """Every encoder that reads such a source with one decoder that fits, and every decoder with one encoder."""
    encoders, decoders = registry.names("encoder"), registry.names("decoder")
    pairs: list[tuple[str, str]] = []
    for one, partners in (("encoder", decoders), ("decoder", encoders)):
        for name in encoders if one == "encoder" else decoders:
            others = _first(partners, name, source)
            both = [(name, other) if one == "encoder" else (other, name) for other in others]
            fitting = [pair for pair in both if options_that_fit(*pair, source) is not None]
            if not fitting:
                known = registry.names("source")
                assert any(options_that_fit(*pair, other) for pair in both for other in known), (
                    f"{name} fits to nothing"
                )
                continue
            pairs.append(next((pair for pair in fitting if pair in pairs), fitting[0]))
    return sorted(set(pairs))


def _first(names: tuple[str, ...], partner: str, source: str) -> list[str]:
    """The usual partners first: of vectors what reads them, the part of the same name, those that train at once."""
    rank = {name: number for number, name in enumerate(USUAL)}
    return sorted(
        names, key=lambda name: (source != "vectors" or name != "vector", name != partner, rank.get(name, len(USUAL)))
    )
