"""Keras' models of two LSTMs: the character model of its tutorial (Chollet, "A ten-minute introduction to
sequence-to-sequence learning in Keras", 2017), and the same over the ids of words.

V words, E embedding size, H state size.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from seq2seq.conversion.layouts.arithmetic import log_softmax, lstm_step
from seq2seq.conversion.layouts.contract import Array, Arrays, Layout
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted

ROLES = {
    "lstm": {"kernel", "recurrent_kernel", "bias"},
    "dense": {"kernel", "bias"},
    "embedding": {"embeddings"},
}


class Half(NamedTuple):
    """The layers of an encoder or a decoder; without a table its LSTM reads a number for each word, one of them 1."""

    lstm: Arrays
    embedding: Arrays | None

    @property
    def table(self) -> Array:
        """(V, E), what the LSTM reads of each word."""
        return (
            np.eye(len(self.lstm["kernel"]), dtype=np.float32)
            if self.embedding is None
            else (self.embedding["embeddings"])
        )

    def step(self, token: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        """h and c after a token."""
        kernel, recurrent, bias = self.lstm["kernel"], self.lstm["recurrent_kernel"], self.lstm["bias"]
        return lstm_step(self.table[token], state, (kernel.T, recurrent.T, bias, 0 * bias))


class KerasLSTM(Layout):
    """An LSTM whose last state is another's first, and a dense layer over the words. The one that reads the source is
    that of the lower number, or the one whose name says it. No source has marks."""

    name = "keras-lstm"
    about = "two LSTMs and a dense layer, perhaps with embeddings, of an .h5 or .keras file"

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        halves = _halves(arrays)
        if halves is None:
            return None
        (encoder, decoder), dense = halves
        sizes = {len(half.lstm["recurrent_kernel"]) for half in (encoder, decoder)} | {len(dense["kernel"])}
        if len(sizes) != 1:
            raise UserError(f"states have {' and '.join(map(str, sorted(sizes)))} numbers; expected as many everywhere")
        for half in (encoder, decoder):
            if half.table.shape[1] != len(half.lstm["kernel"]):
                raise UserError(
                    f"an LSTM reads {counted(len(half.lstm['kernel']), 'number')}, the table has {half.table.shape}"
                )
        width = max(half.table.shape[1] for half in (encoder, decoder))
        sizes_of = {"embedding_size": width, "hidden_size": sizes.pop(), "num_layers": 1}
        return {"encoder": "lstm", "decoder": "lstm", "source_marks": "none"} | sizes_of

    def weights(self) -> Arrays:
        halves = _halves(self.arrays)
        assert halves is not None  # that is how it was recognised
        both, dense = halves
        width = max(half.table.shape[1] for half in both)
        found = {"decoder.fc_out.weight": dense["kernel"].T, "decoder.fc_out.bias": dense["bias"]}
        for part, half in zip(("encoder", "decoder"), both, strict=True):
            table, bias = half.table, half.lstm["bias"]
            more = ((0, 0), (0, width - table.shape[1]))  # both sides have as many numbers here
            found |= {
                f"{part}.embedding.weight": np.pad(table, more),
                f"{part}.rnn.weight_ih_l0": np.pad(half.lstm["kernel"].T, more),
                f"{part}.rnn.weight_hh_l0": half.lstm["recurrent_kernel"].T,
                f"{part}.rnn.bias_ih_l0": bias,
                f"{part}.rnn.bias_hh_l0": np.zeros_like(bias),
            }
        return {name: np.ascontiguousarray(array) for name, array in found.items()}

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        halves = _halves(self.arrays)
        assert halves is not None  # that is how it was recognised
        (encoder, decoder), dense = halves
        state = (np.zeros(len(encoder.lstm["recurrent_kernel"])),) * 2
        for token in source:
            state = encoder.step(token, state)
        found = []
        for token in target:
            state = decoder.step(token, state)
            found.append(log_softmax(state[0] @ dense["kernel"] + dense["bias"]))
        return np.array(found)


def _halves(arrays: Arrays) -> tuple[list[Half], Arrays] | None:
    """Encoder and decoder, and the dense layer; None where the layers are not these."""
    layers: dict[str, Arrays] = {}
    for path, array in arrays.items():
        layer, _, role = path.rpartition("/")
        layers.setdefault(layer, {})[role] = array
    kinds: dict[str, list[Arrays]] = {kind: [] for kind in ROLES}
    for name in sorted(layers, key=_order):
        kind = next((kind for kind, roles in ROLES.items() if set(layers[name]) == roles), None)
        if kind is None or not _fits(kind, layers[name]):
            return None
        kinds[kind].append(layers[name])
    counts = {kind: len(found) for kind, found in kinds.items()}
    if counts not in ({"lstm": 2, "dense": 1, "embedding": embeddings} for embeddings in (0, 2)):
        return None
    tables: list[Any] = kinds["embedding"] or [None, None]
    return [Half(*pair) for pair in zip(kinds["lstm"], tables, strict=True)], kinds["dense"][0]


def _order(name: str) -> tuple[bool, int, str]:
    """The encoder's layers before the decoder's."""
    number = re.search(r"(\d+)$", name)
    return "dec" in name.lower(), int(number[1]) if number else 0, name


def _fits(kind: str, layer: Arrays) -> bool:
    """Whether the arrays of a layer have shapes that go together; a GRU has the names of an LSTM."""
    if kind == "embedding":
        return layer["embeddings"].ndim == 2
    kernel, bias = layer["kernel"], layer["bias"]
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
        return False
    size = bias.size // 4
    return kind == "dense" or (layer["recurrent_kernel"].shape == (size, 4 * size) and bias.size == 4 * size)
