"""Recurrent models of OpenNMT-py (Klein et al., "OpenNMT: open-source toolkit for neural machine translation", 2017):
encoders rnn and brnn, global attention general, dot or mlp, with input feeding or without.

Its sources have no marks. Of brnn each direction has half of the units, and both side by side are what the decoder
starts from. A bridge is relu(W s + b) of the states of all layers, of one direction, in the order of their numbers:
rows of L states at a time, so that with two layers in both directions a row is a layer's two states. With mlp the
attentional vector has no tanh.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seq2seq.conversion.layouts.contract import Array, Arrays
from seq2seq.conversion.layouts.recurrent import (
    AttentiveLayout,
    Stacks,
    State,
    names_of,
    names_of_layers,
    refuse_others,
    require,
    stacks_of,
    width_of,
)
from seq2seq.run.errors import UserError

TABLE = "embeddings.make_embedding.emb_luts.0.weight"
ATTENTION = "decoder.attn.linear_out.weight"
FEEDING, PLAIN = "decoder.rnn.layers.{n}.{part}", "decoder.rnn.{part}_l{n}"
BRIDGES = ("encoder.bridge.0", "encoder.bridge.1")
ABOUT = {
    "emb_luts": "word features", "make_embedding.mlp": "a layer behind its embeddings", "copy_attn": "copy attention",
    "linear_copy": "copy attention", "linear_cover": "coverage", "context_gate": "a context gate",
}  # fmt: skip


class OpenNMT(AttentiveLayout):
    """Its checkpoints: ``model``, and ``generator`` beside it."""

    name = "opennmt-py-rnn"
    about = "encoder.rnn, decoder.rnn.layers, decoder.attn and generator of OpenNMT-py; LSTMs or GRUs"
    encoder, decoder = "encoder.rnn.{part}_l{n}", FEEDING
    source_table, target_table = f"encoder.{TABLE}", f"decoder.{TABLE}"

    def __init__(self, arrays: Arrays) -> None:
        super().__init__(arrays)
        self.output = _generator(arrays)

    @classmethod
    def decoder_of(cls, arrays: Arrays) -> str:
        """Without input feeding it is one of PyTorch's stacks."""
        return FEEDING if names_of(arrays, FEEDING) else PLAIN

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        if cls.source_table not in arrays or ATTENTION not in arrays:
            return None
        require(arrays, [cls.target_table])
        decoder = cls.decoder_of(arrays)
        stacks, width = stacks_of(arrays, cls.encoder, decoder), width_of(arrays, cls.source_table, cls.target_table)
        found = stacks.settings() | {"embedding_size": width, "source_marks": "none"} | _attention(arrays)
        refuse_others(arrays, _known(arrays, decoder, stacks.cell), ABOUT)
        bridges = _bridges(arrays, stacks)
        if (stacks.both and not stacks.split) or stacks.fed not in (width, width + stacks.size):
            raise UserError("its encoder or decoder has other sizes than those of OpenNMT-py")
        if stacks.fed == width:
            found["decoder"] = "attention"
            if found.pop("linear_features"):
                raise UserError("it has mlp attention without input feeding, which no decoder here has")
        return found | ({"bridge": True, "bridge_activation": "relu"} if bridges else {})

    def weights(self) -> Arrays:
        a, attention, found = self.arrays, "decoder.attention", super().weights()
        if "decoder.attn.linear_in.weight" in a:
            found[f"{attention}.query.weight"] = a["decoder.attn.linear_in.weight"]
        elif "decoder.attn.v.weight" in a:
            found |= {f"{attention}.{kind}.weight": a[f"decoder.attn.linear_{told}.weight"]
                      for kind, told in (("query", "query"), ("key", "context"))}  # fmt: skip
            found |= {f"{attention}.key.bias": a["decoder.attn.linear_query.bias"]}
            found |= {f"{attention}.v": a["decoder.attn.v.weight"].reshape(-1)}
        bias = a.get("decoder.attn.linear_out.bias", np.zeros(self.stacks.size, np.float32))
        found |= {"decoder.combine.weight": a[ATTENTION], "decoder.combine.bias": bias}
        found |= {f"decoder.fc_out.{kind}": a[f"{self.output}.{kind}"] for kind in ("weight", "bias")}
        return found | _bridges(a, self.stacks)

    def first_states(self, states: list[State]) -> list[State]:
        """A bridge reads L states of a direction at a time, in the order of layers and, within each, directions."""
        if f"{BRIDGES[0]}.weight" not in self.exact:
            return states
        count, parts = len(states), []
        for k, state in enumerate(zip(*states, strict=True)):
            weight, bias = self.exact[f"{BRIDGES[k]}.weight"], self.exact[f"{BRIDGES[k]}.bias"]
            rows = np.concatenate(state).reshape(-1, weight.shape[1])
            parts.append(np.maximum(rows @ weight.T + bias, 0).reshape(count, -1))
        return list(zip(*parts, strict=True))

    def scores(self, h: Array, outputs: Array) -> Array:
        a = self.exact
        if "decoder.attn.v.weight" in a:
            query = a["decoder.attn.linear_query.weight"] @ h + a["decoder.attn.linear_query.bias"]
            found: Array = np.tanh(query + outputs @ a["decoder.attn.linear_context.weight"].T)
            return found @ a["decoder.attn.v.weight"].reshape(-1)
        return outputs @ (a["decoder.attn.linear_in.weight"] @ h if "decoder.attn.linear_in.weight" in a else h)

    def combined(self, context: Array, h: Array) -> Array:
        found: Array = self.exact[ATTENTION] @ np.concatenate([context, h])
        bias = self.exact.get("decoder.attn.linear_out.bias")
        return np.tanh(found) if bias is None else found + bias

    def logits(self, combined: Array) -> Array:
        return self.exact[f"{self.output}.weight"] @ combined + self.exact[f"{self.output}.bias"]


def _attention(arrays: Arrays) -> dict[str, Any]:
    """The score, and whether there is no tanh behind it."""
    additive = "decoder.attn.v.weight" in arrays
    score = "additive" if additive else "general" if "decoder.attn.linear_in.weight" in arrays else "dot"
    return {"attention": score, "linear_features": additive}


def _generator(arrays: Arrays) -> str:
    """What the output layer is called: before version 3 it was the first of a sequence."""
    return "generator.0" if "generator.0.weight" in arrays else "generator"


def _known(arrays: Arrays, decoder: str, cell: str) -> list[str]:
    """The names that a model of this layout has; UserError where one is missing."""
    kinds = {"general": ["linear_in.weight"], "dot": []}
    mlp = ["linear_query.weight", "linear_query.bias", "linear_context.weight", "v.weight", "linear_out.bias"]
    attention = (kinds | {"additive": mlp})[_attention(arrays)["attention"]]
    required = [OpenNMT.source_table, OpenNMT.target_table, ATTENTION, *(f"decoder.attn.{name}" for name in attention)]
    required += [f"{_generator(arrays)}.{kind}" for kind in ("weight", "bias")]
    if any(name.startswith("encoder.bridge.") for name in arrays):
        required += [f"{BRIDGES[k]}.{kind}" for k in range(2 if cell == "lstm" else 1) for kind in ("weight", "bias")]
    require(arrays, required)
    layers = names_of_layers(arrays, OpenNMT.encoder, f"{OpenNMT.encoder}_reverse", decoder)
    return [*required, *layers]


def _bridges(arrays: Arrays, stacks: Stacks) -> Arrays:
    """Our bridges, which make each layer's states of its own; UserError where they mix those of several layers."""
    found: Arrays = {}
    for k in range(2 if stacks.cell == "lstm" else 1):
        if f"{BRIDGES[k]}.weight" not in arrays:
            return {}
        weight, bias = arrays[f"{BRIDGES[k]}.weight"], arrays[f"{BRIDGES[k]}.bias"]
        if stacks.both and stacks.num_layers == 1:  # for each direction by itself
            nothing = np.zeros_like(weight)
            weight, bias = np.block([[weight, nothing], [nothing, weight]]), np.concatenate([bias, bias])
        elif stacks.num_layers != (2 if stacks.both else 1):
            raise UserError(
                f"it has a bridge that mixes the states of its {stacks.num_layers} layers; expected one of a single "
                "layer, or of two layers in both directions"
            )
        found |= {f"encoder.bridges.{k}.weight": weight, f"encoder.bridges.{k}.bias": bias}
    return found
