"""ONNX Runtime: the encoder and one decoding step as two graphs, built from the weights; around them a NumPy search.

The step's graph also picks the rows of the state that go on, and the k best words of every row, so nothing larger than
(rows, k) leaves it. ONNX Runtime has no bfloat16 on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from peers.problem import IMPOSSIBLE, SOS_ID, SPECIALS, Array, Task, best_words, initial_weights, padded_sources

_OPSET = 17


class Peer:
    """Decoding."""

    def __init__(self, task: Task, precision: str, threads: int) -> None:
        weights = dict(initial_weights(task))
        weights["decoder.fc_out.bias"][SPECIALS] = IMPOSSIBLE
        self.encoder = _session(_encoder(task, weights), threads)
        self.task, self.weights, self.threads = task, weights, threads
        self.steps: dict[int, onnxruntime.InferenceSession] = {}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Peer``."""
        src, lengths = padded_sources(sources)
        h, c = self.encoder.run(None, {"src": src, "lengths": lengths.astype(np.int32)})
        step = self._step(beam_size)
        count, width = len(sources), 1
        words, scores, rows = np.full(count, SOS_ID), np.zeros((count, 1), np.float32), np.arange(count)
        parents, found = [], []
        for _ in range(steps):
            gains, best, h, c = step.run(None, {"words": words, "rows": rows, "h": h, "c": c})
            totals = (scores.reshape(-1, 1) + gains).reshape(count, width * beam_size)
            order = np.argsort(-totals, axis=1, kind="stable")[:, :beam_size]
            scores = np.take_along_axis(totals, order, 1)
            parents.append(order // beam_size)
            found.append(np.take_along_axis(best.reshape(count, -1), order, 1))
            rows = (parents[-1] + np.arange(count)[:, None] * width).ravel()
            words, width = found[-1].ravel(), beam_size
        return best_words(np.stack(parents), np.stack(found))

    def _step(self, beam_size: int) -> onnxruntime.InferenceSession:
        if beam_size not in self.steps:
            self.steps[beam_size] = _session(_decoder(self.task, self.weights, beam_size), self.threads)
        return self.steps[beam_size]


def _session(graph: Any, threads: int) -> onnxruntime.InferenceSession:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, name: str, array: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def _in_onnx_order(array: Array) -> Array:
    """Gate blocks i, f, g, o as ONNX has them: i, o, f, g; with a leading axis for the one direction."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])[None]


def _stack(graph: _Graph, task: Task, weights: dict[str, Array], side: str, x: str, states: Any, lengths: str) -> str:
    """LSTM layers over x (T,N,E); writes h and c (L,N,H), returns the last layer's output (T,1,N,H)."""
    ends: dict[str, list[str]] = {"h": [], "c": []}
    y = x
    for layer in range(task.num_layers):
        names = [f"{side}.rnn.{part}_l{layer}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        w, r, b_w, b_r = (_in_onnx_order(weights[name]) for name in names)
        constants = {f"W{layer}": w, f"R{layer}": r, f"B{layer}": np.concatenate([b_w, b_r], axis=1)}
        given = [graph.constant(name, array) for name, array in constants.items()]
        start = ["", ""] if states is None else [f"{state}{layer}" for state in states]
        outputs = [f"Y{layer}", f"H{layer}", f"C{layer}"]
        graph.add("LSTM", [y, *given, lengths, *start], outputs, hidden_size=task.hidden_size)
        ends["h"].append(outputs[1])
        ends["c"].append(outputs[2])
        if layer + 1 < task.num_layers:
            y = graph.add("Squeeze", [outputs[0], "one"], [f"y{layer}"])
    for name, parts in ends.items():
        graph.add("Concat", parts, [f"next_{name}"], axis=0)
    return outputs[0]


def _values(kind: int, **shapes: list[Any]) -> list[Any]:
    return [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]


def _encoder(task: Task, weights: dict[str, Array]) -> Any:
    """src (S,N) int64, lengths (N,) int32 -> next_h, next_c (L,N,H)."""
    graph = _Graph()
    graph.constant("one", np.array([1]))
    table = graph.constant("table", weights["encoder.embedding.weight"])
    x = graph.add("Gather", [table, "src"], ["x"])
    _stack(graph, task, weights, "encoder", x, None, "lengths")
    inputs = _values(TensorProto.INT64, src=["S", "N"]) + _values(TensorProto.INT32, lengths=["N"])
    state = [task.num_layers, "N", task.hidden_size]
    outputs = _values(TensorProto.FLOAT, next_h=state, next_c=state)
    return helper.make_graph(graph.nodes, "encoder", inputs, outputs, graph.constants)


def _decoder(task: Task, weights: dict[str, Array], k: int) -> Any:
    """words and rows (M,) int64, h and c (L,N,H) -> gains (M,k) log p, best (M,k) words, next_h, next_c (L,M,H)."""
    graph = _Graph()
    graph.constant("zero", np.array([0]))
    graph.constant("one", np.array([1]))
    graph.constant("k", np.array([k]))
    x = graph.add("Gather", [graph.constant("table", weights["decoder.embedding.weight"]), "words"], ["rows_of_x"])
    x = graph.add("Unsqueeze", [x, "zero"], ["x"])
    for state in ("h", "c"):
        chosen = graph.add("Gather", [state, "rows"], [f"{state}_chosen"], axis=1)
        graph.add("Split", [chosen], [f"{state}{layer}" for layer in range(task.num_layers)], axis=0)
    y = _stack(graph, task, weights, "decoder", x, ("h", "c"), "")
    graph.constant("both", np.array([0, 1]))
    y = graph.add("Squeeze", [y, "both"], ["y"])
    w = graph.constant("W", weights["decoder.fc_out.weight"].T)
    logits = graph.add("Gemm", [y, w, graph.constant("b", weights["decoder.fc_out.bias"])], ["logits"])
    graph.add("TopK", [graph.add("LogSoftmax", [logits], ["log_p"], axis=1), "k"], ["gains", "best"], axis=1)
    before, found = [task.num_layers, "N", task.hidden_size], ["M", k]
    inputs = _values(TensorProto.INT64, words=["M"], rows=["M"]) + _values(TensorProto.FLOAT, h=before, c=before)
    kept = [task.num_layers, "M", task.hidden_size]
    outputs = _values(TensorProto.FLOAT, gains=found) + _values(TensorProto.INT64, best=found)
    outputs += _values(TensorProto.FLOAT, next_h=kept, next_c=kept)
    return helper.make_graph(graph.nodes, "step", inputs, outputs, graph.constants)
