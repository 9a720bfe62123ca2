"""The architectures ``lstm`` of fairseq (Ott et al., "fairseq: a fast, extensible toolkit for sequence modeling",
2019), with attention: h . W m of the last layer, and input feeding.

A source ends with </s>, and the decoder begins with it. Where both directions together are wider than the decoder,
each layer's states go through a linear layer of h's, and one of c's, that all layers share. What is between the
attentional vector and the output layer, ``additional_fc``, has no activation: both are one matrix.

Words are listed in dict.LANG.txt, a line for each with its count; <s>, <pad>, </s> and <unk> go before them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seq2seq.conversion.layouts.contract import Array, Arrays
from seq2seq.conversion.layouts.recurrent import (
    AttentiveLayout,
    State,
    names_of_layers,
    refuse_others,
    require,
    stacks_of,
    width_of,
)
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.text.vocabulary import EOS_ID

BEFORE = ["<s>", "<pad>", "</s>", "<unk>"]
INPUT, OUTPUT = "decoder.attention.input_proj.weight", "decoder.attention.output_proj.weight"
PROJECTIONS = "decoder.encoder_hidden_proj", "decoder.encoder_cell_proj"
BEHIND, LAST = "decoder.additional_fc", "decoder.fc_out"
ABOUT = {"adaptive_softmax": "an adaptive softmax"}


class Fairseq(AttentiveLayout):
    """Its checkpoints: ``model``."""

    name = "fairseq-lstm"
    about = "encoder.lstm, decoder.layers and decoder.attention of fairseq; LSTMs"
    reads_first = EOS_ID
    encoder, decoder = "encoder.lstm.{part}_l{n}", "decoder.layers.{n}.{part}"
    source_table, target_table = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        if "encoder.lstm.weight_ih_l0" not in arrays or "decoder.layers.0.weight_ih" not in arrays:
            return None
        require(arrays, (cls.source_table, cls.target_table, INPUT, OUTPUT))
        stacks = stacks_of(arrays, cls.encoder, cls.decoder)
        width = width_of(arrays, cls.source_table, cls.target_table)
        found = stacks.settings() | {"embedding_size": width, "attention": "general", "source_marks": "end"}
        known = names_of_layers(arrays, cls.encoder, f"{cls.encoder}_reverse", cls.decoder)
        for linears in (PROJECTIONS, (BEHIND,), (LAST,)):  # there or not
            names = [f"{linear}.{kind}" for linear in linears for kind in ("weight", "bias")]
            if set(names) & set(arrays):
                require(arrays, names)
                known += names
        refuse_others(arrays, [*known, cls.source_table, cls.target_table, INPUT, OUTPUT], ABOUT)
        is_projected = f"{PROJECTIONS[0]}.weight" in arrays
        fits = stacks.cell == "lstm" and stacks.fed == width + stacks.size
        if not fits or is_projected != (stacks.both and not stacks.split):
            raise UserError("its encoder or decoder has other sizes than those of fairseq")
        return found | ({"bridge_activation": "linear"} if is_projected else {})

    @classmethod
    def tokens(cls, lines: list[str]) -> list[str]:
        """Those before which the count stands, of a file dict.LANG.txt, behind the marks that every dictionary has."""
        found = [line.rsplit(" ", 1) for line in (line.removesuffix(" #fairseq:overwrite") for line in lines) if line]
        for fields in found:
            if len(fields) < 2 or not fields[1].isdigit():
                line = shown(" ".join(fields))
                raise UserError(f"has a line {line}; expected a token and its count, as dict.en.txt has them")
        return [*BEFORE, *(token for token, _ in found)]

    def weights(self) -> Arrays:
        a, found = self.arrays, super().weights()
        found |= {"decoder.attention.query.weight": a[INPUT], "decoder.combine.weight": a[OUTPUT]}
        found |= {"decoder.combine.bias": np.zeros(self.stacks.size, np.float32)}
        for k, layer in enumerate(PROJECTIONS):
            if f"{layer}.weight" in a:
                found |= {f"encoder.bridges.{k}.{kind}": a[f"{layer}.{kind}"] for kind in ("weight", "bias")}
        weight, bias = self._output()
        return found | {"decoder.fc_out.weight": weight, "decoder.fc_out.bias": bias}

    def _output(self) -> tuple[Array, Array]:
        """The output layer, which may be the table of the target's embeddings, with what is before it."""
        weight = self.exact.get(f"{LAST}.weight", self.exact[self.target_table])
        bias = self.exact.get(f"{LAST}.bias", np.zeros(len(weight))).reshape(len(weight))
        if f"{BEHIND}.weight" in self.exact:
            weight, bias = weight @ self.exact[f"{BEHIND}.weight"], weight @ self.exact[f"{BEHIND}.bias"] + bias
        return weight.astype(np.float32), bias.astype(np.float32)

    def first_states(self, states: list[State]) -> list[State]:
        if f"{PROJECTIONS[0]}.weight" not in self.exact:
            return states
        layers = [(self.exact[f"{name}.weight"], self.exact[f"{name}.bias"]) for name in PROJECTIONS]
        return [
            tuple(weight @ part + bias for part, (weight, bias) in zip(state, layers, strict=True)) for state in states
        ]

    def scores(self, h: Array, outputs: Array) -> Array:
        return outputs @ (self.exact[INPUT] @ h)

    def combined(self, context: Array, h: Array) -> Array:
        found: Array = np.tanh(self.exact[OUTPUT] @ np.concatenate([context, h]))
        return found

    def logits(self, combined: Array) -> Array:
        if f"{BEHIND}.weight" in self.exact:
            combined = self.exact[f"{BEHIND}.weight"] @ combined + self.exact[f"{BEHIND}.bias"]
        if f"{LAST}.weight" not in self.exact:
            return self.exact[self.target_table] @ combined
        return self.exact[f"{LAST}.weight"] @ combined + self.exact[f"{LAST}.bias"]
