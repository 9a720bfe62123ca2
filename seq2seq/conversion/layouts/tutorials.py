"""The first two models of the PyTorch tutorials on translation (Trevett).

E embedding size, H state size, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from seq2seq.conversion.layouts.arithmetic import gru_step, layers_of, log_softmax, lstm_step
from seq2seq.conversion.layouts.contract import Array, Arrays, Layout
from seq2seq.run.errors import UserError


class TutorialLSTM(Layout):
    """Sutskever et al. (2014) as the tutorials for PyTorch build it (Trevett, "Sequence to sequence learning with
    neural networks"): stacked LSTMs, the decoder starting from the encoder's states."""

    name = "tutorial-lstm"
    about = "encoder.embedding, encoder.rnn, decoder.embedding, decoder.rnn, decoder.fc_out; LSTMs"
    gates: ClassVar[int] = 4

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        expected = {*cls.source_tables, *cls.target_tables, *cls.target_biases}
        stacks = [list(_stack_names(arrays, f"{part}.rnn")) for part in ("encoder", "decoder")]
        if set(arrays) != expected.union(*stacks) or len(stacks[0]) != len(stacks[1]) or not stacks[0]:
            return None
        rows, size = arrays["encoder.rnn.weight_hh_l0"].shape
        if rows != cls.gates * size or arrays["decoder.rnn.weight_hh_l0"].shape != (rows, size):
            return None
        if not cls.reads_well(arrays, size):
            return None
        sizes = {"hidden_size": size, "num_layers": len(stacks[0]) // 4}
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
        encoder, decoder = (list(layers_of(arrays, f"{part}.rnn")) for part in ("encoder", "decoder"))
        states = [(np.zeros(w_hh.shape[1]),) * 2 for _, w_hh, _, _ in encoder]
        for token in source:
            _, states = _lstm_stack(arrays["encoder.embedding.weight"][token], states, encoder)
        found = []
        for token in target:
            h, states = _lstm_stack(arrays["decoder.embedding.weight"][token], states, decoder)
            found.append(log_softmax(arrays["decoder.fc_out.weight"] @ h + arrays["decoder.fc_out.bias"]))
        return np.array(found)


def _lstm_stack(x: Array, states: list[Any], layers: list[Any]) -> tuple[Array, list[Any]]:
    """What the last layer gives, and the states of all."""
    after = []
    for state, weights in zip(states, layers, strict=True):
        after.append(lstm_step(x, state, weights))
        x = after[-1][0]
    return x, after


def _stack_names(arrays: Arrays, prefix: str) -> Iterator[str]:
    for layer, _ in enumerate(layers_of(arrays, prefix)):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            yield f"{prefix}.{name}_l{layer}"


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
        (encoder,), (decoder,) = (list(layers_of(arrays, f"{part}.rnn")) for part in ("encoder", "decoder"))
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
