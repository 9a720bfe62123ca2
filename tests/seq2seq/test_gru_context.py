"""The GRU decoder with the context at every step against the same model in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tests.seq2seq.torch_twin import TorchTwin  # noqa: E402  (which needs it)


def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch) -> None:
    twin = TorchTwin(tiny_model(decoder="gru-context", precision="fp64"), draw_batch(1))
    h, _ = twin.encode()
    context = h[-1]
    embedded = twin.embed("decoder", twin.trg_input)
    contexts = context.expand(len(embedded), *context.shape)
    gru = twin.recurrent(torch.nn.GRU, "decoder.rnn")
    y, _ = gru(torch.cat([embedded, contexts], 2), h)
    twin.compare(torch.cat([embedded, y, contexts], 2))


def test_the_context_is_read_at_every_step(tiny_model, draw_batch) -> None:
    """Without it in the state: a decoder whose weights from the state are 0 still tells sources apart."""
    model = tiny_model(decoder="gru-context").eval()
    state = model.state_dict()
    for name in ("decoder.rnn.weight_hh_l0", "decoder.rnn.weight_hh_l1", "decoder.rnn.weight_ih_l1"):
        state[name].array[...] = 0
    batch = draw_batch(2, ((4, 5), (3, 5)))
    batch.trg_input[:, 1] = batch.trg_input[:, 0]
    batch.trg_output[:, 1] = batch.trg_output[:, 0]
    losses = [model.loss(batch).item()]
    batch.src[:, 1], batch.src_lengths[1] = batch.src[:, 0], batch.src_lengths[0]
    assert abs(model.loss(batch).item() - losses[0]) > 1e-3
    assert np.isfinite(losses[0])
