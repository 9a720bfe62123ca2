"""The decoder of Luong et al. (2015) against the same model in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seq2seq.models.contract import Decoder
from tests.seq2seq.tiny_translators import SENTENCES, SIZES, translator

torch = pytest.importorskip("torch")
from tests.seq2seq.models.torch_twin import ChoGRU, TorchTwin  # noqa: E402  (which needs it)

CELLS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "cho-gru": ChoGRU}
LENGTHS = (4, 1, 6, 3, 0)  # words of the sources of draw_batch(1), between two marks


def scores_of(twin: TorchTwin, name: str, h: Any) -> Any:
    """(S, N) of states (N, H), by the equations of the papers."""
    outputs = twin.outputs
    if name == "additive":
        inside = twin.linear("decoder.attention.query", h) + twin.linear("decoder.attention.key", outputs)
        return torch.tanh(inside) @ twin.weight("decoder.attention.v")
    query = twin.linear("decoder.attention.query", h) if name == "general" else h
    return torch.einsum("snd,nd->sn", outputs, query) / (h.shape[1] ** 0.5 if name == "scaled" else 1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("score", ["general", "dot", "scaled", "additive"])
@pytest.mark.parametrize("linear", [False, True], ids=["tanh", "linear"])
def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch, cell: str, score: str, linear: bool) -> None:
    """Step by step: the attentional vector of a step stands beside the next token."""
    parts = {"encoder": cell, "decoder": "luong", "cell": cell, "attention": score, "linear_features": linear}
    twin = TorchTwin(tiny_model(precision="fp64", **parts), draw_batch(1))
    state = twin.encode(CELLS[cell])
    embedded, layers = twin.embed("decoder", twin.trg_input), twin.recurrent(CELLS[cell], "decoder.rnn")
    within = torch.arange(len(twin.outputs))[:, None] < torch.tensor(LENGTHS) + 2
    fed, features = torch.zeros(len(LENGTHS), 6, dtype=torch.float64), []
    for x in embedded:
        y, state = layers(torch.cat([x, fed], 1)[None], state)
        scores = scores_of(twin, score, y[0]).masked_fill(~within, -torch.inf)
        context = torch.einsum("sn,snd->nd", torch.softmax(scores, 0), twin.outputs)
        fed = twin.linear("decoder.combine", torch.cat([context, y[0]], 1))
        fed = fed if linear else torch.tanh(fed)
        features.append(fed)
    twin.compare(torch.stack(features))


def test_what_is_fed_matters(tiny_model, draw_batch) -> None:
    """Without the weights that read it the loss is another one."""
    model, batch = tiny_model(decoder="luong").eval(), draw_batch(2)
    before = model.loss(batch).item()
    model.state_dict()["decoder.rnn.weight_ih_l0"].array[:, 5:] = 0
    assert abs(model.loss(batch).item() - before) > 1e-3


def test_it_goes_step_by_step(tiny_model) -> None:
    """No kernel searches with it, but its layers are packed; its states are named as they leave a step."""
    decoder = tiny_model(decoder="luong", attention="additive").eval().decoder
    assert isinstance(decoder, Decoder)
    assert decoder.compiled_search("full") is None
    assert decoder.prepacked(bf16=False) is not None
    assert decoder._parts == ("h", "c", "features", "alignment", "keys")
    np.testing.assert_equal(decoder.rnn.input_size, 5 + 6)


@pytest.mark.parametrize("marks", ["both", "end", "none"])
def test_alignments_are_over_the_tokens_whatever_stands_around_them(marks: str) -> None:
    """What marks get is left out, and without any nothing is."""
    ours = translator("lstm", "luong", source_marks=marks, num_layers=1, **SIZES)
    for (found,), sentence in zip(ours.search(SENTENCES, alignment=True), SENTENCES, strict=True):
        assert found.alignment is not None
        assert found.alignment.shape == (len(found.ids), len(sentence.split()))
        missing = 1 - found.alignment.sum(1)
        assert (abs(missing) < 1e-5).all() if marks == "none" else (missing > 1e-9).all()
