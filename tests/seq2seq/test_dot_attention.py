"""The decoder with dot attention against the same model in PyTorch."""

from __future__ import annotations

import re

import pytest

from seq2seq.run.errors import UserError

torch = pytest.importorskip("torch")
from tests.seq2seq.torch_twin import TorchTwin  # noqa: E402  (which needs it)


def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch) -> None:
    batch = draw_batch(1)
    twin = TorchTwin(tiny_model(decoder="dot-attention", precision="fp64"), batch)
    h, c = twin.encode()
    lstm = twin.recurrent(torch.nn.LSTM, "decoder.rnn")
    y, _ = lstm(twin.embed("decoder", twin.trg_input), (h, c))
    scores = torch.einsum("tnh,snh->tns", y, twin.outputs)
    past = torch.arange(len(twin.outputs))[None, :] >= torch.tensor(batch.src_lengths)[:, None]
    alignment = torch.softmax(scores.masked_fill(past[None], -torch.inf), 2)
    context = torch.einsum("tns,snh->tnh", alignment, twin.outputs)
    twin.compare(torch.tanh(twin.linear("decoder.combine", torch.cat([context, y], 2))))


def test_outputs_of_another_size_are_refused(tiny_model) -> None:
    with pytest.raises(UserError, match=re.escape("outputs of hidden_size = 6; the encoder leaves outputs of 12")):
        tiny_model(encoder="bilstm", decoder="dot-attention")
