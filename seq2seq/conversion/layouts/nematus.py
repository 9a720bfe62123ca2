"""Models of Nematus as it was on Theano, and of dl4mt, whose names it kept (Sennrich et al., "Nematus: a toolkit for
neural machine translation", 2017): a bidirectional GRU, and the conditional GRU behind it.

A file has matrices that rows are multiplied by from the left, x W, so ours are theirs turned round. Of a cell W and U
make the gates r and u, in this order, Wx and Ux the candidate; u keeps what was there:

    r, u = sigmoid(x W + h U + b)      h = u h + (1 - u) tanh(x Wx + bx + r (h Ux))

In the decoder's second cell the bias is the state's: tanh(x Wx + r (h Ux + bx)). A source ends with </s>, and the first
vector that the decoder reads is zeros. E embedding size, H state size, D = 2H, S positions, V words of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seq2seq.conversion.dictionaries import with_marks
from seq2seq.conversion.layouts.arithmetic import log_softmax, sigmoid
from seq2seq.conversion.layouts.contract import NOTHING, Array, Arrays, Layout
from seq2seq.run.errors import UserError

PARTS = "W", "Wx", "U", "Ux", "b", "bx"  # of a cell
SECOND_PARTS = "Wc", "Wcx", "U_nl", "Ux_nl", "b_nl", "bx_nl"  # of the decoder's second
FORWARD, BACKWARD, FIRST = ([f"{half}_{part}" for part in PARTS] for half in ("encoder", "encoder_r", "decoder"))
SECOND = [f"decoder_{part}" for part in SECOND_PARTS]
READOUT = "ctx", "lstm", "prev"  # what features are made of: context, state and embedding, in our order
BESIDE = {"decoder_c_tt", "history_errs", "uidx", "zipped_params"}  # cancels in a softmax; what training keeps
# What other models have, by a part of the names of its arrays.
OTHERS = {
    "_drt_": "deep transition cells", "_ln": "layer normalisation", "_gamma": "layer normalisation",
    "_2": "more layers", "_l2": "more layers", "_cell": "deep transition cells", "Wemb": "factors, or more sources",
    "_att": "more sources, or another attention",
}  # fmt: skip


class Nematus(Layout):
    """Its NAME.npz; tables may be shared: without Wemb_dec the target has the source's, without ff_logit_W the output
    layer has the target's."""

    name = "nematus"
    about = "Wemb, encoder_W, encoder_r_W, decoder_W_comb_att, ff_logit_lstm_W; .npz of Nematus on Theano, or of dl4mt"
    reads_first = None

    def __init__(self, arrays: Arrays) -> None:
        super().__init__(self.canonical(arrays))
        self.exact = {name: array.astype(np.float64) for name, array in self.arrays.items()}
        self.target_table = "Wemb_dec" if "Wemb_dec" in self.arrays else "Wemb"

    @classmethod
    def canonical(cls, arrays: Arrays) -> Arrays:
        """The arrays by the names of Nematus, biases as vectors, without what is no part of a model."""
        kept = {name: array for name, array in arrays.items() if name not in BESIDE and not name.startswith("adam")}
        return {
            name: array[0] if "_b" in name and array.ndim == 2 and len(array) == 1 else array
            for name, array in kept.items()
        }

    @classmethod
    def tokens(cls, lines: list[str]) -> list[str]:
        return with_marks(lines)

    def fitted(self, tokens: list[str], side: str) -> list[str]:
        """Dictionaries go on behind the words that a model knows, and tables behind those of a dictionary."""
        count = len(self.arrays["Wemb" if side == "src" else self.target_table])
        return tokens[:count] + [f"<unused {number}>" for number in range(len(tokens), count)]

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        if not {"Wemb", "decoder_W_comb_att"} <= set(arrays):
            return None
        return cls.checked(cls.canonical(arrays))

    @classmethod
    def checked(cls, arrays: Arrays) -> dict[str, Any]:
        """The settings; UserError where the arrays, by the names of Nematus, are not those of one such model."""
        for name in ("Wemb", "encoder_Ux", "ff_logit_b"):
            if name not in arrays or not arrays[name].ndim:
                raise UserError(f"it lacks {name}; expected a bidirectional GRU and a conditional one")
        width, size, words = (arrays[name].shape[-1] for name in ("Wemb", "encoder_Ux", "ff_logit_b"))
        expected = shapes(width, size, words, {"Wemb_dec", "ff_logit_W"} & set(arrays), len(arrays["Wemb"]))
        for name in sorted(set(arrays) - set(expected)):
            told = next((told for part, told in OTHERS.items() if part in name), "something else")
            raise UserError(f"it has {told} ({name}); expected a model without")
        for name, shape in expected.items():
            if name not in arrays:
                raise UserError(f"it lacks {name}; expected a bidirectional GRU and a conditional one")
            if arrays[name].shape != shape:
                raise UserError(f"{name} has shape {arrays[name].shape}; expected {shape}")
        parts = {"encoder": "bigru", "decoder": "conditional-gru", "num_layers": 1, "source_marks": "end"}
        parts |= {} if "ff_logit_W" in arrays else {"tie_weights": "decoder"}
        return parts | {"embedding_size": width, "hidden_size": size}

    def weights(self) -> Arrays:
        a = self.arrays
        found = {"encoder.embedding.weight": a["Wemb"], "decoder.embedding.weight": a[self.target_table]}
        for names, ours, suffix, inside in (
            (FORWARD, "encoder.rnn", "_l0", False), (BACKWARD, "encoder.rnn", "_l0_reverse", False),
            (FIRST, "decoder.cells.0", "", False), (SECOND, "decoder.cells.1", "", True),
        ):  # fmt: skip
            found |= {f"{ours}.{part}{suffix}": array for part, array in self._cell(names, inside).items()}
        found |= {"decoder.initial.weight": a["ff_state_W"].T, "decoder.initial.bias": a["ff_state_b"]}
        query, key, bias, v = (a[f"decoder_{name}"] for name in ("W_comb_att", "Wc_att", "b_att", "U_att"))
        found |= {"decoder.attention.query.weight": query.T, "decoder.attention.v": v[:, 0]}
        found |= {"decoder.attention.key.weight": key.T, "decoder.attention.key.bias": bias}
        combine = [a[f"ff_logit_{part}_W"] for part in READOUT]
        found |= {"decoder.combine.weight": np.concatenate(combine).T}
        found |= {"decoder.combine.bias": np.sum([a[f"ff_logit_{part}_b"] for part in READOUT], 0)}
        found |= {"decoder.fc_out.weight": a["ff_logit_W"].T} if "ff_logit_W" in a else {}
        return found | {"decoder.fc_out.bias": a["ff_logit_b"]}

    def _cell(self, names: Sequence[str], inside: bool) -> Arrays:
        """A cell as PyTorch has it, gates r, z, n; ``inside``: the candidate's bias is behind the reset gate."""
        w, wx, u, ux, b, bx = (self.arrays[name] for name in names)
        nothing = np.zeros_like(bx)
        return {
            "weight_ih": np.concatenate([w, wx], 1).T,
            "weight_hh": np.concatenate([u, ux], 1).T,
            "bias_ih": np.concatenate([b, nothing if inside else bx]),
            "bias_hh": np.concatenate([nothing, nothing, bx if inside else nothing]),
        }

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        a, steps = self.exact, self.exact["Wemb"][source]
        outputs = np.concatenate([self._pass(steps, FORWARD), self._pass(steps[::-1], BACKWARD)[::-1]], 1)
        keys = outputs @ a["decoder_Wc_att"] + a["decoder_b_att"]
        h, found = np.tanh(outputs.mean(0) @ a["ff_state_W"] + a["ff_state_b"]), []
        table = a[self.target_table]
        for token in target:
            embedded = np.zeros(table.shape[1]) if token == NOTHING else table[token]
            h = self._step(embedded, h, FIRST)
            scores = np.tanh(keys + h @ a["decoder_W_comb_att"]) @ a["decoder_U_att"][:, 0]
            context = np.exp(log_softmax(scores)) @ outputs
            h = self._step(context, h, SECOND)
            read = zip(READOUT, (context, h, embedded), strict=True)
            features = np.tanh(sum(x @ a[f"ff_logit_{part}_W"] + a[f"ff_logit_{part}_b"] for part, x in read))
            found.append(log_softmax(features @ a.get("ff_logit_W", table.T) + a["ff_logit_b"]))
        return np.array(found)

    def _pass(self, xs: Array, names: Sequence[str]) -> Array:
        """A cell from zeros over all positions: (S, E) -> (S, H)."""
        h, found = np.zeros(len(self.exact[names[3]])), []
        for x in xs:
            h = self._step(x, h, names)
            found.append(h)
        return np.array(found)

    def _step(self, x: Array, h: Array, names: Sequence[str]) -> Array:
        """h after a step of a cell."""
        w, wx, u, ux, b, bx = (self.exact[name] for name in names)
        r, keep = np.split(sigmoid(x @ w + h @ u + b), 2)
        inner = r * (h @ ux + bx) if names is SECOND else bx + r * (h @ ux)
        found: Array = keep * h + (1 - keep) * np.tanh(x @ wx + inner)
        return found


def shapes(E: int, H: int, V: int, tables: set[str], words: int) -> dict[str, tuple[int, ...]]:
    """Of the arrays of a model with these tables beside Wemb, which has ``words`` rows."""
    D, found = 2 * H, dict[str, tuple[int, ...]]()
    for names, reads in ((FORWARD, E), (BACKWARD, E), (FIRST, E), (SECOND, D)):
        found |= dict(zip(names, ((reads, 2 * H), (reads, H), (H, 2 * H), (H, H), (2 * H,), (H,)), strict=True))
    found |= {"ff_state_W": (D, H), "ff_state_b": (H,), "decoder_W_comb_att": (H, D), "decoder_Wc_att": (D, D)}
    found |= {"decoder_b_att": (D,), "decoder_U_att": (D, 1), "ff_logit_b": (V,)}
    for part, reads in zip(READOUT, (D, H, E), strict=True):
        found |= {f"ff_logit_{part}_W": (reads, E), f"ff_logit_{part}_b": (E,)}
    found |= {"Wemb": (words if "Wemb_dec" in tables else V, E)}
    return found | {name: shape for name, shape in (("Wemb_dec", (V, E)), ("ff_logit_W", (E, V))) if name in tables}
