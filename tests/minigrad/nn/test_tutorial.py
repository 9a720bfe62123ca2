"""Tutorial code written for PyTorch runs after changing its imports, with the same losses and gradients."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

SOURCE = Path(__file__).with_name("tutorial.py").read_text()
IMPORTS = {
    "import torch\n": "import minigrad as torch\n",
    "import torch.nn.functional as F\n": "import minigrad.nn.functional as F\n",
    "from torch import nn, optim\n": "from minigrad import nn, optim\n",
}
RNG = np.random.default_rng(3)
SRC = RNG.integers(3, 11, (5, 4))
TRG = RNG.integers(3, 13, (6, 4))
SRC_LENGTHS = [5, 3, 4, 2]
for column, (src_length, trg_length) in enumerate(zip(SRC_LENGTHS, [6, 4, 3, 5], strict=True)):
    SRC[src_length:, column] = 1
    TRG[trg_length:, column] = 1


def load(source: str) -> SimpleNamespace:
    names: dict[str, Any] = {"__name__": "tutorial"}
    exec(compile(source, "tutorial.py", "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def ours() -> SimpleNamespace:
    source = SOURCE
    for theirs, mine in IMPORTS.items():
        assert source.count(theirs) == 1
        source = source.replace(theirs, mine)
    return load(source)


@pytest.fixture(scope="module")
def theirs() -> SimpleNamespace:
    pytest.importorskip("torch")
    return load(SOURCE)


def share_weights(mine: Any, other: Any, torch: Any) -> None:
    """Their weights to our model, by state dict."""
    mine.load_state_dict({name: value.numpy() for name, value in other.state_dict().items()})
    back = {name: torch.tensor(value.numpy()) for name, value in mine.state_dict().items()}
    assert str(other.load_state_dict(back)) == "<All keys matched successfully>"


def assert_gradients_equal(mine: Any, other: Any, rtol: float) -> None:
    named = dict(other.named_parameters())
    for name, param in mine.named_parameters():
        expected = named.pop(name).grad.numpy()
        scale = np.abs(expected).max()
        assert scale > 0, name
        np.testing.assert_allclose(param.grad.numpy(), expected, rtol=rtol, atol=rtol * scale, err_msg=name)
    assert not named


def pair(ours: Any, theirs: Any, build: Any, dtype: str) -> tuple[Any, Any]:
    """The same model in both, with the same weights, in evaluation mode so that dropout is off."""
    theirs.torch.manual_seed(0)
    mine, other = build(ours), build(theirs)
    share_weights(mine, other, theirs.torch)
    assert repr(mine) == repr(other)
    return mine.to(getattr(ours.torch, dtype)).eval(), other.to(getattr(theirs.torch, dtype)).eval()


def tolerance(dtype: str) -> float:
    return {"float32": 1e-5, "float64": 1e-10}[dtype]


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_encoder_decoder(ours: Any, theirs: Any, dtype: str, ratio: float) -> None:
    models = pair(ours, theirs, lambda lib: lib.build_seq2seq(11, 13, 5, 7), dtype)
    losses = []
    for lib, model in zip((ours, theirs), models, strict=True):
        random.seed(5)
        output = model(lib.torch.tensor(SRC), lib.torch.tensor(TRG), ratio)
        loss = lib.nn.CrossEntropyLoss(ignore_index=1)(output[1:].view(-1, 13), lib.torch.tensor(TRG)[1:].view(-1))
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    # outputs is float32 in both, so gradients that went through it have its precision
    assert_gradients_equal(*models, tolerance("float32"))


def test_encoder_decoder_training(ours: Any, theirs: Any) -> None:
    models = pair(ours, theirs, lambda lib: lib.build_seq2seq(11, 13, 5, 7), "float32")
    losses: list[list[float]] = []
    for lib, model in zip((ours, theirs), models, strict=True):
        random.seed(6)
        src, trg = lib.torch.tensor(SRC), lib.torch.tensor(TRG)
        criterion, optimizer = lib.nn.CrossEntropyLoss(ignore_index=1), lib.optim.Adam(model.parameters(), lr=0.01)
        steps = [lib.train_step(model, optimizer, criterion, src, trg, 0.1) for _ in range(20)]
        losses.append([*steps, lib.evaluate(model, criterion, src, trg)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0] - 0.1


@pytest.mark.parametrize("forced", [True, False])
def test_gru_translator(ours: Any, theirs: Any, dtype: str, forced: bool) -> None:
    models = pair(ours, theirs, lambda lib: lib.EncoderDecoder(13, 8, 6), dtype)
    losses = []
    for lib, model in zip((ours, theirs), models, strict=True):
        src, trg = lib.torch.tensor(SRC.T.copy()), lib.torch.tensor(TRG.T.copy())
        output = model(src, trg if forced else None)
        loss = lib.nn.NLLLoss()(output.view(-1, output.size(-1)), trg.view(-1))
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=tolerance(dtype))
    assert_gradients_equal(*models, tolerance(dtype))


def test_attentive_translator(ours: Any, theirs: Any) -> None:
    models = pair(ours, theirs, lambda lib: lib.AttentiveTranslator(13, 5, 6, 7), "float64")
    losses = []
    for lib, model in zip((ours, theirs), models, strict=True):
        output = model(lib.torch.tensor(SRC), lib.torch.tensor(SRC_LENGTHS), lib.torch.tensor(TRG))
        loss = lib.F.cross_entropy(output[1:].view(-1, 13), lib.torch.tensor(TRG)[1:].view(-1), ignore_index=1)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert_gradients_equal(*models, 1e-6)  # as above; float64 weights keep the cancelling gradients of attention exact
    assert not models[0].embedding.weight.grad[1].any()


def test_autoencoder(ours: Any, theirs: Any) -> None:
    images = RNG.uniform(0, 1, (16, 28, 28)).astype(np.float32)
    models = pair(ours, theirs, lambda lib: lib.Autoencoder(), "float32")
    losses = [
        lib.train_autoencoder(model, lib.torch.tensor(images), 20)
        for lib, model in zip((ours, theirs), models, strict=True)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


def test_autoencoder_gradients(ours: Any, theirs: Any, dtype: str) -> None:
    images = RNG.uniform(0, 1, (3, 784)).astype(dtype)
    models = pair(ours, theirs, lambda lib: lib.Autoencoder(), dtype)
    for lib, model in zip((ours, theirs), models, strict=True):
        lib.nn.MSELoss()(model(lib.torch.tensor(images)), lib.torch.tensor(images)).backward()
    assert_gradients_equal(*models, tolerance(dtype))


def test_it_learns_without_pytorch(ours: Any) -> None:
    random.seed(0)
    ours.torch.manual_seed(0)
    model = ours.build_seq2seq(11, 13, 16, 32, dropout=0.1)
    optimizer, criterion = ours.optim.Adam(model.parameters(), lr=0.02), ours.nn.CrossEntropyLoss(ignore_index=1)
    src, trg = ours.torch.tensor(SRC), ours.torch.tensor(TRG)
    losses = [ours.train_step(model, optimizer, criterion, src, trg, 1.0) for _ in range(60)]
    assert losses[0] == pytest.approx(np.log(13), abs=0.05)
    assert losses[-1] < 0.5
    assert all(np.abs(param.grad.numpy()).max() > 0 for param in model.parameters())


def test_the_tutorials_parameter_count(ours: Any) -> None:
    model = ours.build_seq2seq(7854, 5893, 256, 512)
    assert ours.count_parameters(model) == 13_898_757
    weights = np.concatenate([param.array.ravel() for param in model.parameters()])
    assert np.abs(weights).max() <= 0.08
    assert weights.std() == pytest.approx(0.16 / np.sqrt(12), rel=1e-3)


def test_init_normal(ours: Any) -> None:
    model = ours.AttentiveTranslator(13, 5, 6, 7)
    model.apply(ours.init_normal)
    assert not model.fc.bias.detach().numpy().any()
    assert 0 < np.abs(model.fc.weight.detach().numpy()).max() < 0.06
