"""The graph of a source, from its tokens or rows to the first state of the decoder and the memory that steps read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from seq2seq.shipping.onnx_graph import Array, Layers
from seq2seq.shipping.onnx_step import memory_of, states_of


class EncoderGraph(Layers):
    """The graph, whole.

    Args:
        scales: of rows what they are less, and then times (F,); None of text.
    """

    def __init__(
        self, config: Mapping[str, Any], weights: Mapping[str, Array], scales: tuple[Array, Array] | None = None
    ) -> None:
        super().__init__(config, weights)
        if scales is None:
            source = self.input("tokens", np.int64, ["batch", "source"])
        else:
            rows = self.input("rows", np.float32, ["batch", "source", len(scales[0])])
            source = self.op("Mul", self.op("Sub", rows, scales[0]), scales[1])
        self.lengths = self.input("lengths", np.int64, ["batch"])
        values, states = self._encoded(source)
        given = self._started(values, self._bridged(values, states))
        for name, (kind, shape) in (states_of(self) | memory_of(self)).items():
            self.output(name, given[name], kind, shape)

    def _encoded(self, source: str) -> tuple[str, list[list[str]]]:
        """Outputs (N, S, D), and for each layer h and perhaps c (N, H)."""
        kind = self.c["encoder"]
        if kind == "transformer":
            return self._transformer(source), []
        x = self.embedded("encoder", source)
        if kind == "vector":
            return self.op("Tanh", x), []
        return self._recurrent(kind.removeprefix("bi"), kind.startswith("bi"), x)

    def _transformer(self, source: str) -> str:
        x = self.scaled("encoder", source)
        positions = self.op("Range", 0, self.op("Squeeze", self.axis(source, 1), [0]), 1)
        x, within = self.placed("encoder", x, positions), self.within(self.lengths, source)
        for name in (f"encoder.layers.{n}" for n in range(self.c["num_layers"])):

            def to_all(y: str, at: str = f"{name}.self_attn") -> str:
                return self.heads(at, self.project(at, y, 0, 1, 2), within)[0]

            x = self.blocks(name, x, to_all)
        return self.norm("encoder.norm", x)

    def _recurrent(self, cell: str, both: bool, x: str) -> tuple[str, list[list[str]]]:
        width, states, layers = (
            self.w["encoder.embedding.weight"].shape[self.is_ids("encoder")],
            [],
            self.c["num_layers"],
        )
        for n in range(layers):
            if n >= layers - self.c.get("pyramid", 0):
                x, width = self._in_pairs(x, width), 2 * width
            name, suffix = self.names_of_layer("encoder", n)
            suffixes = [suffix, f"{suffix}_reverse"] if both else [suffix]
            size = self.w[f"{name}.weight_hh{suffix}"].shape[1] * len(suffixes)
            y, last = self.recurrent(cell, name, suffixes, self._turned(x), lengths=self.lengths)
            x, width = self.between("encoder", n, x, self._turned(y), width == size), size
            states.append(last)
        return x, states

    def _turned(self, x: str) -> str:
        """Rows first, or steps first."""
        return self.op("Transpose", x, perm=[1, 0, 2])

    def _in_pairs(self, x: str, width: int) -> str:
        """Two positions side by side become one (N, S, E) -> (N, S / 2 rounded up, 2 E); beyond the end is nothing."""
        within = self.op("Unsqueeze", self.within(self.lengths, x), [2])
        missing = self.op("Mod", self.axis(x, 1), [2])
        pads = self.op("Concat", [0, 0, 0, 0], missing, [0], axis=0)
        x = self.op("Pad", self.op("Where", within, x, 0.0), pads)
        self.lengths = self.op("Div", self.op("Add", self.lengths, 1), 2)
        return self.op("Reshape", x, [0, -1, 2 * width])

    def _bridged(self, values: str, states: list[list[str]]) -> list[list[str]]:
        bridges = [f"encoder.bridges.{k}" for k in (0, 1) if f"encoder.bridges.{k}.weight" in self.w]
        if bridges and states:  # of h alone both h and c are made
            states = [states[-1][:1]] * len(states) if self.c.get("bridge_top") else states
            pairs = [zip(bridges, (*two, two[-1]), strict=False) for two in states]
            kind = {"tanh": "Tanh", "relu": "Relu", "linear": "Identity"}[self.c.get("bridge_activation", "tanh")]
            return [[self.op(kind, self.linear(*pair)) for pair in layer] for layer in pairs]
        if not bridges:
            return states
        mean = self._mean(values)
        made = [self.op("Tanh", self.linear(bridge, mean)) for bridge in bridges]
        layers = self.c["num_layers"]
        parts = [self.op("Split", whole, outputs=layers, axis=1) if layers > 1 else [whole] for whole in made]
        return [list(layer) for layer in zip(*parts, strict=True)]

    def _mean(self, values: str) -> str:
        """Of each source's own positions: (N, S, D) -> (N, D)."""
        within = self.op("Unsqueeze", self.within(self.lengths, values), [2])
        total = self.op("ReduceSum", self.op("Where", within, values, 0.0), [1], keepdims=0)
        counts = self.op("Unsqueeze", self.op("Cast", self.lengths, to=self._onnx.TensorProto.FLOAT), [1])
        mean: str = self.op("Div", total, counts)
        return mean

    def _started(self, values: str, states: list[list[str]]) -> dict[str, str]:
        """The first state and the memory, by name."""
        given = {"values": values, "memory_lengths": self.lengths}
        if self.kind == "transformer":
            return given | self._caches(values)
        given |= {f"{'hc'[k]}_{n}": part for n, layer in enumerate(states) for k, part in enumerate(layer)}
        if self.kind == "conditional-gru":
            given["h_0"] = self.op("Tanh", self.linear("decoder.initial", self._mean(values)))
        if self.kind == "gru-context":
            given["context"] = states[-1][0]
        if self.kind in ("lstm", "gru-context"):
            return given
        given["keys"] = self.linear("decoder.attention.key", values) if "decoder.attention.v" in self.w else values
        first = self.op("ReduceMean", values, axes=[2], keepdims=0)
        given["coverage"] = self.op("Sub", first, first)
        row = self.op("ReduceMean", values, axes=[1], keepdims=0)
        given["context"] = self.op("Sub", row, row)
        given["features"] = self.op("Sub", given["h_0"], given["h_0"])
        if self.kind == "bahdanau":
            covered = given["coverage"] if "coverage" in states_of(self) else None
            attended = self.attend(given["h_0"], values, given["keys"], self.lengths, covered)
            given |= dict(zip(("context", "attended"), attended, strict=True))
            given["coverage"] = given["attended"]
        return given

    def _caches(self, values: str) -> dict[str, str]:
        x = self.linear("decoder.bridge", values) if "decoder.bridge.weight" in self.w else values
        size = self.width("decoder")
        shape = self.op("Concat", self.axis(values, 0), [0, size], axis=0)
        nothing = self.op("ConstantOfShape", shape)
        found = dict[str, str]()
        for n in range(self.c["num_layers"]):
            memory = self.project(f"decoder.layers.{n}.multihead_attn", x, 1, 2)
            found |= dict(zip((f"memory_keys_{n}", f"memory_values_{n}"), memory, strict=True))
            found |= {f"keys_{n}": nothing, f"values_{n}": nothing}
        return found
