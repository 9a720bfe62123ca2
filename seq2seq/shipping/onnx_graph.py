"""The layers of a model as nodes of an ONNX graph, each written by hand: what decode.py says, for many rows at once.

A ``Graph`` collects nodes and constants; a value is the name of what a node gives. The operators are those of opset 17,
and onnxruntime computes them all. N sources or R hypotheses as rows, S positions, T steps, E, D, H sizes.

Sources: the operators, onnx.ai; the gates of its LSTM lie in the order i o f g, those of its GRU z r n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seq2seq.run.errors import UserError

INSTALL_ONNX = "pip install 'onnx>=1.17'"  # works in any folder; pyproject.toml says the same
_ORDERS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "cho-gru": (1, 0, 2)}  # of the gates
_OPSET, _IR_VERSION = 17, 8
Array = np.ndarray
Shape = Sequence[int | str]  # an axis that is free has a name


def require_onnx() -> Any:
    """The library; UserError where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise UserError(f"to: a folder .onnx is written with onnx, which is not installed; {INSTALL_ONNX}") from None
    return onnx


class Graph:
    """Nodes under way.

    Args:
        config: the settings of a run, as its model file has them.
        weights: (float32) by the names of the state_dict.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        self.c, self.w = config, weights
        self._onnx, self._nodes, self._constants = require_onnx(), list[Any](), dict[str, Array]()
        self._inputs, self._outputs, self._unnamed = list[Any](), list[Any](), dict[Any, str]()

    def op(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """The value of a new node, or its values where ``outputs`` is above 1. Inputs are values, numbers or arrays;
        None is one that is left out."""
        names = [f"{kind}_{len(self._nodes)}_{n}" for n in range(outputs)]
        read = ["" if value is None else value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._nodes.append(self._onnx.helper.make_node(kind, read, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, name: str | None = None) -> str:
        """The value of a number or an array: integers are int64, all else is float32 unless it is an array."""
        array = value if isinstance(value, np.ndarray) else np.array(value)
        if not isinstance(value, np.ndarray) and array.dtype.kind == "f":
            array = array.astype(np.float32)
        if name is None:  # equal ones are there once
            key = str(array.dtype), array.shape, array.tobytes()
            name = self._unnamed.setdefault(key, f"constant_{len(self._unnamed)}")
        self._constants.setdefault(name, array)
        return name

    def weight(self, name: str) -> str:
        return self.constant(self.w[name], name)

    def input(self, name: str, kind: Any, shape: Shape) -> str:
        """Declare an input of a NumPy type."""
        self._inputs.append(self._declared(name, kind, shape))
        return name

    def output(self, name: str, value: str, kind: Any, shape: Shape) -> None:
        """Declare that the graph gives a value under a name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._declared(name, kind, shape))

    def _declared(self, name: str, kind: Any, shape: Shape) -> Any:
        helper = self._onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), list(shape))

    def to_bytes(self, name: str) -> bytes:
        """The model in the form of .onnx files; UserError where it is beyond the two gigabytes of these."""
        if sum(array.nbytes for array in self._constants.values()) > 2**31 - 2**24:
            raise UserError("to: the weights have more than two gigabytes, the most that an .onnx file holds")
        helper, arrays = self._onnx.helper, self._onnx.numpy_helper
        constants = [arrays.from_array(np.ascontiguousarray(value), key) for key, value in self._constants.items()]
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, constants)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, producer_name="minigrad-seq2seq", opset_imports=opsets, ir_version=_IR_VERSION)
        serialized: bytes = model.SerializeToString()
        return serialized


class Layers(Graph):
    """Parts that encoders and decoders share."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        super().__init__(config, weights)
        self.kind = config["decoder"]
        self.feeds = self.kind == "bahdanau" or (self.kind != "dot-attention" and bool(config.get("input_feeding")))
        chosen = "auto" if self.kind in ("lstm", "dot-attention") else config.get("cell", "auto")
        self.cell = chosen if chosen != "auto" else "gru" if self.kind == "gru-context" else "lstm"

    def linear(self, name: str, x: str) -> str:
        y = self.product(x, f"{name}.weight")
        return self.op("Add", y, self.weight(f"{name}.bias")) if f"{name}.bias" in self.w else y

    def product(self, x: str, name: str, rows: slice = slice(None)) -> str:
        """x by (some rows of) a matrix (O, I) -> (..., O)."""
        part = "" if rows == slice(None) else f"[{rows.start}:{rows.stop}]"
        return self.op("MatMul", x, self.constant(self.w[name][rows].T, f"{name}{part}.T"))

    def norm(self, name: str, x: str) -> str:
        if f"{name}.weight" not in self.w:
            return x
        gain, bias = (self.weight(f"{name}.{part}") for part in ("weight", "bias"))
        return self.op("LayerNormalization", x, gain, bias, epsilon=1e-5)

    def axis(self, x: str, number: int) -> str:
        """The size of an axis, (1,) int64."""
        return self.op("Shape", x, start=number, end=number + 1)

    def within(self, lengths: str, x: str) -> str:
        """(N, S) bool: which positions of x (N, S, ...) are below the lengths (N,)."""
        positions = self.op("Range", 0, self.op("Squeeze", self.axis(x, 1), [0]), 1)
        return self.op("Less", positions, self.op("Unsqueeze", lengths, [1]))

    # --- recurrent layers
    def recurrent(
        self, cell: str, name: str, suffixes: Sequence[str], x: str, states: Sequence[str] = (),
        lengths: str | None = None,
    ) -> tuple[str, list[str]]:  # fmt: skip
        """One layer, of two suffixes both ways: x (T, R, I) from states (R, H) or zeros -> h of all steps (T, R, .),
        the last h and perhaps c (R, .)."""
        parts = [
            [self._gates(cell, f"{name}.{part}{suffix}") for suffix in suffixes] for part in ("weight_ih", "weight_hh")
        ]
        biases = [
            np.concatenate([self._gates(cell, f"{name}.{part}{suffix}") for part in ("bias_ih", "bias_hh")])
            for suffix in suffixes
        ]
        constants = [
            self.constant(np.stack(arrays), f"{name}{suffixes[0]}.{part}")
            for arrays, part in zip((*parts, biases), ("W", "R", "B"), strict=True)
        ]
        given = [self.op("Unsqueeze", state, [0]) for state in states]
        attributes: dict[str, Any] = {"hidden_size": self.w[f"{name}.weight_hh{suffixes[0]}"].shape[1]}
        attributes["direction"] = "forward" if len(suffixes) == 1 else "bidirectional"
        if cell != "lstm":
            attributes["linear_before_reset"] = int(cell == "gru")  # on the product the reset gate acts, or on h
        counts = None if lengths is None else self.op("Cast", lengths, to=self._onnx.TensorProto.INT32)
        kind, results = ("LSTM", 3) if cell == "lstm" else ("GRU", 2)
        y, *last = self.op(kind, x, *constants, counts, *given, outputs=results, **attributes)
        y = self.op("Reshape", self.op("Transpose", y, perm=[0, 2, 1, 3]), [0, 0, -1])
        return y, [self.op("Reshape", self.op("Transpose", state, perm=[1, 0, 2]), [0, -1]) for state in last]

    def _gates(self, cell: str, name: str) -> Array:
        """A weight with its gates in the order of the operators."""
        parts = np.split(self.w[name], len(_ORDERS[cell]))
        return np.concatenate([parts[place] for place in _ORDERS[cell]])

    def names_of_layer(self, half: str, n: int) -> tuple[str, str]:
        """The module and the suffix of a layer of a stack."""
        name = f"{half}.rnn.layers.{n}"
        return (name, "_l0") if f"{name}.weight_ih_l0" in self.w else (f"{half}.rnn", f"_l{n}")

    def between(self, half: str, n: int, x: str, y: str, keeps_width: bool) -> str:
        """What the next layer reads of a layer that read x and gave y."""
        y = self.norm(f"{half}.rnn.norms.{n}", y)
        adds = self.c.get(f"{'decoder_' if half == 'decoder' else ''}residual") and keeps_width
        return self.op("Add", x, y) if adds else y

    # --- attention of recurrent decoders
    def attend(self, h: str, values: str, keys: str, lengths: str, coverage: str | None) -> tuple[str, str]:
        """From h (R, H), values (R, S, D), keys (R, S, .): contexts (R, D) and alignments (R, S)."""
        at = "decoder.attention"
        query = self.product(h, f"{at}.query.weight") if f"{at}.query.weight" in self.w else h
        query = self.op("Unsqueeze", query, [1])
        if f"{at}.v" in self.w:
            inner = self.op("Add", query, keys)
            if coverage is not None:
                covered = self.op("Mul", self.op("Unsqueeze", coverage, [2]), self.weight(f"{at}.coverage"))
                inner = self.op("Add", inner, covered)
            scores = self.op("MatMul", self.op("Tanh", inner), self.weight(f"{at}.v"))
        else:
            scores = self.op("Squeeze", self.op("MatMul", query, self.op("Transpose", keys, perm=[0, 2, 1])), [1])
            if self.c.get("attention") == "scaled" and self.kind != "dot-attention":
                scores = self.op("Div", scores, math.sqrt(self.c["hidden_size"]))
        alignment = self.op("Softmax", self.op("Where", self.within(lengths, values), scores, -math.inf), axis=-1)
        context = self.op("Squeeze", self.op("MatMul", self.op("Unsqueeze", alignment, [1]), values), [1])
        return context, alignment

    # --- Transformer
    def placed(self, half: str, x: str, steps: str) -> str:
        """Rows (..., E) with the positions of the steps, int64, whose shape goes before E."""
        size = self.width(half)
        if f"{half}.positions.learned.weight" in self.w:
            return self.op("Add", x, self.op("Gather", self.weight(f"{half}.positions.learned.weight"), steps))
        columns = np.arange(size)  # a cosine is a sine a quarter further; in double, since steps may be large
        divisors, phases = 10_000 ** ((columns - columns % 2) / size), columns % 2 * (math.pi / 2)
        double = self._onnx.TensorProto.DOUBLE
        turns = self.op("Div", self.op("Cast", self.op("Unsqueeze", steps, [-1]), to=double), divisors)
        waves = self.op("Sin", self.op("Add", turns, phases))
        return self.op("Add", x, self.op("Cast", waves, to=self._onnx.TensorProto.FLOAT))

    def is_ids(self, half: str) -> bool:
        return half == "decoder" or self.c["source"] == "text"

    def width(self, half: str) -> int:
        """E of the embedding of a half, of which rows have a linear layer."""
        return int(self.w[f"{half}.embedding.weight"].shape[1 if self.is_ids(half) else 0])

    def embedded(self, half: str, x: str) -> str:
        """Ids (...), or rows (..., F) -> (..., E)."""
        if not self.is_ids(half):
            return self.linear(f"{half}.embedding", x)
        return self.op("Gather", self.weight(f"{half}.embedding.weight"), x)

    def scaled(self, half: str, x: str) -> str:
        """Ids or rows as a Transformer reads them."""
        y = self.embedded(half, x)
        return self.op("Mul", y, math.sqrt(self.width(half))) if self.is_ids(half) else y

    def project(self, name: str, x: str, *which: int) -> list[str]:
        """Of queries, keys and values (0, 1, 2) those asked for."""
        size, bias = self.w[f"{name}.in_proj_weight"].shape[1], self.w[f"{name}.in_proj_bias"]
        parts = [slice(k * size, (k + 1) * size) for k in which]
        return [self.op("Add", self.product(x, f"{name}.in_proj_weight", part), bias[part]) for part in parts]

    def heads(self, name: str, projected: Sequence[str], within: str | None = None) -> tuple[str, str]:
        """Queries (N, T, E), keys and values (N, S, E), those within (N, S) -> (N, T, E), weights (N, heads, T, S)."""
        count, size = self.c["num_heads"], self.w[f"{name}.in_proj_weight"].shape[1]
        split = [self.op("Reshape", x, [0, 0, count, size // count]) for x in projected]
        turns = (0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)
        q, k, v = (self.op("Transpose", x, perm=turn) for x, turn in zip(split, turns, strict=True))
        scores = self.op("Div", self.op("MatMul", q, k), math.sqrt(size // count))
        if within is not None:
            scores = self.op("Where", self.op("Unsqueeze", within, [1, 2]), scores, -math.inf)
        weights = self.op("Softmax", scores, axis=-1)
        found = self.op("Transpose", self.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        return self.linear(f"{name}.out_proj", self.op("Reshape", found, [0, 0, size])), weights

    def blocks(self, name: str, x: str, *attentions: Any) -> str:
        """A layer: attentions, then two linear layers, each added to what it reads."""

        def feed(y: str) -> str:
            return self.linear(f"{name}.linear2", self._activated(self.linear(f"{name}.linear1", y)))

        for n, block in enumerate((*attentions, feed), start=1):
            if self.c["norm_first"]:
                x = self.op("Add", x, block(self.norm(f"{name}.norm{n}", x)))
            else:
                x = self.norm(f"{name}.norm{n}", self.op("Add", x, block(x)))
        return x

    def _activated(self, x: str) -> str:
        if self.c["activation"] == "relu":
            return self.op("Relu", x)
        share = self.op("Add", self.op("Erf", self.op("Div", x, math.sqrt(2))), 1.0)
        return self.op("Mul", self.op("Mul", x, 0.5), share)
