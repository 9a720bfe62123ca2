"""The GRU decoder with the context at every step against the same model in PyTorch."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seq2seq.gradcheck import check_model
from seq2seq.models.contract import Decoder
from seq2seq.run import config_file, folder
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError

torch = pytest.importorskip("torch")
from tests.seq2seq.models.torch_twin import ChoGRU, TorchTwin  # noqa: E402  (which needs it)

CELLS = {"auto": torch.nn.GRU, "gru": torch.nn.GRU, "cho-gru": ChoGRU}


@pytest.mark.parametrize("cell", CELLS)
def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch, cell: str) -> None:
    twin = TorchTwin(tiny_model(decoder="gru-context", cell=cell, precision="fp64"), draw_batch(1))
    h, _ = twin.encode()
    context = h[-1]
    embedded = twin.embed("decoder", twin.trg_input)
    contexts = context.expand(len(embedded), *context.shape)
    gru = twin.recurrent(CELLS[cell], "decoder.rnn")
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


def test_the_papers_form_is_under_the_contract(tiny_model, draw_batch, monkeypatch) -> None:
    """A sequence is the loop over its steps, also of own guesses; gradients are those of finite differences."""
    settings = {"encoder": "cho-gru", "decoder": "gru-context", "cell": "cho-gru"}
    model, batch = tiny_model(precision="fp64", **settings), draw_batch(3)
    steps = np.arange(len(batch.trg_input))
    choices = steps < 0, steps % 3 == 2
    whole = [model.loss(batch, own=own).item() for own in choices]
    monkeypatch.setattr(type(model.decoder), "sequence", Decoder.sequence)
    np.testing.assert_allclose([model.loss(batch, own=own).item() for own in choices], whole, rtol=1e-12)
    report = check_model(Config(embedding_size=5, hidden_size=6, **settings), num_directions=4)
    assert report, str(report)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_another_cell_is_refused(tiny_model, cell: str) -> None:
    with pytest.raises(UserError, match=f"cell is '{cell}'; expected gru, cho-gru"):
        tiny_model(decoder="gru-context", cell=cell)


def test_a_run_of_before_the_cells_goes_on(train, run, history) -> None:
    """Its config.json has no cell; it had PyTorch's."""
    settings = {"encoder": "gru", "decoder": "gru-context", "embedding_size": 8, "hidden_size": 12}
    whole, parts = (train(name, "--max-steps", most, settings=settings) for name, most in (("whole", 5), ("parts", 3)))
    path = parts / "config.json"
    stored = json.loads(path.read_text())
    del stored["cell"]
    path.write_text(json.dumps(stored))
    folder.accept_changes(parts)
    assert config_file.load(parts).cell == "auto"
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 5).code == 0
    steps = [[record for record in history(found) if "loss" in record] for found in (whole, parts)]
    assert len(steps[0]) == 5
    assert steps[0] == steps[1]
