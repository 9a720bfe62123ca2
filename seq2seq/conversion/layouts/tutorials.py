"""The first three models of the PyTorch tutorials on translation (Trevett).

E embedding size, H state size, L layers.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from seq2seq.conversion.layouts.arithmetic import gru_step, log_softmax
from seq2seq.conversion.layouts.contract import Array, Arrays, Layout
from seq2seq.conversion.layouts.recurrent import State, layers_of, names_of, names_of_layers, passed, stepped
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted

STACKS = ENCODER, DECODER = "encoder.rnn.{part}_l{n}", "decoder.rnn.{part}_l{n}"  # the names of their arrays


class TutorialLSTM(Layout):
    """Sutskever et al. (2014) as the tutorials for PyTorch build it (Trevett, "Sequence to sequence learning with
    neural networks"): stacked LSTMs, the decoder starting from the encoder's states."""

    name = "tutorial-lstm"
    about = "encoder.embedding, encoder.rnn, decoder.embedding, decoder.rnn, decoder.fc_out; LSTMs"
    gates: ClassVar[int] = 4

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        expected = {*cls.source_tables, *cls.target_tables, *cls.target_biases, *names_of_layers(arrays, *STACKS)}
        encoder, decoder = (len(names_of(arrays, pattern)) for pattern in STACKS)
        if set(arrays) != expected or encoder != decoder or not encoder:
            return None
        rows, size = arrays["encoder.rnn.weight_hh_l0"].shape
        if rows != cls.gates * size or arrays["decoder.rnn.weight_hh_l0"].shape != (rows, size):
            return None
        if not cls.reads_well(arrays, size):
            return None
        sizes = {"hidden_size": size, "num_layers": encoder}
        widths = [arrays[f"{part}.embedding.weight"].shape[1] for part in ("encoder", "decoder")]
        if widths[0] != widths[1]:
            raise UserError(f"embeddings have {widths[0]} and {widths[1]} numbers; expected as many on both sides")
        return cls.parts() | sizes | {"embedding_size": widths[0]}

    @classmethod
    def reads_well(cls, arrays: Arrays, size: int) -> bool:
        """Whether the decoder and its output layer read what those of this layout do."""
        width = arrays["decoder.embedding.weight"].shape[1]
        return (arrays["decoder.rnn.weight_ih_l0"].shape[1], arrays["decoder.fc_out.weight"].shape[1]) == (width, size)

    @classmethod
    def parts(cls) -> dict[str, Any]:
        return {"encoder": "lstm", "decoder": "lstm"}

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        arrays = self.arrays
        encoder, decoder = (layers_of(arrays, pattern) for pattern in STACKS)
        states: list[State] = [(np.zeros(w_hh.shape[1]),) * 2 for _, w_hh, _, _ in encoder]
        for token in source:
            states = stepped(arrays["encoder.embedding.weight"][token], states, encoder)
        found = []
        for token in target:
            states = stepped(arrays["decoder.embedding.weight"][token], states, decoder)
            found.append(log_softmax(arrays["decoder.fc_out.weight"] @ states[-1][0] + arrays["decoder.fc_out.bias"]))
        return np.array(found)


class TutorialGRU(TutorialLSTM):
    """Cho et al. (2014) as the same tutorials build it ("Learning phrase representations using RNN encoder-decoder"): a
    GRU that reads the context at every step, and an output layer that reads token, state and context."""

    name = "tutorial-gru-context"
    about = "the same names; GRUs of one layer, the decoder's reading the context beside each token"
    gates = 3

    @classmethod
    def reads_well(cls, arrays: Arrays, size: int) -> bool:
        width = arrays["decoder.embedding.weight"].shape[1]
        reads = arrays["decoder.rnn.weight_ih_l0"].shape[1], arrays["decoder.fc_out.weight"].shape[1]
        return reads == (width + size, width + 2 * size) and "encoder.rnn.weight_ih_l1" not in arrays

    @classmethod
    def parts(cls) -> dict[str, Any]:
        return {"encoder": "gru", "decoder": "gru-context"}

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        arrays = self.arrays
        (encoder,), (decoder,) = (layers_of(arrays, pattern) for pattern in STACKS)
        h = np.zeros(encoder[1].shape[1])
        for token in source:
            h = gru_step(arrays["encoder.embedding.weight"][token], h, encoder)
        context, found = h, []
        for token in target:
            embedded = arrays["decoder.embedding.weight"][token]
            h = gru_step(np.concatenate([embedded, context]), h, decoder)
            read = np.concatenate([embedded, h, context])
            found.append(log_softmax(arrays["decoder.fc_out.weight"] @ read + arrays["decoder.fc_out.bias"]))
        return np.array(found)


class TutorialAttention(Layout):
    """Bahdanau et al. (2015) as the same tutorials build it ("Neural machine translation by jointly learning to align
    and translate"): a GRU in both directions, a layer from its last states to the decoder's first, and an output layer
    that reads state, context and token. Both sides must have states of one size."""

    name = "tutorial-attention"
    about = "encoder.fc, decoder.attention.attn_fc and v_fc beside them; GRUs of one layer, the encoder's both ways"

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        if set(arrays) != set(cls.shapes(1, 1, 1, 1)):
            return None
        size, own = (arrays[f"{part}.rnn.weight_hh_l0"].shape[1] for part in ("encoder", "decoder"))
        if own != size:
            raise UserError(
                f"states have {counted(size, 'number')} in the encoder and {own} in the decoder; expected as many"
            )
        sources, width = arrays["encoder.embedding.weight"].shape
        expected = cls.shapes(sources, len(arrays["decoder.embedding.weight"]), width, size)
        if any(arrays[name].shape != shape for name, shape in expected.items()):
            return None
        sizes = {"embedding_size": width, "hidden_size": size, "num_layers": 1}
        return {"encoder": "bigru", "decoder": "bahdanau", "cell": "gru", "plain_output": True} | sizes

    @staticmethod
    def shapes(sources: int, targets: int, width: int, size: int) -> dict[str, tuple[int, ...]]:
        """Of all arrays: words of both sides, E, H."""
        found: dict[str, tuple[int, ...]] = {
            "encoder.embedding.weight": (sources, width),
            "decoder.embedding.weight": (targets, width),
            "encoder.fc.weight": (size, 2 * size), "encoder.fc.bias": (size,),
            "decoder.attention.attn_fc.weight": (size, 3 * size), "decoder.attention.attn_fc.bias": (size,),
            "decoder.attention.v_fc.weight": (1, size),
            "decoder.fc_out.weight": (targets, 3 * size + width), "decoder.fc_out.bias": (targets,),
        }  # fmt: skip
        for rnn, suffix, reads in (("encoder", "", 0), ("encoder", "_reverse", 0), ("decoder", "", 2 * size)):
            found[f"{rnn}.rnn.weight_ih_l0{suffix}"] = 3 * size, width + reads
            found[f"{rnn}.rnn.weight_hh_l0{suffix}"] = 3 * size, size
            found |= {f"{rnn}.rnn.bias_{name}_l0{suffix}": (3 * size,) for name in ("ih", "hh")}
        return found

    def weights(self) -> Arrays:
        arrays = dict(self.arrays)
        both, size = arrays.pop("decoder.attention.attn_fc.weight"), arrays["encoder.fc.bias"].size
        found = {
            "decoder.attention.query.weight": both[:, :size],
            "decoder.attention.key.weight": both[:, size:],
            "decoder.attention.key.bias": arrays.pop("decoder.attention.attn_fc.bias"),
            "decoder.attention.v": arrays.pop("decoder.attention.v_fc.weight")[0],
        }
        h, context, token = np.split(arrays.pop("decoder.fc_out.weight"), [size, 3 * size], 1)
        found["decoder.fc_out.weight"] = np.concatenate([context, h, token], 1)
        ours = {"encoder.fc.": "encoder.bridges.0.", "decoder.rnn.": "decoder.attentive."}
        one_layer = {
            name.removesuffix("_l0") if name.startswith("decoder.rnn.") else name: arrays[name] for name in arrays
        }
        return found | {_renamed(name, ours): array for name, array in one_layer.items()}

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        arrays = self.arrays
        patterns = ENCODER, f"{ENCODER}_reverse", DECODER
        (forward,), (backward,), (decoder,) = (layers_of(arrays, pattern) for pattern in patterns)
        rows = arrays["encoder.embedding.weight"][source]
        ahead, behind = passed(rows, forward)[0], passed(rows[::-1], backward)[0]
        outputs = np.concatenate([ahead, behind[::-1]], 1)
        last = np.concatenate([ahead[-1], behind[-1]])
        h = np.tanh(arrays["encoder.fc.weight"] @ last + arrays["encoder.fc.bias"])
        found = []
        for token in target:
            asked = np.concatenate([np.tile(h, (len(outputs), 1)), outputs], 1)
            hidden = np.tanh(
                asked @ arrays["decoder.attention.attn_fc.weight"].T + arrays["decoder.attention.attn_fc.bias"]
            )
            context = np.exp(log_softmax(hidden @ arrays["decoder.attention.v_fc.weight"][0])) @ outputs
            embedded = arrays["decoder.embedding.weight"][token]
            h = gru_step(np.concatenate([embedded, context]), h, decoder)
            read = np.concatenate([h, context, embedded])
            found.append(log_softmax(arrays["decoder.fc_out.weight"] @ read + arrays["decoder.fc_out.bias"]))
        return np.array(found)


def _renamed(name: str, names: dict[str, str]) -> str:
    """With the beginning that it has in another place."""
    return next((new + name.removeprefix(old) for old, new in names.items() if name.startswith(old)), name)
