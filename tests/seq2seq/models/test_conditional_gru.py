"""The conditional GRU of Nematus against the same model in PyTorch, and what is its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigrad import Tensor
from seq2seq.models.model import Seq2Seq

torch = pytest.importorskip("torch")
from tests.seq2seq.models.torch_twin import TorchTwin  # noqa: E402  (which needs it)

ENCODERS = {"gru": {}, "bigru": {"bidirectional": True}}


def stepped(twin: TorchTwin, lengths: Any) -> Any:
    """The features (T, N, E) by PyTorch's cells, a pair at a time and a step at a time, as the paper's equations."""
    cells = [
        twin.module(f"decoder.cells.{n}.", torch.nn.GRUCell(size, 6).double())
        for n, size in enumerate((5, twin.outputs.shape[2]))
    ]
    query, key, v = (twin.weight(f"decoder.attention.{name}") for name in ("query.weight", "key.weight", "v"))
    bias = twin.weight("decoder.attention.key.bias")
    columns = []
    for n, length in enumerate(lengths):
        outputs, rows = twin.outputs[:length, n], []
        h = torch.tanh(twin.linear("decoder.initial", outputs.mean(0)))
        for token in twin.trg_input[:, n]:
            e = twin.embed("decoder", token)
            asks = cells[0](e[None], h[None])[0]
            scores = torch.stack([v @ torch.tanh(query @ asks + key @ m + bias) for m in outputs])
            context = torch.softmax(scores, 0) @ outputs
            h = cells[1](context[None], asks[None])[0]
            rows.append(torch.tanh(twin.linear("decoder.combine", torch.cat([context, h, e]))))
        columns.append(torch.stack(rows))
    return torch.stack(columns, 1)


def build(tiny_model: Any, **settings: Any) -> Seq2Seq:
    model: Seq2Seq = tiny_model(decoder="conditional-gru", precision="fp64", **settings)
    return model


@pytest.mark.parametrize("encoder", ENCODERS)
def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch, encoder: str) -> None:
    batch = draw_batch(1)
    twin = TorchTwin(build(tiny_model, encoder=encoder), batch)
    twin.encode(torch.nn.GRU, **ENCODERS[encoder])
    twin.compare(stepped(twin, batch.src_lengths))


def test_tied_words_are_pytorchs(tiny_model, draw_batch) -> None:
    """Features have the embedding's size, so that both tables may be one."""
    batch = draw_batch(2)
    model = build(tiny_model, encoder="bigru", tie_weights="decoder")
    assert model.decoder.embedding.weight is model.decoder.output.weight
    twin = TorchTwin(model, batch)
    twin.encode(torch.nn.GRU, bidirectional=True)
    twin.compare(stepped(twin, batch.src_lengths))


def test_the_comparison_can_fail(tiny_model, draw_batch) -> None:
    """The bias of the second cell's candidate on the other side of the reset gate is another model."""
    batch = draw_batch(1)
    model = build(tiny_model, encoder="gru")
    before = model.loss(batch).item()
    cell = model.decoder.cells[1]
    cell.bias_ih.array[-6:], cell.bias_hh.array[-6:] = cell.bias_hh.array[-6:].copy(), cell.bias_ih.array[-6:].copy()
    assert abs(model.loss(batch).item() - before) > 1e-6


def test_alignments_are_weights_of_the_source_alone(tiny_model, draw_batch) -> None:
    model, batch = build(tiny_model, encoder="bigru").eval(), draw_batch(3)
    packed = model.pack(batch)
    memory = model.remember(packed)
    state = model.start(memory)
    _, after = model.decoder.step(Tensor(batch.trg_input[0]), state, memory)
    weights = model.decoder.alignment(after).array
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    for row, length in zip(weights, batch.src_lengths, strict=True):
        assert (row[:length] > 0).all()
        assert not row[length:].any()


def test_any_number_of_layers_may_be_below(tiny_model, draw_batch) -> None:
    """It makes its first state itself, so the encoder's depth and states are no matter."""
    for encoder in ("lstm", "bilstm", "transformer"):
        options = {"hidden_size": 8, "num_heads": 2, "ffn_size": 7} if encoder == "transformer" else {}
        model = build(tiny_model, encoder=encoder, num_layers=3, **options)
        assert np.isfinite(model.loss(draw_batch(4)).item())
        assert model.remember(model.pack(draw_batch(4))).states == ()
