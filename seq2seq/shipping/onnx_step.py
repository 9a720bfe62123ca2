"""The graph of one step of a decoder: a token and a state to log p of the next token and the next state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from seq2seq.shipping.onnx_graph import Array, Layers, Shape
from seq2seq.text.vocabulary import UNK_ID

Kept = dict[str, tuple[Any, Shape]]  # by name a NumPy type and a shape
_PLAIN = "lstm", "gru-context"  # decoders that do not attend


def states_of(graph: Layers) -> Kept:
    """The parts of a decoder's state."""
    if graph.kind == "transformer":
        size = graph.width("decoder")
        names = [f"{part}_{n}" for n in range(graph.c["num_layers"]) for part in ("keys", "values")]
        return {name: (np.float32, ["batch", "steps", size]) for name in names}
    if graph.kind == "conditional-gru":
        return {"h_0": (np.float32, ["batch", graph.c["hidden_size"]])}
    parts = "hc" if graph.cell == "lstm" else "h"
    names = [f"{part}_{n}" for n in range(graph.c["num_layers"]) for part in parts]
    kept: Kept = {name: (np.float32, ["batch", graph.c["hidden_size"]]) for name in names}
    if "decoder.attention.coverage" in graph.w:
        kept["coverage"] = np.float32, ["batch", "memory"]
    if graph.feeds and graph.kind not in _PLAIN:
        kept["context"] = np.float32, ["batch", _depth(graph)]
    if graph.kind == "luong":
        kept["features"] = np.float32, ["batch", graph.c["hidden_size"]]
    if graph.kind == "bahdanau":  # the alignment that the context is of
        kept["attended"] = np.float32, ["batch", "memory"]
    return kept


def memory_of(graph: Layers) -> Kept:
    """What steps read of a source."""
    size = graph.c["hidden_size"]
    if graph.kind in _PLAIN:
        return {"context": (np.float32, ["batch", size])} if graph.kind == "gru-context" else {}
    kept: Kept = {"memory_lengths": (np.int64, ["batch"])}
    if graph.kind == "transformer":
        size = graph.width("decoder")
        names = [f"memory_{part}_{n}" for n in range(graph.c["num_layers"]) for part in ("keys", "values")]
        return kept | {name: (np.float32, ["batch", "memory", size]) for name in names}
    kept["values"] = np.float32, ["batch", "memory", _depth(graph)]
    if "decoder.attention.v" in graph.w:
        kept["keys"] = np.float32, ["batch", "memory", len(graph.w["decoder.attention.v"])]
    return kept


def _depth(graph: Layers) -> int:
    """Of an encoder's outputs."""
    with_token = graph.kind == "conditional-gru" or "decoder.combine.weight" not in graph.w
    read = graph.w.get("decoder.combine.weight", graph.w["decoder.fc_out.weight"])
    return int(read.shape[1]) - int(graph.c["hidden_size"]) - (graph.width("decoder") if with_token else 0)


class StepGraph(Layers):
    """The graph, whole."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        super().__init__(config, weights)
        self.vocab_size = len(self.w["decoder.fc_out.weight"])
        token = self.input("token", np.int64, ["batch"])
        given = {name: self.input(name, *kept) for name, kept in (states_of(self) | memory_of(self)).items()}
        if self.kind == "pointer-generator":
            given["copies"] = self.input("copies", np.int64, ["batch", "memory"])
            token = self.op("Where", self.op("Less", token, self.vocab_size), token, UNK_ID)
        if self.kind == "transformer":
            found = self._transformer(token, given)
        elif self.kind in _PLAIN:
            found = self._plain(token, given)
        elif self.kind == "conditional-gru":
            found = self._conditional(token, given)
        else:
            found = self._attentive(token, given)
        width = "vocabulary_and_memory" if self.kind == "pointer-generator" else self.vocab_size
        self.output("log_probs", found["log_probs"], np.float32, ["batch", width])
        if "alignment" in found:
            self.output("alignment", found["alignment"], np.float32, ["batch", "memory"])
        for name, (kind, shape) in states_of(self).items():
            free = ["next_steps" if axis == "steps" else axis for axis in shape]
            self.output(f"next_{name}", found[name], kind, free)

    def _logs(self, features: str) -> str:
        return self.op("LogSoftmax", self.linear("decoder.fc_out", features), axis=-1)

    def _stack(self, x: str, width: int, given: Mapping[str, str], first: int = 0) -> tuple[str, dict[str, str]]:
        """x (R, .) through the layers from number ``first`` on -> h of the last (R, H), all h and c."""
        found = dict[str, str]()
        for n in range(self.c["num_layers"] - first):
            name, suffix = self.names_of_layer("decoder", n)
            y, last = self._layer(name, suffix, x, first + n, given)
            x, width = self.between("decoder", n, x, y, width == self.c["hidden_size"]), self.c["hidden_size"]
            found |= last
        return x, found

    def _layer(self, name: str, suffix: str, x: str, n: int, given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """One step of a layer from its state number n -> h (R, H), and h and perhaps c by name."""
        names = [f"{part}_{n}" for part in "hc" if f"{part}_{n}" in given]
        states = [given[state] for state in names]
        _, last = self.recurrent(self.cell, name, [suffix], self.op("Unsqueeze", x, [0]), states)
        return last[0], dict(zip(names, last, strict=True))

    def _plain(self, token: str, given: Mapping[str, str]) -> dict[str, str]:
        x, read = self.embedded("decoder", token), [given["context"]] if self.kind == "gru-context" else []
        width = self.width("decoder") + len(read) * self.c["hidden_size"]
        top, found = self._stack(self.op("Concat", x, *read, axis=1), width, given)
        features = self.op("Concat", x, top, *read, axis=1) if read else top
        return found | {"log_probs": self._logs(features)}

    def _transformer(self, token: str, given: Mapping[str, str]) -> dict[str, str]:
        found = dict[str, str]()
        steps = self.op("Expand", self.axis(given["keys_0"], 1), self.op("Concat", self.axis(token, 0), [1], axis=0))
        x = self.placed("decoder", self.op("Unsqueeze", self.scaled("decoder", token), [1]), steps)
        for n in range(self.c["num_layers"]):
            name = f"decoder.layers.{n}"
            own, other, caches = f"{name}.self_attn", f"{name}.multihead_attn", (f"keys_{n}", f"values_{n}")
            within = self.within(given["memory_lengths"], given[f"memory_keys_{n}"])

            def to_steps(y: str, own: str = own, caches: tuple[str, ...] = caches) -> str:
                query, *new = self.project(own, y, 0, 1, 2)
                for cache, row in zip(caches, new, strict=True):
                    found[cache] = self.op("Concat", given[cache], row, axis=1)
                return self.heads(own, [query, *(found[cache] for cache in caches)])[0]

            def to_memory(y: str, other: str = other, n: int = n, within: str = within) -> str:
                memory = given[f"memory_keys_{n}"], given[f"memory_values_{n}"]
                read, weights = self.heads(other, [*self.project(other, y, 0), *memory], within)
                found["alignment"] = self.op("ReduceMean", weights, axes=[1, 2], keepdims=0)  # T is 1
                return read

            x = self.blocks(name, x, to_steps, to_memory)
        return found | {"log_probs": self._logs(self.op("Squeeze", self.norm("decoder.norm", x), [1]))}

    def _conditional(self, token: str, given: Mapping[str, str]) -> dict[str, str]:
        x = self.embedded("decoder", token)
        asks = self._cell("decoder.cells.0", x, given["h_0"])
        read, alignment = self._attended(asks, given)
        h = self._cell("decoder.cells.1", read, asks)
        features = self.op("Tanh", self.linear("decoder.combine", self.op("Concat", read, h, x, axis=1)))
        return {"h_0": h, "alignment": alignment, "log_probs": self._logs(features)}

    def _cell(self, name: str, x: str, h: str) -> str:
        """One step of a GRU."""
        return self.recurrent("gru", name, [""], self.op("Unsqueeze", x, [0]), [h])[1][0]

    def _attentive(self, token: str, given: Mapping[str, str]) -> dict[str, str]:
        x, size = self.embedded("decoder", token), self.c["hidden_size"]
        if self.feeds:
            both = self.op("Concat", x, given["context"], axis=1)
            h, found = self._layer("decoder.attentive", "", both, 0, given)
            read, alignment = self._attended(h, given)
            found |= {"context": read, "attended": alignment}
            if self.kind == "bahdanau":  # it read what the state before attended to
                read, looked = given["context"], given["attended"]
            else:
                looked = alignment
            top = self.norm("decoder.norm", h)
            if self.c["num_layers"] > 1:
                top, others = self._stack(self.op("Concat", top, read, axis=1), size + _depth(self), given, first=1)
                found |= others
        else:
            given_before = [given["features"]] if self.kind == "luong" else []
            width = self.width("decoder") + size * len(given_before)
            top, found = self._stack(self.op("Concat", x, *given_before, axis=1), width, given)
            read, alignment = self._attended(top, given)
            looked = alignment
        if "coverage" in given:
            found["coverage"] = self.op("Add", given["coverage"], alignment)
        both = self.op("Concat", read, top, axis=1)
        features = found["features"] = self._features(both, x)
        copied = self.kind == "pointer-generator"
        logs = self._copied(features, both, x, looked, given["copies"]) if copied else self._logs(features)
        return found | {"log_probs": logs, "alignment": looked}

    def _features(self, both: str, x: str) -> str:
        """What the output layer reads, of [context; h] and the embedded token."""
        if "decoder.combine.weight" not in self.w:
            return self.op("Concat", both, x, axis=1)
        combined = self.linear("decoder.combine", both)
        return combined if self.c.get("linear_features") else self.op("Tanh", combined)

    def _attended(self, h: str, given: Mapping[str, str]) -> tuple[str, str]:
        values = given["values"]
        return self.attend(h, values, given.get("keys", values), given["memory_lengths"], given.get("coverage"))

    def _copied(self, features: str, both: str, x: str, alignment: str, copies: str) -> str:
        """log p where words may also be copied from the source."""
        writes = self.op("Sigmoid", self.linear("decoder.generate", self.op("Concat", both, x, axis=1)))
        p = self.op("Softmax", self.linear("decoder.fc_out", features), axis=-1)
        p = self.op("Concat", self.op("Mul", p, writes), self.op("Sub", alignment, alignment), axis=1)
        share = self.op("Mul", alignment, self.op("Sub", 1.0, writes))
        return self.op("Log", self.op("ScatterElements", p, copies, share, axis=1, reduction="add"))
