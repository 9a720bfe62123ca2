"""The bidirectional encoder and its bridge against the same model in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import Tensor
from minigrad.nn.utils.rnn import pack_padded_sequence

torch = pytest.importorskip("torch")
from tests.seq2seq.torch_twin import TorchTwin  # noqa: E402  (which needs it)


def bridged(twin, states, name: str):
    """(L*2, N, H) -> (L, N, H), layer by layer."""
    layers = [torch.cat([states[2 * layer], states[2 * layer + 1]], 1) for layer in range(len(states) // 2)]
    return torch.stack([torch.tanh(twin.linear(f"encoder.{name}", layer)) for layer in layers])


def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch) -> None:
    twin = TorchTwin(tiny_model(encoder="bilstm", precision="fp64"), draw_batch(1))
    h, c = twin.encode(bidirectional=True)
    lstm = twin.recurrent(torch.nn.LSTM, "decoder.rnn")
    y, _ = lstm(twin.embed("decoder", twin.trg_input), (bridged(twin, h, "bridges.0"), bridged(twin, c, "bridges.1")))
    twin.compare(y)


def test_the_bridge_hears_both_ends(tiny_model, draw_batch) -> None:
    """A change of the first token and one of the last both reach the state; padding does not."""
    model = tiny_model(encoder="bilstm").eval()
    batch = draw_batch(3, ((5, 3), (2, 3)))

    def states(src: np.ndarray) -> np.ndarray:
        packed = pack_padded_sequence(Tensor(src), batch.src_lengths, enforce_sorted=False)
        return model.encoder(packed).states[0].array.copy()

    before = states(batch.src)
    for position, changes in ((0, True), (batch.src_lengths[1] - 1, True), (batch.src_lengths[1], False)):
        src = batch.src.copy()
        src[position, 1] = 9 if src[position, 1] != 9 else 8
        assert (states(src)[:, 1] != before[:, 1]).any() == changes
        np.testing.assert_array_equal(states(src)[:, 0], before[:, 0])
