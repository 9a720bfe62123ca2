"""The model that decode.py translates with, in plain NumPy: layers, encoders, decoders, and a step of each.

S source positions, R hypotheses, T steps, E, D, H sizes, L layers, V target vocabulary.
"""

import functools
import math
from typing import Any

import numpy as np

UNK, PAD, SOS, EOS = range(4)
PREFIXES = {"encoder": "", "decoder": "decoder_"}  # of a half's settings


def sigmoid(x: Any) -> Any:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def softmax(x: Any) -> Any:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.vectorize(math.erf, [np.float32])(x / math.sqrt(2)))


def lstm(a: Any, state: list[Any], u: Any, d: Any) -> list[Any]:
    """A step: of W x + b (R, 4H), h and c (R, H), and the weights and bias of h, the next h and c."""
    i, f, g, o = np.split(a + state[0] @ u.T + d, 4, 1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def gru(a: Any, state: list[Any], u: Any, d: Any) -> list[Any]:
    """A step: of W x + b (R, 3H), h (R, H), and the weights and bias of h, the next h."""
    h, size = state[0], u.shape[1]
    r, z = np.split(sigmoid((a + h @ u.T + d)[:, : 2 * size]), 2, 1)
    n = np.tanh(a[:, 2 * size :] + r * (h @ u[2 * size :].T + d[2 * size :]))
    return [(1 - z) * n + z * h]


def cho_gru(a: Any, state: list[Any], u: Any, d: Any) -> list[Any]:
    """A step of the GRU of Cho et al. (2014), whose reset gate acts before the product."""
    h, size = state[0], u.shape[1]
    r, z = np.split(sigmoid((a + h @ u.T + d)[:, : 2 * size]), 2, 1)
    n = np.tanh(a[:, 2 * size :] + (r * h) @ u[2 * size :].T + d[2 * size :])
    return [(1 - z) * n + z * h]


ACTIVATIONS: dict[str, Any] = {"tanh": np.tanh, "relu": relu, "gelu": gelu, "linear": np.positive}
CELLS: dict[str, Any] = {"lstm": lstm, "gru": gru, "cho-gru": cho_gru}


class Model:
    """A decoder's state is a list of arrays, or of such lists, with a row for each hypothesis."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Any]) -> None:
        self.c, self.w = config, weights
        self.copies: list[int] = []  # of each position of the source the token that a copy of it is
        self.kind = self.c["decoder"]
        cell = "auto" if self.kind in ("lstm", "dot-attention") else self.c.get("cell", "auto")
        self.cell = cell if cell != "auto" else "gru" if self.kind == "gru-context" else "lstm"
        self.is_stack = (
            self.c.get("residual")
            or self.c.get("layer_norm")
            or self.c.get("pyramid")
            or self.c.get("decoder_residual")
            or self.c.get("decoder_layer_norm")
        )

    def linear(self, name: str, x: Any) -> Any:
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", np.float32(0))

    def norm(self, name: str, x: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def layer(self, cell: Any, name: str, suffix: str, xs: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        """xs (T, R, I), h and of an LSTM c (R, H) -> h of all steps (T, R, H), the last h and c."""
        w, b, u, d = (self.w[f"{name}.{part}{suffix}"] for part in ("weight_ih", "bias_ih", "weight_hh", "bias_hh"))
        ys = []
        for a in xs @ w.T + b:
            state = cell(a, state, u, d)
            ys.append(state[0])
        return np.stack(ys), state

    def stack(self, half: str, cell: Any, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Layers over x (T, R, I), of an encoder perhaps both ways, from their states -> (T, R, .), the last states."""
        lasts = []
        for n, state in enumerate(states):
            if self.c.get("pyramid") and half == "encoder" and n >= len(states) - self.c["pyramid"]:
                x = np.pad(x, ((0, len(x) % 2), (0, 0), (0, 0))).reshape(-1, 1, 2 * x.shape[2])
            name, suffix = f"{half}.rnn", f"_l{n}"
            if self.is_stack and f"{name}.layers.{n}.weight_ih_l0" in self.w:
                name, suffix = f"{name}.layers.{n}", "_l0"
            below = x
            x, last = self.layer(cell, name, suffix, x, state)
            if self.c["encoder"].startswith("bi") and half == "encoder":
                back, first = self.layer(cell, name, f"{suffix}_reverse", below[::-1], state)
                x = np.concatenate([x, back[::-1]], 2)
                last = [np.concatenate(pair, 1) for pair in zip(last, first, strict=True)]
            if self.is_stack and f"{half}.rnn.norms.{n}.weight" in self.w:
                x = self.norm(f"{half}.rnn.norms.{n}", x)
            if self.is_stack and self.c[f"{PREFIXES[half]}residual"] and x.shape == below.shape:
                x = x + below
            lasts.append(last)
        return x, lasts

    def embedded(self, half: str, ids: Any, steps: Any) -> Any:
        """ids (T,), or rows (T, F), at these steps (T,) -> (T, E), with positions."""
        if self.c["source"] == "text" or half == "decoder":
            x = self.w[f"{half}.embedding.weight"][ids] * np.float32(math.sqrt(self.c["hidden_size"]))
        else:
            x = self.linear(f"{half}.embedding", ids)
        if self.c.get("learned_positions"):
            learned = self.w[f"{half}.positions.learned.weight"]
            if steps[-1] >= len(learned):
                raise ValueError(f"a sequence of {steps[-1] + 1} positions; expected at most {len(learned)}")
            return x + learned[steps]
        angles = steps[:, None] / 10_000 ** (np.arange(0, x.shape[1], 2) / x.shape[1])
        waves = np.stack([np.sin(angles), np.cos(angles)], 2).reshape(len(steps), -1)[:, : x.shape[1]]
        return x + waves.astype(np.float32)

    def project(self, name: str, x: Any) -> list[Any]:
        """Queries, keys and values."""
        return np.split(x @ self.w[f"{name}.in_proj_weight"].T + self.w[f"{name}.in_proj_bias"], 3, -1)

    def heads(self, name: str, *projected: Any) -> Any:
        """Queries (R, T, E), keys and values (R or 1, S, E) -> (R, T, E)."""
        q, k, v = (x.reshape(*x.shape[:2], self.c["num_heads"], -1).swapaxes(1, 2) for x in projected)
        found = softmax(q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1])) @ v
        return self.linear(f"{name}.out_proj", found.swapaxes(1, 2).reshape(projected[0].shape))

    def block(self, name: str, x: Any, *attentions: Any) -> Any:
        """A layer: attentions, then two linear layers, each added to what it reads."""
        for n, part in enumerate((*attentions, functools.partial(self.feed, name)), 1):
            if self.c["norm_first"]:
                x = x + part(self.norm(f"{name}.norm{n}", x))
            else:
                x = self.norm(f"{name}.norm{n}", x + part(x))
        return x

    def feed(self, name: str, x: Any) -> Any:
        return self.linear(f"{name}.linear2", ACTIVATIONS[self.c["activation"]](self.linear(f"{name}.linear1", x)))

    def encode(self, source: Any) -> tuple[Any, list[Any]]:
        """ids (S,) or rows (S, F) -> outputs (S, D), and for each layer h and perhaps c (1, H)."""
        if self.c["encoder"] == "transformer":
            x = self.embedded("encoder", source, np.arange(len(source)))[None]
            for name in (f"encoder.layers.{n}" for n in range(self.c["num_layers"])):
                own = f"{name}.self_attn"
                x = self.block(name, x, lambda y, own=own: self.heads(own, *self.project(own, y)))
            if self.c["norm_first"]:
                x = self.norm("encoder.norm", x)
            return x[0], self.bridged_mean(x[0]) if "encoder.bridges.0.weight" in self.w else []
        if self.c["source"] == "text":
            x = self.w["encoder.embedding.weight"][source]
        else:
            x = self.linear("encoder.embedding", source)
        if self.c["encoder"] == "vector":
            return np.tanh(x), self.bridged_mean(np.tanh(x)) if "encoder.bridges.0.weight" in self.w else []
        size = self.c["hidden_size"] // 2 if self.c["split_directions"] else self.c["hidden_size"]
        first = [np.zeros((1, size), np.float32)] * (2 if self.c["encoder"].endswith("lstm") else 1)
        states = [first] * self.c["num_layers"]
        x, states = self.stack("encoder", CELLS[self.c["encoder"].removeprefix("bi")], x[:, None], states)
        return x[:, 0], self.bridged(states) if "encoder.bridges.0.weight" in self.w else states

    def bridged(self, states: list[Any]) -> list[Any]:
        """A decoder's first states of an encoder's last; of h alone both h and c are made."""
        if self.c["bridge_top"]:
            states = [states[-1][:1]] * len(states)
        names = [f"encoder.bridges.{k}" for k in (0, 1) if f"encoder.bridges.{k}.weight" in self.w]
        pairs = [zip(names, (*two, two[-1]), strict=False) for two in states]
        return [[ACTIVATIONS[self.c["bridge_activation"]](self.linear(*pair)) for pair in layer] for layer in pairs]

    def bridged_mean(self, outputs: Any) -> list[Any]:
        """A decoder's first states of the mean of outputs (S, D)."""
        names = [f"encoder.bridges.{k}" for k in (0, 1) if f"encoder.bridges.{k}.weight" in self.w]
        made = [np.tanh(self.linear(name, outputs.mean(0))).reshape(self.c["num_layers"], 1, -1) for name in names]
        return [list(parts) for parts in zip(*made, strict=True)]

    def start(self, source: Any) -> list[Any]:
        """The state before the first token."""
        self.values, states = self.encode(source)
        if self.kind == "transformer":
            names = [f"decoder.layers.{n}" for n in range(self.c["num_layers"])]
            x = self.linear("decoder.bridge", self.values) if "decoder.bridge.weight" in self.w else self.values
            self.memory = [(name, self.project(f"{name}.multihead_attn", x[None])[1:]) for name in names]
            return [[np.zeros((1, 0, x.shape[1]), np.float32)] * 2 for _ in names]
        if self.c["encoder"].endswith("lstm") and self.cell != "lstm":
            states = [two[:1] for two in states]
        if self.kind == "gru-context":
            self.context = states[-1][0]
        if self.kind in ("lstm", "gru-context"):
            return states
        if self.kind == "conditional-gru":
            states = [[np.tanh(self.linear("decoder.initial", self.values.mean(0, keepdims=True)))]]
        additive = "decoder.attention.v" in self.w
        self.keys = self.linear("decoder.attention.key", self.values) if additive else self.values
        coverage, context = (np.zeros((1, size), np.float32) for size in self.values.shape)
        if self.kind == "bahdanau":
            context, coverage = self.attend(states[0][0], coverage)
        if self.kind == "luong":  # it reads its features instead
            context = np.zeros_like(states[0][0])
        return [states, coverage, context]

    def attend(self, h: Any, coverage: Any) -> tuple[Any, Any]:
        """Contexts (R, D) and the coverage (R, S) with the alignments of this step; those are kept."""
        query = h @ self.w["decoder.attention.query.weight"].T if "decoder.attention.query.weight" in self.w else h
        if "decoder.attention.v" in self.w:
            covered = coverage[:, :, None] * self.w["decoder.attention.coverage"] if self.c.get("coverage") else 0
            scores = np.tanh(query[:, None] + self.keys + covered) @ self.w["decoder.attention.v"]
        else:
            scores = query @ self.keys.T
            if self.kind != "dot-attention" and self.c["attention"] == "scaled":
                scores = scores / np.float32(math.sqrt(h.shape[1]))
        self.alignment = softmax(scores)
        return self.alignment @ self.values, coverage + self.alignment

    def step(self, tokens: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        """tokens (R,) -> p (R, V), of a pointer-generator (R, V + S), and the next state."""
        if self.kind == "pointer-generator":
            tokens = np.where(tokens < len(self.w["decoder.fc_out.weight"]), tokens, UNK)
        if self.kind == "transformer":
            features, state = self.step_of_transformer(tokens, state)
            return softmax(self.linear("decoder.fc_out", features)), state
        x = self.w["decoder.embedding.weight"][tokens]
        if self.kind == "lstm":
            y, state = self.stack("decoder", CELLS[self.cell], x[None], state)
            features = y[0]
        elif self.kind == "gru-context":
            context = np.repeat(self.context, len(x), 0)
            y, state = self.stack("decoder", CELLS[self.cell], np.concatenate([x, context], 1)[None], state)
            features = np.concatenate([x, y[0], context], 1)
        elif self.kind == "conditional-gru":
            features, state = self.step_of_conditional_gru(x, *state)
        elif self.kind == "bahdanau" or (self.kind != "dot-attention" and self.c.get("input_feeding")):
            features, state = self.step_that_attends_first(x, *state)
        else:
            features, state = self.step_that_attends_last(x, *state)
        if self.kind == "pointer-generator":
            return self.with_copies(softmax(self.linear("decoder.fc_out", features))), state
        return softmax(self.linear("decoder.fc_out", features)), state

    def step_of_transformer(self, tokens: Any, caches: list[Any]) -> tuple[Any, list[Any]]:
        at = np.full(len(tokens), caches[0][0].shape[1])
        x, after = self.embedded("decoder", tokens, at)[:, None], []
        for (name, memory), cache in zip(self.memory, caches, strict=True):

            def to_steps(y: Any, own: str = f"{name}.self_attn", cache: Any = cache) -> Any:
                query, *new = self.project(own, y)
                after.append([np.concatenate(both, 1) for both in zip(cache, new, strict=True)])
                return self.heads(own, query, *after[-1])

            def to_memory(y: Any, other: str = f"{name}.multihead_attn", memory: Any = memory) -> Any:
                return self.heads(other, self.project(other, y)[0], *memory)

            x = self.block(name, x, to_steps, to_memory)
        return (self.norm("decoder.norm", x) if self.c["norm_first"] else x)[:, 0], after

    def step_of_conditional_gru(self, x: Any, states: list[Any], coverage: Any, _: Any) -> tuple[Any, list[Any]]:
        _, asks = self.layer(gru, "decoder.cells.0", "", x[None], states[0])
        read, coverage = self.attend(asks[0], coverage)
        _, after = self.layer(gru, "decoder.cells.1", "", read[None], asks)
        return np.tanh(self.linear("decoder.combine", np.concatenate([read, *after, x], 1))), [[after], coverage, read]

    def step_that_attends_first(self, x: Any, states: list[Any], coverage: Any, context: Any) -> tuple[Any, list[Any]]:
        """The first layer reads a context and attends; those above it read what Bahdanau's has of the state before."""
        given = np.concatenate([x, context], 1)[None]
        y, first = self.layer(CELLS[self.cell], "decoder.attentive", "", given, states[0])
        after, coverage = self.attend(first[0], coverage)
        read = context if self.kind == "bahdanau" else after
        if self.c["decoder_layer_norm"]:
            y = self.norm("decoder.norm", y)
        if self.c["num_layers"] > 1:
            y, others = self.stack("decoder", CELLS[self.cell], np.concatenate([y, read[None]], 2), states[1:])
            return self.combined(x, y[0], read), [[first, *others], coverage, after]
        return self.combined(x, y[0], read), [[first], coverage, after]

    def step_that_attends_last(self, x: Any, states: list[Any], coverage: Any, context: Any) -> tuple[Any, list[Any]]:
        """All layers, then attention; Luong's first layer reads the features of the step before."""
        given = np.concatenate([x, context], 1) if self.kind == "luong" else x
        y, states = self.stack("decoder", CELLS[self.cell], given[None], states)
        read, coverage = self.attend(y[0], coverage)
        features = self.combined(x, y[0], read)
        return features, [states, coverage, features if self.kind == "luong" else context]

    def combined(self, x: Any, h: Any, read: Any) -> Any:
        """The features of a step, of what it attended to."""
        if self.kind == "pointer-generator":
            self.written = sigmoid(self.linear("decoder.generate", np.concatenate([read, h, x], 1)))
        if self.c.get("plain_output"):
            return np.concatenate([read, h, x], 1)
        activation = "linear" if self.c.get("linear_features") else "tanh"
        return ACTIVATIONS[activation](self.linear("decoder.combine", np.concatenate([read, h], 1)))

    def with_copies(self, p: Any) -> Any:
        p = np.concatenate([p * self.written, np.zeros_like(self.alignment)], 1)
        for s, token in enumerate(self.copies):
            p[:, token] += self.alignment[:, s] * (1 - self.written[:, 0])
        return p
