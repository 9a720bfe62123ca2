"""Translate with a model file, in plain NumPy: all that a translation takes, in one file that needs nothing around it.

    python decode.py MODEL.seq2seq [--beam-size 5] < source.txt > translation.txt
    python decode.py MODEL.seq2seq --input VECTORS.npy, or FRAMES.npz, of which each array is one example

Words are split by the library that split those of the training: sacremoses, spacy or sentencepiece. Sources go one by
one: this is to be read, not to be fast. S source positions, R hypotheses, T steps, E, D, H sizes, L layers.
"""

import argparse
import base64
import functools
import hashlib
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

UNK, PAD, SOS, EOS = range(4)
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "|i1"}
BLANK = "\u2581"


def read(path: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings, text and weights (float32, by name) of a safetensors file with the first two in its header."""
    data = Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    about = header.pop("__metadata__")
    if hashlib.sha256(data.replace(about["sha256"].encode(), b"0" * 64, 1)).hexdigest() != about["sha256"]:
        raise SystemExit(f"{path}: changed since it was written")
    w = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        array = np.frombuffer(data[end + start : end + stop], DTYPES[entry["dtype"]])
        w[name] = array.reshape(entry["shape"]).astype(np.float32)
    for name in [name for name in w if name.endswith(":scale")]:  # int8: a scale for each row
        w[name.removesuffix(":scale")] *= w.pop(name)[:, None]
    words = w.get("decoder.embedding.weight", w["encoder.embedding.weight"])  # a table that is shared is there once
    w = {"decoder.embedding.weight": words, "decoder.fc_out.weight": words} | w
    return json.loads(about["minigrad"])["config"], json.loads(about["minigrad"])["text"], w


def tokenizer(config: dict[str, Any]) -> tuple[Any, Any]:
    """What splits a sentence, and what joins tokens."""
    split: Any
    join: Any
    if config["name"] == "sentencepiece":
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_proto=base64.b64decode(config["model"]))
        split, join = (lambda text: pieces.encode(text, out_type=str)), pieces.decode_pieces
    elif config["name"] == "char":
        split = lambda text: [{" ": BLANK, BLANK: 2 * BLANK}.get(c, c) for c in text]  # noqa: E731
        join = lambda tokens: "".join({BLANK: " ", 2 * BLANK: BLANK}.get(token, token) for token in tokens)  # noqa: E731
    elif config["name"] == "space":
        split, join = (lambda text: [token for token in text.split(" ") if token]), " ".join
    else:
        split, join = words_of(config["language"], config["backend"])
    return (lambda text: split(text.lower() if config["lower"] else text)), join


def words_of(language: str, backend: str) -> tuple[Any, Any]:
    """The same for words and punctuation marks."""
    import sacremoses

    moses, joining = sacremoses.MosesTokenizer(language), sacremoses.MosesDetokenizer(language)
    split = lambda text: moses.tokenize(text, escape=False)  # noqa: E731
    if backend == "spacy":
        import spacy

        rules: Any = spacy.blank(language).tokenizer
        split = lambda text: [token.text for token in rules(text)]  # noqa: E731
    torn = ((r"(?<=\w) - (?=\w)", "-", "well-known"), (r"(?<=\w) (?=n['\u2019]t\b)", "", "don't"))
    rejoined = [(pattern, whole) for pattern, whole, example in torn if len(split(example)) > 1]

    def join(tokens: list[str]) -> str:
        text: str = joining.detokenize(tokens, unescape=False)
        return functools.reduce(lambda text, way: re.sub(way[0], way[1], text), rejoined, text)

    return split, join


def sigmoid(x: Any) -> Any:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def softmax(x: Any) -> Any:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


ACTIVATIONS: dict[str, Any] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf, [np.float32])(x / math.sqrt(2))),
}


class Model:
    """A decoder's state is a list of arrays, or of such lists, with a row for each hypothesis."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Any]) -> None:
        self.w, self.c, self.kind = weights, config, config["decoder"]
        self.feeds = self.kind == "bahdanau" or (self.kind != "dot-attention" and config.get("input_feeding", False))
        chosen = "auto" if self.kind in ("lstm", "dot-attention") else config.get("cell", "auto")
        self.cell = chosen if chosen != "auto" else "gru" if self.kind == "gru-context" else "lstm"

    def linear(self, name: str, x: Any) -> Any:
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", np.float32(0))

    def norm(self, name: str, x: Any) -> Any:
        if f"{name}.weight" not in self.w:
            return x
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    # --- recurrent layers
    def layer(self, cell: str, name: str, suffix: str, xs: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        """xs (T, R, I), h and of an LSTM c (R, H) -> h of all steps (T, R, H), the last h and c."""
        w, b, u, d = (self.w[f"{name}.{part}{suffix}"] for part in ("weight_ih", "bias_ih", "weight_hh", "bias_hh"))
        size, ys = u.shape[1], []
        for a in xs @ w.T + b:
            h = state[0]
            if cell == "lstm":
                i, f, g, o = np.split(a + h @ u.T + d, 4, 1)
                c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
                state = [sigmoid(o) * np.tanh(c), c]
            else:
                r, z = np.split(sigmoid((a + h @ u.T + d)[:, : 2 * size]), 2, 1)
                before, after = (r, 1) if cell == "cho-gru" else (1, r)  # of the product the reset gate acts
                n = np.tanh(a[:, 2 * size :] + after * ((before * h) @ u[2 * size :].T + d[2 * size :]))
                state = [(1 - z) * n + z * h]
            ys.append(state[0])
        return np.stack(ys), state

    def stack(self, half: str, cell: str, x: Any, states: list[Any], both: bool = False) -> tuple[Any, list[Any]]:
        """Layers over x (T, R, I), perhaps both ways, from the states of each -> (T, R, .), the last states."""
        prefix, lasts = "decoder_" if half == "decoder" else "", []
        pyramid = self.c.get("pyramid", 0) if half == "encoder" else 0
        for n, state in enumerate(states):
            if n >= len(states) - pyramid:
                x = np.pad(x, ((0, len(x) % 2), (0, 0), (0, 0))).reshape(-1, 1, 2 * x.shape[2])
            name, suffix = f"{half}.rnn.layers.{n}", "_l0"
            if f"{name}.weight_ih_l0" not in self.w:
                name, suffix = f"{half}.rnn", f"_l{n}"
            y, last = self.layer(cell, name, suffix, x, state)
            if both:
                back, first = self.layer(cell, name, f"{suffix}_reverse", x[::-1], state)
                y = np.concatenate([y, back[::-1]], 2)
                last = [np.concatenate(pair, 1) for pair in zip(last, first, strict=True)]
            y = self.norm(f"{half}.rnn.norms.{n}", y)
            x = x + y if self.c.get(f"{prefix}residual") and x.shape == y.shape else y
            lasts.append(last)
        return x, lasts

    # --- Transformer
    def embedded(self, half: str, ids: Any, steps: Any) -> Any:
        """ids (T,), or rows (T, F), at these steps (T,) -> (T, E), with positions."""
        table = self.w[f"{half}.embedding.weight"]
        is_ids = ids.ndim == 1
        x = table[ids] * np.float32(math.sqrt(table.shape[1])) if is_ids else self.linear(f"{half}.embedding", ids)
        learned, size = self.w.get(f"{half}.positions.learned.weight"), x.shape[1]
        angles = steps[:, None] / 10_000 ** (np.arange(0, size, 2) / size)
        waves = np.stack([np.sin(angles), np.cos(angles)], 2).reshape(len(steps), -1)[:, :size]
        return x + (waves.astype(np.float32) if learned is None else learned[steps])

    def project(self, name: str, x: Any) -> list[Any]:
        """Queries, keys and values."""
        return np.split(x @ self.w[f"{name}.in_proj_weight"].T + self.w[f"{name}.in_proj_bias"], 3, -1)

    def heads(self, name: str, *projected: Any) -> Any:
        """Queries (R, T, E), keys and values (R or 1, S, E) -> (R, T, E)."""
        q, k, v = (x.reshape(*x.shape[:2], self.c["num_heads"], -1).swapaxes(1, 2) for x in projected)
        found = softmax(q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1])) @ v
        return self.linear(f"{name}.out_proj", found.swapaxes(1, 2).reshape(projected[0].shape))

    def blocks(self, name: str, x: Any, *attentions: Any) -> Any:
        """A layer: attentions, then two linear layers, each added to what it reads."""
        linear, activate = self.linear, ACTIVATIONS[self.c["activation"]]
        feed = lambda x: linear(f"{name}.linear2", activate(linear(f"{name}.linear1", x)))  # noqa: E731
        for norm, block in zip((f"{name}.norm{n}" for n in (1, 2, 3)), (*attentions, feed), strict=False):
            x = x + block(self.norm(norm, x)) if self.c["norm_first"] else self.norm(norm, x + block(x))
        return x

    # --- what is kept of a source
    def encode(self, source: Any) -> tuple[Any, list[Any]]:
        """ids (S,) or rows (S, F) -> outputs (S, D), and for each layer h and perhaps c (1, H)."""
        kind, layers, states = self.c["encoder"], self.c["num_layers"], list[Any]()
        if kind == "transformer":
            x = self.embedded("encoder", source, np.arange(len(source)))[None]
            for name in (f"encoder.layers.{n}" for n in range(layers)):
                at = f"{name}.self_attn"
                x = self.blocks(name, x, lambda y, at=at: self.heads(at, *self.project(at, y)))
            x = self.norm("encoder.norm", x)[0]
        else:
            table = self.w["encoder.embedding.weight"]
            x = table[source] if source.ndim == 1 else self.linear("encoder.embedding", source)
            if kind == "vector":
                x = np.tanh(x)
            else:
                cell, both = kind.removeprefix("bi"), kind.startswith("bi")
                size = self.c["hidden_size"] // (2 if self.c.get("split_directions") else 1)
                first = [np.zeros((1, size), np.float32)] * (2 if cell == "lstm" else 1)
                x, states = self.stack("encoder", cell, x[:, None], [first] * layers, both)
                x = x[:, 0]
        bridges = [f"encoder.bridges.{k}" for k in (0, 1) if f"encoder.bridges.{k}.weight" in self.w]
        if bridges and states:  # of h alone both h and c are made
            states = [states[-1][:1]] * layers if self.c.get("bridge_top") else states
            pairs = [zip(bridges, (*two, two[-1]), strict=False) for two in states]
            activate = ACTIVATIONS[self.c.get("bridge_activation", "tanh")]
            states = [[activate(self.linear(*pair)) for pair in layer] for layer in pairs]
        elif bridges:
            made = [np.tanh(self.linear(bridge, x.mean(0))).reshape(layers, 1, -1) for bridge in bridges]
            states = [list(parts) for parts in zip(*made, strict=True)]
        return x, states

    def start(self, source: Any, copies: list[int]) -> list[Any]:
        """The state before the first token; ``copies``: of each position the token that a copy of it is."""
        self.values, states = self.encode(source)
        self.copies, self.context = copies, states[-1][0] if states else np.zeros((1, 0), np.float32)
        if self.kind == "transformer":
            names = [f"decoder.layers.{n}" for n in range(self.c["num_layers"])]
            x = self.linear("decoder.bridge", self.values) if "decoder.bridge.weight" in self.w else self.values
            self.memory = [(name, self.project(f"{name}.multihead_attn", x[None])[1:]) for name in names]
            return [[np.zeros((1, 0, x.shape[1]), np.float32)] * 2 for _ in names]
        states = [two[: 2 if self.cell == "lstm" else 1] for two in states]
        if self.kind == "conditional-gru":
            states = [[np.tanh(self.linear("decoder.initial", self.values.mean(0, keepdims=True)))]]
        if self.kind in ("lstm", "gru-context"):
            return states
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
        query, v, covers = (self.w.get(f"decoder.attention.{name}") for name in ("query.weight", "v", "coverage"))
        query = h if query is None else h @ query.T
        if v is None:
            scale = math.sqrt(h.shape[1]) if self.c.get("attention") == "scaled" and self.kind != "dot-attention" else 1
            scores = query @ self.keys.T / np.float32(scale)
        else:
            covered = 0 if covers is None else coverage[:, :, None] * covers
            scores = np.tanh(query[:, None] + self.keys + covered) @ v
        self.alignment = softmax(scores)
        return self.alignment @ self.values, coverage + self.alignment

    def step(self, tokens: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        """tokens (R,) -> p (R, V), of a pointer-generator (R, V + S), and the next state."""
        tokens = np.where(tokens < len(self.w["decoder.fc_out.weight"]), tokens, UNK)
        x = self.w["decoder.embedding.weight"][tokens]
        if self.kind == "transformer":
            features, state = self.step_of_transformer(tokens, state)
        elif self.kind in ("lstm", "gru-context"):
            context = np.repeat(self.context, len(x), 0)[:, : None if self.kind == "gru-context" else 0]
            y, state = self.stack("decoder", self.cell, np.concatenate([x, context], 1)[None], state)
            features = y[0] if self.kind == "lstm" else np.concatenate([x, y[0], context], 1)
        elif self.kind == "conditional-gru":
            features, state = self.step_of_conditional_gru(x, *state)
        else:
            return self.step_with_attention(x, *state)
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

            x = self.blocks(name, x, to_steps, to_memory)
        return self.norm("decoder.norm", x)[:, 0], after

    def step_of_conditional_gru(self, x: Any, states: list[Any], coverage: Any, _: Any) -> tuple[Any, list[Any]]:
        _, asks = self.layer("gru", "decoder.cells.0", "", x[None], states[0])
        read, coverage = self.attend(asks[0], coverage)
        _, after = self.layer("gru", "decoder.cells.1", "", read[None], asks)
        return np.tanh(self.linear("decoder.combine", np.concatenate([read, *after, x], 1))), [[after], coverage, read]

    def step_with_attention(self, x: Any, states: list[Any], coverage: Any, context: Any) -> tuple[Any, list[Any]]:
        read = context  # what Bahdanau's decoder attended to with the state before
        if self.feeds:
            y, first = self.layer(self.cell, "decoder.attentive", "", np.concatenate([x, context], 1)[None], states[0])
            context, coverage = self.attend(first[0], coverage)
            read, top = read if self.kind == "bahdanau" else context, self.norm("decoder.norm", y)
            others: list[Any] = []
            if states[1:]:
                top, others = self.stack("decoder", self.cell, np.concatenate([top, read[None]], 2), states[1:])
            states = [first, *others]
        else:
            given = np.concatenate([x, context], 1) if self.kind == "luong" else x
            top, states = self.stack("decoder", self.cell, given[None], states)
            read, coverage = self.attend(top[0], coverage)
        both = np.concatenate([read, top[0]], 1)
        features = np.concatenate([both, x], 1)
        if "decoder.combine.weight" in self.w:
            combined = self.linear("decoder.combine", both)
            features = combined if self.c.get("linear_features") else np.tanh(combined)
        p, context = softmax(self.linear("decoder.fc_out", features)), features if self.kind == "luong" else context
        if self.kind == "pointer-generator":
            written = sigmoid(self.linear("decoder.generate", np.concatenate([both, x], 1)))
            p = np.concatenate([p * written, np.zeros_like(self.alignment)], 1)
            for s, token in enumerate(self.copies):
                p[:, token] += self.alignment[:, s] * (1 - written[:, 0])
        return p, [states, coverage, context]


def select(state: Any, rows: list[int]) -> Any:
    return [select(part, rows) for part in state] if isinstance(state, list) else state[rows]


def search(model: Model, source: Any, copies: list[int], beam: int, penalty: float, most: int) -> list[int]:
    """The best hypothesis that a beam finds, by log p / length^penalty."""
    state, rows, finished = model.start(source, copies), [(0.0, [SOS])], [(-np.inf, [SOS])]
    while rows:
        p, state = model.step(np.array([ids[-1] for _, ids in rows]), state)
        with np.errstate(divide="ignore"):
            totals = np.log(p) + np.array([[total] for total, _ in rows])
        totals[:, [PAD, SOS]] = -np.inf
        going, parents = [], []
        for place in np.argsort(-totals, axis=None, kind="stable")[:beam].tolist():
            parent, token = divmod(place, totals.shape[1])
            total, ids = float(totals[parent, token]), [*rows[parent][1], token]
            if token == EOS or len(ids) > most:
                finished.append((total / (len(ids) - 1) ** penalty, ids))
            elif total > -np.inf:
                going.append((total, ids))
                parents.append(parent)
        best = max(finished, key=lambda found: found[0])
        rows = going if going and best[0] < max(going)[0] / (most**penalty if penalty > 0 else 1) else []
        state = select(state, parents)
    return [token for token in best[1][1:] if token != EOS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--input", help="a text, .npy or .npz; by default standard input")
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    asked = parser.parse_args()
    for translation in translations(asked.model, asked.input, asked.beam_size, asked.length_penalty):
        print(translation)


def translations(path: str, source: str | None, beam: int = 1, penalty: float = 1.0) -> Any:
    """Of each source of a file, or of standard input."""
    config, text, weights = read(path)
    model, words, (_, join) = Model(config, weights), text["trg_vocabulary"]["tokens"], tokenizer(text["trg_tokenizer"])
    for given, copies, tokens in sources(source, config, text):
        says = any(tokens) or "src_mean" in text  # a blank line does not
        found = search(model, given, copies, beam, penalty, text["max_output_length"]) if says else []
        yield join([words[i] if i < len(words) else tokens[i - len(words)] for i in found])


def sources(path: str | None, config: dict[str, Any], text: dict[str, Any]) -> Any:
    """Of each source what the model is given, what a copy of each position would be, and its tokens."""
    if "src_mean" in text:
        examples = np.load(str(path))
        for rows in examples.values() if hasattr(examples, "values") else examples:
            yield (np.atleast_2d(rows) - np.float32(text["src_mean"])) * np.float32(text["src_scale"]), [], []
        return
    (split, _), known = tokenizer(text["src_tokenizer"]), text["src_vocabulary"]["tokens"]
    ids = {word: number for number, word in enumerate(known) if number > EOS}
    lines = (Path(path).read_text(encoding="utf-8") if path else sys.stdin.read()).split("\n")
    marks = {"both": ([SOS], [EOS]), "end": ([], [EOS]), "none": ([], [])}[config.get("source_marks", "both")]
    for line in lines[:-1] if lines[-1] == "" else lines:
        tokens = split(line)[: config.get("truncate_source") or None][:: -1 if config.get("reverse_source") else 1]
        tokens = tokens if line.strip() else []
        given = [*marks[0], *(ids.get(token, UNK) for token in tokens), *marks[1]]
        tokens = [*("" for _ in marks[0]), *tokens, *("" for _ in marks[1])]
        places = [len(known) + tokens.index(token) for token in tokens]
        yield np.array(given), [n if n != UNK else place for n, place in zip(given, places, strict=True)], tokens


if __name__ == "__main__":
    main()
