"""Tiny models of OpenNMT-py, fairseq and JoeyNMT: their arrays by name, and what they compute, by PyTorch's modules put
together as each toolkit does.

E = 5, H = 6; sources of seven words, targets of six.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
WORDS = [f"s{number}" for number in range(7)], [f"t{number}" for number in range(6)]
Shapes = dict[str, tuple[int, ...]]
GATES = {"lstm": 4, "gru": 3}


class Toolkit(NamedTuple):
    """What a toolkit does.

    Attributes:
        layout: its name.
        shapes: of its arrays, of options.
        log_probs: (T, V) of weights by name, the ids of a source and those that the decoder reads.
        tokens: of both sides, in the order of their ids.
        before, behind, begin, end: ids around a source, and what a target begins and ends with.
        cases: options by name.
    """

    layout: str
    shapes: Callable[..., Shapes]
    log_probs: Callable[..., np.ndarray]
    tokens: tuple[list[str], list[str]]
    before: list[int]
    behind: list[int]
    begin: int
    end: int
    cases: dict[str, dict[str, Any]]

    def arrays(self, case: str) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        shapes = self.shapes(**self.cases[case])
        return {name: rng.uniform(-0.8, 0.8, shape).astype(np.float32) for name, shape in shapes.items()}

    def by_torch(self, weights: dict[str, np.ndarray], case: str, source: list[int], target: list[int]) -> np.ndarray:
        tensors = {name: torch.from_numpy(array.astype(np.float64)) for name, array in weights.items()}
        with torch.no_grad():
            logits = self.log_probs(tensors, torch.tensor(source), torch.tensor(target), **self.cases[case])
            return torch.log_softmax(logits, 1).numpy()


def rnn_shapes(prefix: str, kind: str, width: int, size: int, layers: int, both: bool = False) -> Shapes:
    """Of ``nn.LSTM`` and ``nn.GRU``."""
    found: Shapes = {}
    for n in range(layers):
        for suffix in ("", "_reverse") if both else ("",):
            reads = width if n == 0 else size * (2 if both else 1)
            found |= cell_shapes(f"{prefix}.{{}}_l{n}{suffix}", kind, reads, size)
    return found


def cell_shapes(pattern: str, kind: str, width: int, size: int) -> Shapes:
    rows = GATES[kind] * size
    shapes = {"weight_ih": (rows, width), "weight_hh": (rows, size), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {pattern.format(part): shape for part, shape in shapes.items()}


def loaded(module: Any, weights: dict[str, Any], prefix: str) -> Any:
    """A module of PyTorch's with the weights that have its names behind a prefix."""
    own = {name.removeprefix(f"{prefix}."): w for name, w in weights.items() if name.startswith(f"{prefix}.")}
    module.double().load_state_dict(own)
    return module


def encode(
    weights: dict[str, Any], prefix: str, table: str, source: Any, kind: str, size: int, layers: int, both: bool
):
    """Outputs (S, D) and the list of the last states (L * directions, H)."""
    rnn = loaded((nn.LSTM if kind == "lstm" else nn.GRU)(5, size, layers, bidirectional=both), weights, prefix)
    y, last = rnn(weights[table][source])
    return y, [*last] if kind == "lstm" else [last]


def pairs(states: list[Any], both: bool) -> list[Any]:
    """(L * 2, H) -> (L, 2H), the directions side by side."""
    return [torch.cat([state[0::2], state[1::2]], 1) for state in states] if both else states


def run_cells(cells: list[Any], x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """A step through cells: h of the last, the states (L, H)."""
    after = []
    for n, cell in enumerate(cells):
        state = tuple(part[n] for part in states)
        found = cell(x, state if len(state) == 2 else state[0])
        after.append(found if isinstance(found, tuple) else (found,))
        x = after[-1][0]
    return x, [torch.stack(parts) for parts in zip(*after, strict=True)]


def cells_of(kind: str, widths: list[int]) -> list[Any]:
    return [(nn.LSTMCell if kind == "lstm" else nn.GRUCell)(width, 6) for width in widths]


# --- OpenNMT-py -------------------------------------------------------------------------------------------------------
def opennmt_shapes(
    kind="lstm", layers=2, both=True, score="general", bridge=False, feeds=True, generator="generator.0"
) -> Shapes:
    size, table = 3 if both else 6, "embeddings.make_embedding.emb_luts.0.weight"
    found = {f"encoder.{table}": (9, 5)} | rnn_shapes("encoder.rnn", kind, 5, size, layers, both)
    if bridge:
        for number in range(2 if kind == "lstm" else 1):
            found |= {f"encoder.bridge.{number}.weight": (size * layers,) * 2}
            found |= {f"encoder.bridge.{number}.bias": (size * layers,)}
    found |= {f"decoder.{table}": (10, 5)}
    for n in range(layers):
        name = f"decoder.rnn.layers.{n}.{{}}" if feeds else f"decoder.rnn.{{}}_l{n}"
        found |= cell_shapes(name, kind, 6 if n else 11 if feeds else 5, 6)
    if score == "general":
        found |= {"decoder.attn.linear_in.weight": (6, 6)}
    if score == "mlp":
        found |= {"decoder.attn.linear_context.weight": (6, 6), "decoder.attn.linear_query.weight": (6, 6)}
        found |= {"decoder.attn.linear_query.bias": (6,), "decoder.attn.v.weight": (1, 6)}
    found |= {"decoder.attn.linear_out.weight": (6, 12)}
    found |= {"decoder.attn.linear_out.bias": (6,)} if score == "mlp" else {}
    return found | {f"{generator}.weight": (10, 6), f"{generator}.bias": (10,)}


def opennmt_bridged(linear: Any, state: Any, total: int) -> Any:
    """(L * directions, H) of one sentence, as the toolkit bottles it."""
    rows = state[:, None].permute(1, 0, 2).contiguous()
    return torch.relu(linear(rows.view(-1, total))).view(rows.shape).permute(1, 0, 2)[:, 0]


def opennmt_logits(
    w, source, target, kind="lstm", layers=2, both=True, score="general", bridge=False, feeds=True,
    generator="generator.0",
):  # fmt: skip
    size, table = 3 if both else 6, "embeddings.make_embedding.emb_luts.0.weight"
    memory, states = encode(w, "encoder.rnn", f"encoder.{table}", source, kind, size, layers, both)
    if bridge:
        total = size * layers
        linears = [loaded(nn.Linear(total, total), w, f"encoder.bridge.{k}") for k in range(len(states))]
        states = [opennmt_bridged(linear, state, total) for linear, state in zip(linears, states, strict=True)]
    states = pairs(states, both)
    if feeds:
        rnn = nn.ModuleList(cells_of(kind, [11, *[6] * (layers - 1)]))
        cells = loaded(rnn, w, "decoder.rnn.layers")
    else:
        rnn = loaded((nn.LSTM if kind == "lstm" else nn.GRU)(5, 6, layers), w, "decoder.rnn")
    parts = {name.removeprefix("decoder.attn."): x for name, x in w.items() if name.startswith("decoder.attn.")}
    fed, found = torch.zeros(6, dtype=torch.float64), []
    for token in target:
        x = w[f"decoder.{table}"][token]
        if feeds:
            h, states = run_cells(cells, torch.cat([x, fed]), states)
        else:
            y, last = rnn(x[None], tuple(states) if kind == "lstm" else states[0])
            h, states = y[0], [*last] if kind == "lstm" else [last]
        if score == "mlp":
            query = nn.functional.linear(h, parts["linear_query.weight"], parts["linear_query.bias"])
            scores = torch.tanh(query + memory @ parts["linear_context.weight"].T) @ parts["v.weight"][0]
        else:
            scores = memory @ (parts["linear_in.weight"] @ h if score == "general" else h)
        both_of_them = torch.cat([torch.softmax(scores, 0) @ memory, h])
        fed = nn.functional.linear(both_of_them, parts["linear_out.weight"], parts.get("linear_out.bias"))
        fed = fed if score == "mlp" else torch.tanh(fed)
        found.append(nn.functional.linear(fed, w[f"{generator}.weight"], w[f"{generator}.bias"]))
    return torch.stack(found)


OPENNMT = Toolkit(
    "opennmt-py-rnn", opennmt_shapes, opennmt_logits,
    (["<unk>", "<blank>", *WORDS[0]], ["<unk>", "<blank>", "<s>", "</s>", *WORDS[1]]), [], [], 2, 3,
    {
        "brnn": {},
        "one direction, GRU, dot": {"kind": "gru", "both": False, "score": "dot"},
        "mlp": {"score": "mlp", "layers": 1},
        "bridge": {"bridge": True},
        "bridge of one layer": {"bridge": True, "layers": 1, "kind": "gru"},
        "bridge of one direction": {"bridge": True, "layers": 1, "both": False},
        "no feeding": {"feeds": False, "layers": 3},
        "newer": {"generator": "generator"},
    },
)  # fmt: skip


# --- fairseq ----------------------------------------------------------------------------------------------------------
def fairseq_shapes(layers=2, both=False, direction=6, tied=False, behind=0) -> Shapes:
    found = {"encoder.embed_tokens.weight": (11, 5)}
    found |= rnn_shapes("encoder.lstm", "lstm", 5, direction, layers, both) | {"decoder.embed_tokens.weight": (10, 5)}
    depth = direction * (2 if both else 1)
    if depth != 6:
        for part in ("hidden", "cell"):
            found |= {f"decoder.encoder_{part}_proj.weight": (6, depth), f"decoder.encoder_{part}_proj.bias": (6,)}
    for n in range(layers):
        found |= cell_shapes(f"decoder.layers.{n}.{{}}", "lstm", 6 if n else 11, 6)
    found |= {"decoder.attention.input_proj.weight": (depth, 6)}
    found |= {"decoder.attention.output_proj.weight": (6, 6 + depth)}
    if behind:
        found |= {"decoder.additional_fc.weight": (behind, 6), "decoder.additional_fc.bias": (behind,)}
    return found | ({} if tied else {"decoder.fc_out.weight": (10, behind or 6), "decoder.fc_out.bias": (10,)})


def fairseq_logits(w, source, target, layers=2, both=False, direction=6, tied=False, behind=0):
    depth = direction * (2 if both else 1)
    memory, states = encode(w, "encoder.lstm", "encoder.embed_tokens.weight", source, "lstm", direction, layers, both)
    states = pairs(states, both)
    if depth != 6:
        names = ("decoder.encoder_hidden_proj", "decoder.encoder_cell_proj")
        states = [loaded(nn.Linear(depth, 6), w, name)(state) for name, state in zip(names, states, strict=True)]
    cells = loaded(nn.ModuleList(cells_of("lstm", [11, *[6] * (layers - 1)])), w, "decoder.layers")
    asks = loaded(nn.Linear(6, depth, bias=False), w, "decoder.attention.input_proj")
    gives = loaded(nn.Linear(6 + depth, 6, bias=False), w, "decoder.attention.output_proj")
    fed, found = torch.zeros(6, dtype=torch.float64), []
    for token in target:
        h, states = run_cells(cells, torch.cat([w["decoder.embed_tokens.weight"][token], fed]), states)
        weights = torch.softmax((memory * asks(h)).sum(1), 0)
        fed = torch.tanh(gives(torch.cat([(weights[:, None] * memory).sum(0), h])))
        out = loaded(nn.Linear(6, behind), w, "decoder.additional_fc")(fed) if behind else fed
        table = w["decoder.embed_tokens.weight"]
        found.append(table @ out if tied else loaded(nn.Linear(behind or 6, 10), w, "decoder.fc_out")(out))
    return torch.stack(found)


MARKS = ["<s>", "<pad>", "</s>", "<unk>"]
FAIRSEQ = Toolkit(
    "fairseq-lstm", fairseq_shapes, fairseq_logits, ([*MARKS, *WORDS[0]], [*MARKS, *WORDS[1]]), [], [2], 2, 2,
    {
        "one direction": {},
        "both": {"both": True},
        "halves": {"both": True, "direction": 3, "layers": 1},
        "tied": {"tied": True, "behind": 5},
        "a layer behind": {"behind": 4, "layers": 3},
    },
)  # fmt: skip


# --- JoeyNMT ----------------------------------------------------------------------------------------------------------
def joeynmt_shapes(
    kind="lstm", layers=1, encoder_layers=None, both=True, direction=6, score="luong", start="bridge", feeds=True
) -> Shapes:
    depth = direction * (2 if both else 1)
    found = rnn_shapes("encoder.rnn", kind, 5, direction, encoder_layers or layers, both)
    found |= rnn_shapes("decoder.rnn", kind, 11 if feeds else 5, 6, layers)
    found |= {"decoder.att_vector_layer.weight": (6, 6 + depth), "decoder.att_vector_layer.bias": (6,)}
    found |= {"decoder.output_layer.weight": (10, 6), "decoder.attention.key_layer.weight": (6, depth)}
    if score == "bahdanau":
        found |= {"decoder.attention.query_layer.weight": (6, 6), "decoder.attention.energy_layer.weight": (1, 6)}
    if start == "bridge":
        found |= {"decoder.bridge_layer.weight": (6, depth), "decoder.bridge_layer.bias": (6,)}
    return found | {"src_embed.lut.weight": (11, 5), "trg_embed.lut.weight": (10, 5)}


def joeynmt_logits(
    w, source, target, kind="lstm", layers=1, both=True, direction=6, score="luong", start="bridge", feeds=True
):
    depth = direction * (2 if both else 1)
    memory, states = encode(w, "encoder.rnn", "src_embed.lut.weight", source, kind, direction, layers, both)
    final = torch.cat([states[0][-2], states[0][-1]]) if both else states[0][-1]
    if start == "bridge":
        first = torch.tanh(loaded(nn.Linear(depth, 6), w, "decoder.bridge_layer")(final))
    else:
        first = final[:6] if start == "last" else torch.zeros(6, dtype=torch.float64)
    states = [first.repeat(layers, 1)] * len(states)
    rnn = loaded((nn.LSTM if kind == "lstm" else nn.GRU)(11 if feeds else 5, 6, layers), w, "decoder.rnn")
    vector = loaded(nn.Linear(6 + depth, 6), w, "decoder.att_vector_layer")
    keys = memory @ w["decoder.attention.key_layer.weight"].T
    fed, found = torch.zeros(6, dtype=torch.float64), []
    for token in target:
        x = w["trg_embed.lut.weight"][token]
        _, last = rnn((torch.cat([x, fed]) if feeds else x)[None], tuple(states) if kind == "lstm" else states[0])
        states = [*last] if kind == "lstm" else [last]
        h = states[0][-1]
        if score == "bahdanau":
            energy = w["decoder.attention.energy_layer.weight"][0]
            scores = torch.tanh(w["decoder.attention.query_layer.weight"] @ h + keys) @ energy
        else:
            scores = keys @ h
        fed = torch.tanh(vector(torch.cat([h, torch.softmax(scores, 0) @ memory])))
        found.append(w["decoder.output_layer.weight"] @ fed)
    return torch.stack(found)


JOEYNMT = Toolkit(
    "joeynmt-rnn", joeynmt_shapes, joeynmt_logits,
    (["<unk>", "<pad>", "<s>", "</s>", *WORDS[0]], ["<unk>", "<pad>", "<s>", "</s>", *WORDS[1]]), [], [3], 2, 3,
    {
        "luong": {},
        "bahdanau, GRU, three layers": {"kind": "gru", "layers": 3, "score": "bahdanau"},
        "halves": {"direction": 3, "layers": 2},
        "one direction": {"both": False, "kind": "gru"},
        "no feeding": {"feeds": False, "score": "bahdanau"},
    },
)  # fmt: skip
LAST = JOEYNMT._replace(
    layout="joeynmt-rnn-last",
    cases={
        "last": {"start": "last", "layers": 2},
        "last of halves": {"start": "last", "direction": 3, "kind": "gru"},
    },
)
ZERO = JOEYNMT._replace(layout="joeynmt-rnn-zero", cases={"zero": {"start": "zero", "layers": 2}})
TOOLKITS = (OPENNMT, FAIRSEQ, JOEYNMT, LAST, ZERO)
