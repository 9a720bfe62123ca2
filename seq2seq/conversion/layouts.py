"""What the names and shapes of weights in a file mean: each layout knows its own, and becomes parts of this engine.

A layout also computes what its model computes, from its own arrays and in NumPy alone, so that a conversion can be held
against something that knows nothing of the engine.

E embedding size, H state size, L layers, V words of the target, T target positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from seq2seq.run.errors import UserError

Array = np.ndarray
Arrays = dict[str, Array]


class Layout:
    """One kind of model as its authors' code lays it out.

    Attributes:
        name: for --layout.
        about: what it is.
        source_tables, target_tables: arrays with a row for each word.
        target_biases: with a number for each.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    source_tables: ClassVar[tuple[str, ...]] = ("encoder.embedding.weight",)
    target_tables: ClassVar[tuple[str, ...]] = ("decoder.embedding.weight", "decoder.fc_out.weight")
    target_biases: ClassVar[tuple[str, ...]] = ("decoder.fc_out.bias",)

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        """Those of the model that the arrays make, None where they are not of this layout."""
        raise NotImplementedError

    def weights(self) -> Arrays:
        """By the names of the engine's model, rows of words in the file's order."""
        return self.arrays

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        """(T, V) of what follows each of the target's ids, of the ids that the model reads, marks included."""
        raise NotImplementedError


def lstm_step(x: Array, state: tuple[Array, Array], weights: Iterable[Array]) -> tuple[Array, Array]:
    """h and c after a step; gates lie in blocks i, f, g, o."""
    w_ih, w_hh, b_ih, b_hh = weights
    i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ state[0] + b_hh, 4)
    c = _sigmoid(f) * state[1] + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def gru_step(x: Array, h: Array, weights: Iterable[Array]) -> Array:
    """h after a step; gates lie in blocks r, z, n, and r lets the state's part of n through."""
    w_ih, w_hh, b_ih, b_hh = weights
    (r, z, n), (r_h, z_h, n_h) = np.split(w_ih @ x + b_ih, 3), np.split(w_hh @ h + b_hh, 3)
    r, z = _sigmoid(r + r_h), _sigmoid(z + z_h)
    return (1 - z) * np.tanh(n + r * n_h) + z * h


def _sigmoid(x: Array) -> Array:
    return 0.5 * (np.tanh(0.5 * x) + 1)


def log_softmax(x: Array) -> Array:
    shifted = x - x.max()
    return shifted - np.log(np.exp(shifted).sum())


def layers_of(arrays: Arrays, prefix: str) -> Iterator[tuple[Array, Array, Array, Array]]:
    """The weights of each layer of an ``nn.LSTM`` or ``nn.GRU``."""
    for layer in itertools.count():
        names = [f"{prefix}.{name}_l{layer}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        if not set(names) <= set(arrays):
            return
        w_ih, w_hh, b_ih, b_hh = (arrays[name] for name in names)
        yield w_ih, w_hh, b_ih, b_hh


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


LAYOUTS: dict[str, type[Layout]] = {layout.name: layout for layout in (TutorialLSTM, TutorialGRU)}
FORMER_NAMES = {"decoder.out.weight": "decoder.fc_out.weight", "decoder.out.bias": "decoder.fc_out.bias"}


def recognised(arrays: Arrays, name: str | None = None) -> tuple[Layout, dict[str, Any]]:
    """The layout of arrays, and the settings of its model; UserError where none fits, or not the one that is named."""
    arrays = {FORMER_NAMES.get(key, key): array for key, array in arrays.items()}
    for layout in LAYOUTS.values() if name is None else (LAYOUTS[name],):
        settings = layout.settings(arrays)
        if settings is not None:
            return layout(arrays), settings
    listed = ", ".join(f"{key} {array.shape}" for key, array in sorted(arrays.items())[:6])
    told = f"of layout {name}" if name else f"known ({', '.join(LAYOUTS)})"
    raise UserError(f"its {len(arrays)} arrays are not {told}; it has {listed}{' ...' if len(arrays) > 6 else ''}")
