"""How the gates of recurrent layers stand at each token: the mean over a layer's units of each gate.

The layers are those of parts that read embeddings by a plain ``nn.LSTM`` or ``nn.GRU``; what they compute is computed
here once more, step by step, since the fused layers keep no gates in evaluation.

LSTM: i, f, o = sigmoid, g = tanh; c = f c_prev + i g; h = o tanh(c). GRU: r, z = sigmoid, n = tanh(. + r (.));
h = (1 - z) n + z h_prev. PyTorch's order of gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, no_grad
from seq2seq.decoding.scorers import encode
from seq2seq.models.contract import State
from seq2seq.models.model import Seq2Seq
from seq2seq.text.vocabulary import SOS_ID

Array = np.ndarray
States = list[list[Array]]  # of each layer h, and of an LSTM c behind it
_KINDS = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


class Gates(NamedTuple):
    """Of one layer: its name, and of each gate the mean at each position."""

    layer: str
    series: dict[str, list[float]]


def gates_of(model: Seq2Seq, item: Any, ids: Sequence[int]) -> tuple[list[Gates], list[Gates]]:
    """The gates of the encoder at each position that it reads of a source, and of the decoder at <sos> and each of
    ``ids``; none of a part that is no plain recurrent one, or that goes in both directions."""
    inputs, _ = model.source.collate([item])
    found, _ = _of_part(model.encoder, "encoder", inputs[:, 0], None)
    layers = getattr(getattr(model.decoder, "rnn", None), "num_layers", 0)
    with no_grad():
        states = _of_layers(model.start(encode(model, [item], False)), layers)
    if not states:
        return found, []
    return found, _of_part(model.decoder, "decoder", np.array([SOS_ID, *ids]), states)[0]


def _of_layers(state: State, layers: int) -> States:
    """What each layer starts from, of a decoder's first state for one source, if it has such parts: (L, 1, H)."""
    parts = [_array(part)[:, 0] for part in state if part.ndim == 3 and part.shape[:2] == (layers, 1)]
    return [[part[layer] for part in parts] for layer in range(layers)] if parts else []


def _of_part(part: Any, name: str, tokens: Array, states: States | None) -> tuple[list[Gates], States]:
    """The gates of a part's layers, and their last states."""
    embedding: Any = getattr(part, "embedding", None)
    rnn: Any = getattr(part, "rnn", None)
    if type(rnn) not in (nn.LSTM, nn.GRU) or not isinstance(embedding, nn.Embedding) or rnn.bidirectional:
        return [], []
    x = _array(embedding.weight)[tokens]
    if x.shape[1] != rnn.weight_ih_l0.shape[1] or (states and len(states[0]) < len(rnn.state_names)):
        return [], []
    found: list[Gates] = []
    last: States = []
    for layer in range(rnn.num_layers):
        w_ih, w_hh, b_ih, b_hh = (_array(getattr(rnn, f"{kind}_l{layer}")) for kind in _KINDS)
        first = [np.zeros(w_hh.shape[1])] * 2 if states is None else states[layer]
        recurrence = _lstm if isinstance(rnn, nn.LSTM) else _gru
        x, series, end = recurrence(x, w_ih, w_hh, b_ih, b_hh, first)
        found.append(Gates(f"{name}, layer {layer + 1}", series))
        last.append(end)
    return found, last


def _array(tensor: Any) -> Array:
    array: Array = tensor.detach().cpu().numpy().astype(np.float64)
    return array


def _lstm(
    x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, state: list[Array]
) -> tuple[Array, dict[str, list[float]], list[Array]]:
    h, c = state[:2]
    outputs: list[Array] = []
    series: dict[str, list[float]] = {"input": [], "forget": [], "output": []}
    for step in x:
        i, f, g, o = np.split(w_ih @ step + b_ih + w_hh @ h + b_hh, 4)
        i, f, o = _sigmoid(i), _sigmoid(f), _sigmoid(o)
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        outputs.append(h)
        for name, gate in zip(series, (i, f, o), strict=True):
            series[name].append(float(gate.mean()))
    return np.array(outputs), series, [h, c]


def _gru(
    x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, state: list[Array]
) -> tuple[Array, dict[str, list[float]], list[Array]]:
    h = state[0]
    outputs: list[Array] = []
    series: dict[str, list[float]] = {"reset": [], "update": []}
    for step in x:
        r_x, z_x, n_x = np.split(w_ih @ step + b_ih, 3)
        r_h, z_h, n_h = np.split(w_hh @ h + b_hh, 3)
        r, z = _sigmoid(r_x + r_h), _sigmoid(z_x + z_h)
        h = (1 - z) * np.tanh(n_x + r * n_h) + z * h
        outputs.append(h)
        for name, gate in zip(series, (r, z), strict=True):
            series[name].append(float(gate.mean()))
    return np.array(outputs), series, [h, np.zeros_like(h)]


def _sigmoid(a: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-a))
    return result
