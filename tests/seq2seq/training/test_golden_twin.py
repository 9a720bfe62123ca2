"""The twin in PyTorch: same weights, same batches, dropout off; gradients and losses agree to 1e-5.

The vectors are stored in tests/golden, so the comparison runs where PyTorch is not installed; where it is, they are
computed anew as well.
"""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pytest

from minigrad import nn, optim, tensor
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run.config import Config
from seq2seq.sources import Batch

FOLDER = Path(__file__).parents[2] / "golden"
TOLERANCE = 1e-5
SETTINGS = dataclasses.replace(Config(), embedding_size=12, hidden_size=16, num_layers=2, dropout=0.0)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "golden_twin.npz", allow_pickle=False) as stored:
        return dict(stored)


def under(golden: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """The vectors called "KIND NAME", by NAME."""
    return {name.removeprefix(f"{kind} "): array for name, array in golden.items() if name.startswith(f"{kind} ")}


def twin(golden: dict[str, np.ndarray]) -> Seq2Seq:
    weights = under(golden, "weight")
    sizes = [len(weights[f"{side}.embedding.weight"]) for side in ("encoder", "decoder")]
    model = build_model(*sizes, SETTINGS).train()
    model.load_state_dict({name: tensor(array) for name, array in weights.items()})
    return model


def batch(golden: dict[str, np.ndarray], number: int) -> Batch:
    arrays = under(golden, f"batch {number}")
    return Batch(**arrays, indices=np.arange(len(arrays["src_lengths"])))


def assert_close(name: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Equal up to ``tolerance`` of the largest entry."""
    assert ours.shape == theirs.shape, name
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max(), err_msg=name)


def test_gradients_at_step_0(golden) -> None:
    model, first = twin(golden), batch(golden, 0)
    (model.loss(first) / first.num_trg_tokens).backward()
    theirs = under(golden, "gradient")
    ours = {name: parameter.grad.array for name, parameter in model.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert np.abs(theirs[name]).max() > 1e-3, f"{name}: the vector says nothing"
        assert_close(name, ours[name], theirs[name])


def test_twenty_losses_of_adam_with_clipping(golden) -> None:
    model = twin(golden)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    losses, norms = [], []
    for step in range(len(golden["losses"])):
        now = batch(golden, step % 4)
        loss = model.loss(now) / now.num_trg_tokens
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        losses.append(loss.item())
    assert len(losses) == 20
    assert losses[-4] < losses[0] - 0.3
    assert max(norms) > 1 > min(norms)
    np.testing.assert_allclose(losses, golden["losses"], rtol=TOLERANCE)
    np.testing.assert_allclose(norms, golden["norms"], rtol=TOLERANCE)


def test_pytorch_reproduces_the_stored_vectors(golden) -> None:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        computed = runpy.run_path(str(FOLDER / "make_golden.py"))["compute"]()
    finally:
        torch.set_num_threads(threads)
    assert computed.keys() == golden.keys()
    for name, array in computed.items():
        assert array.dtype == golden[name].dtype, name
        assert_close(name, golden[name], array, 0 if name.startswith(("weight", "batch")) else 1e-5)


def test_the_stored_file_is_small() -> None:
    assert (FOLDER / "golden_twin.npz").stat().st_size < 300_000


@pytest.mark.parametrize(("src_vocab", "expected"), [(7854, 13_898_757), (7853, 13_898_501)])
def test_the_full_model_has_the_parameters_of_the_tutorials(src_vocab, expected) -> None:
    model = build_model(src_vocab, 5893, Config())
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
