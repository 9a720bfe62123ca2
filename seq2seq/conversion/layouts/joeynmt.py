"""Recurrent models of JoeyNMT (Kreutzer et al., "Joey NMT: a minimalist NMT toolkit for novices", 2019): attention
luong or bahdanau, with input feeding or without.

A source ends with </s>. All layers of the decoder start from one vector, an LSTM's h and c alike, which ``init_hidden``
says how to make of the last layer's final h, both directions side by side: with "bridge" tanh(W h + b), with "last" it
is that h, or of two directions that are too wide together the forward one's, with "zero" it is nothing. The last two
have no weights, and so are layouts of their own, which must be named.
"""

from __future__ import annotations

from typing import Any, ClassVar

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
from seq2seq.run.messages import counted

VECTOR, BRIDGE, KEY = "decoder.att_vector_layer", "decoder.bridge_layer", "decoder.attention.key_layer.weight"
QUERY, ENERGY = "decoder.attention.query_layer.weight", "decoder.attention.energy_layer.weight"
OUTPUT = "decoder.output_layer.weight"
ABOUT = {"bridge_layer": "a bridge, as layout joeynmt-rnn has"}


class JoeyNMT(AttentiveLayout):
    """Its checkpoints, ``model_state``, with init_hidden "bridge"."""

    name = "joeynmt-rnn"
    about = "encoder.rnn, decoder.rnn, decoder.att_vector_layer and decoder.bridge_layer of JoeyNMT; LSTMs or GRUs"
    activation: ClassVar[str] = "tanh"
    encoder, decoder = "encoder.rnn.{part}_l{n}", "decoder.rnn.{part}_l{n}"
    source_table, target_table = "src_embed.lut.weight", "trg_embed.lut.weight"

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        if not {cls.source_table, cls.target_table, f"{VECTOR}.weight", KEY} <= set(arrays):
            return None
        if not cls.must_be_named and f"{BRIDGE}.weight" not in arrays:
            raise UserError(
                f"it has no {BRIDGE}; expected --layout {cls.name}-last or {cls.name}-zero, as init_hidden of its "
                "configuration says"
            )
        own = [*cls._bridge_names(), f"{VECTOR}.weight", f"{VECTOR}.bias", KEY, OUTPUT]
        own += [QUERY, ENERGY] if {QUERY, ENERGY} & set(arrays) else []
        require(arrays, own)
        stacks = stacks_of(arrays, cls.encoder, cls.decoder)
        width = width_of(arrays, cls.source_table, cls.target_table)
        known = names_of_layers(arrays, cls.encoder, f"{cls.encoder}_reverse", cls.decoder)
        refuse_others(arrays, [*known, *own, cls.source_table, cls.target_table], ABOUT)
        if stacks.fed not in (width, width + stacks.size):
            raise UserError(
                f"its decoder reads {counted(stacks.fed, 'number')}; expected {width}, or {width + stacks.size}"
            )
        found = stacks.settings() | {"embedding_size": width, "source_marks": "end"}
        found |= {"attention": "additive" if ENERGY in arrays else "general"}
        found |= {"bridge": True, "bridge_top": True, "bridge_activation": cls.activation}
        return found if stacks.fed > width else found | {"decoder": "attention"}

    @classmethod
    def _bridge_names(cls) -> list[str]:
        return [f"{BRIDGE}.weight", f"{BRIDGE}.bias"]

    def weights(self) -> Arrays:
        a, size, found = self.arrays, self.stacks.size, super().weights()
        if ENERGY in a:
            found |= {"decoder.attention.query.weight": a[QUERY], "decoder.attention.key.weight": a[KEY]}
            found |= {"decoder.attention.key.bias": np.zeros(len(a[KEY]), np.float32)}
            found |= {"decoder.attention.v": a[ENERGY].reshape(-1)}
        else:  # h . (W m) is (W^T h) . m
            found |= {"decoder.attention.query.weight": np.ascontiguousarray(a[KEY].T)}
        vector = a[f"{VECTOR}.weight"]  # of h, then of the context
        found |= {"decoder.combine.weight": np.concatenate([vector[:, size:], vector[:, :size]], 1)}
        found |= {"decoder.combine.bias": a[f"{VECTOR}.bias"], "decoder.fc_out.weight": a[OUTPUT]}
        found |= {"decoder.fc_out.bias": np.zeros(len(a[OUTPUT]), np.float32)}
        weight, bias = self._bridge()
        for k in range(2 if self.stacks.cell == "lstm" else 1):
            found |= {f"encoder.bridges.{k}.weight": weight, f"encoder.bridges.{k}.bias": bias}
        return found

    def _bridge(self) -> tuple[Array, Array]:
        """What makes a state (H,) of the last layer's h (D,)."""
        return self.arrays[f"{BRIDGE}.weight"], self.arrays[f"{BRIDGE}.bias"]

    def first(self, h: Array) -> Array:
        """The vector (H,) that all layers start from, of the last layer's h (D,)."""
        found: Array = np.tanh(self.exact[f"{BRIDGE}.weight"] @ h + self.exact[f"{BRIDGE}.bias"])
        return found

    def first_states(self, states: list[State]) -> list[State]:
        first = self.first(states[-1][0])
        return [tuple(first for _ in state) for state in states]

    def scores(self, h: Array, outputs: Array) -> Array:
        keys = outputs @ self.exact[KEY].T
        if ENERGY not in self.exact:
            return keys @ h
        found: Array = np.tanh(self.exact[QUERY] @ h + keys) @ self.exact[ENERGY].reshape(-1)
        return found

    def combined(self, context: Array, h: Array) -> Array:
        vector = self.exact[f"{VECTOR}.weight"] @ np.concatenate([h, context]) + self.exact[f"{VECTOR}.bias"]
        return np.tanh(vector)

    def logits(self, combined: Array) -> Array:
        return self.exact[OUTPUT] @ combined


class JoeyNMTLast(JoeyNMT):
    """The same with init_hidden "last"."""

    name = "joeynmt-rnn-last"
    about = "the same where the decoder starts from the encoder's last h, without a bridge"
    must_be_named = True
    activation = "linear"

    @classmethod
    def _bridge_names(cls) -> list[str]:
        return []

    def _bridge(self) -> tuple[Array, Array]:
        stacks = self.stacks
        width = 2 * stacks.direction if stacks.both else stacks.direction
        return np.eye(stacks.size, width, dtype=np.float32), np.zeros(stacks.size, np.float32)

    def first(self, h: Array) -> Array:
        return h[: self.stacks.size]


class JoeyNMTZero(JoeyNMTLast):
    """The same with init_hidden "zero"."""

    name = "joeynmt-rnn-zero"
    about = "the same where the decoder starts from zeros"

    def _bridge(self) -> tuple[Array, Array]:
        weight, bias = super()._bridge()
        return np.zeros_like(weight), bias

    def first(self, h: Array) -> Array:
        return np.zeros(self.stacks.size)
