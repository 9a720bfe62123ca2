"""Layers, activations and functional forms: values by hand and, with gradients, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn

RNG = np.random.default_rng(0)
X = RNG.normal(0, 2, (3, 4))


ACTIVATIONS = [
    lambda lib, x: lib.nn.ReLU()(x),
    lambda lib, x: lib.nn.ReLU(inplace=False)(x - 1),
    lambda lib, x: lib.nn.LeakyReLU(0.2)(x),
    lambda lib, x: lib.nn.Sigmoid()(x * 20),
    lambda lib, x: lib.nn.Tanh()(x),
    lambda lib, x: lib.nn.Softmax(dim=0)(x),
    lambda lib, x: lib.nn.LogSoftmax(dim=-1)(x * 100),
    lambda lib, x: lib.nn.Identity()(x),
    lambda lib, x: lib.nn.Flatten(0)(x),
    lambda lib, x: lib.nn.Flatten()(x.view(3, 2, 2)),
    lambda lib, x: lib.nn.Dropout(0.0)(x),
    lambda lib, x: lib.nn.Dropout(0.7).eval()(x),
    lambda lib, x: lib.F.relu(x * 1, inplace=True),
    lambda lib, x: lib.F.elu(x, 0.5),
    lambda lib, x: lib.F.softplus(x * 30),
    lambda lib, x: lib.F.softplus(x, 2.0, 3.0),
    lambda lib, x: lib.F.normalize(x),
    lambda lib, x: lib.F.normalize(x, p=1, dim=0),
    lambda lib, x: lib.F.normalize(x * 0),
    lambda lib, x: lib.F.cosine_similarity(x, x.flip(0) * 2 + 1, dim=-1),
    lambda lib, x: lib.F.softmax(x, dim=1, dtype=lib.torch.float64),
    lambda lib, x: lib.F.log_softmax(x, dim=0, dtype=lib.torch.float64),
    lambda lib, x: lib.F.pad(x, (1, 2)),
    lambda lib, x: lib.F.pad(x.view(3, 2, 2), (1, 0, 0, 2), value=1.5),
]


@pytest.mark.parametrize("run", ACTIVATIONS)
def test_activations_equal_torch(twins: Any, dtype: str, run: Any) -> None:
    twins.check(lambda lib, _, x: run(lib, x), {"x": X}, dtype)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4)])
def test_linear_equals_torch(twins: Any, dtype: str, bias: bool, shape: tuple) -> None:
    def run(lib: Any, module: Any, x: Any) -> Any:
        return module(x)

    twins.check(run, {"x": RNG.normal(size=shape)}, dtype, lambda lib: lib.nn.Linear(4, 5, bias=bias))


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_embedding_equals_torch(twins: Any, dtype: str, padding_idx: int | None, shape: tuple) -> None:
    def run(lib: Any, module: Any, ids: Any) -> list[Any]:
        return [module(ids), lib.F.embedding(ids, module.weight, padding_idx)]

    ids = np.resize([2, 4, 1, 2], shape)
    twins.check(run, {"ids": ids}, dtype, lambda lib: lib.nn.Embedding(5, 3, padding_idx=padding_idx))


def test_linear_by_hand() -> None:
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": mg.tensor([[2.0, 3.0]]), "bias": mg.tensor([1.0])})
    x = mg.tensor([[1.0, 1.0], [0.0, 2.0]], requires_grad=True)
    y = layer(x)
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), [[6.0], [7.0]])
    np.testing.assert_array_equal(layer.weight.grad.numpy(), [[1.0, 3.0]])
    np.testing.assert_array_equal(layer.bias.grad.numpy(), [2.0])
    np.testing.assert_array_equal(x.grad.numpy(), [[2.0, 3.0], [2.0, 3.0]])


def test_initial_values() -> None:
    layer = nn.Linear(25, 400)
    for param in layer.parameters():
        assert 0.19 < np.abs(param.array).max() <= 0.2
    table = nn.Embedding(500, 40, padding_idx=3)
    assert not table.weight.array[3].any()
    assert table.weight.array.std() == pytest.approx(1, abs=0.02)
    assert nn.Linear(0, 2).bias.array.tolist() == [0, 0]


def test_embedding_by_hand() -> None:
    table = nn.Embedding.from_pretrained(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), freeze=False, padding_idx=0)
    y = table(mg.tensor([[1, 0], [1, 1]]))
    np.testing.assert_array_equal(y[:, 0].detach().numpy(), [[3.0, 4.0], [3.0, 4.0]])
    y.sum().backward()
    np.testing.assert_array_equal(table.weight.grad.numpy(), [[0.0, 0.0], [3.0, 3.0]])
    frozen = nn.Embedding.from_pretrained(mg.ones(2, 2))
    assert not frozen.weight.requires_grad
    assert repr(frozen) == "Embedding(2, 2)"


def test_dropout_scales_what_it_keeps_and_differs_per_call() -> None:
    mg.manual_seed(1)
    layer, x = nn.Dropout(0.25), mg.ones(4000, requires_grad=True)
    first, second = layer(x), layer(x)
    kept = first.detach().numpy() != 0
    assert 0.72 < kept.mean() < 0.78
    np.testing.assert_allclose(first.detach().numpy()[kept], 1 / 0.75, rtol=1e-6)
    assert (kept != (second.detach().numpy() != 0)).any()
    first.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), first.detach().numpy())
    assert not nn.Dropout(1.0)(x).detach().numpy().any()
    assert F.dropout(x, 0.5, training=False) is x


def test_one_hot() -> None:
    ids = mg.tensor([[0, 2], [1, 1]])
    assert F.one_hot(ids).tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]]
    assert F.one_hot(mg.tensor([0]), 4).tolist() == [[1, 0, 0, 0]]
    with pytest.raises(RuntimeError, match="expected ids below num_classes = 2"):
        F.one_hot(ids, 2)
    with pytest.raises(RuntimeError, match="ids of 0 or more"):
        F.one_hot(mg.tensor([-1]))


def test_softmax_without_dim_warns_and_guesses() -> None:
    with pytest.warns(UserWarning, match="implicit dimension"):
        y = F.softmax(mg.zeros(2, 4))
    np.testing.assert_allclose(y.numpy(), np.full((2, 4), 0.25))


def test_pad_by_hand() -> None:
    x = mg.tensor([[1.0, 2.0]], requires_grad=True)
    y = F.pad(x, [1, 0, 0, 1], value=9)
    np.testing.assert_array_equal(y.detach().numpy(), [[9, 1, 2], [9, 9, 9]])
    (y * mg.arange(6).view(2, 3)).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1.0, 2.0]])


def test_refusals() -> None:
    with pytest.raises(ValueError, match="Dropout: p is 2; expected a probability"):
        nn.Dropout(2)
    with pytest.raises(ValueError, match="padding_idx is 5; expected a row of the 3"):
        nn.Embedding(3, 4, padding_idx=5)
    with pytest.raises(NotImplementedError, match=r"Embedding: max_norm=1\.0 is not supported"):
        nn.Embedding(3, 4, max_norm=1.0)
    with pytest.raises(NotImplementedError, match="mode='reflect'"):
        F.pad(mg.zeros(1), (1, 1), mode="reflect")
    with pytest.raises(ValueError, match="pad is"):
        F.pad(mg.zeros(1), (1, -1))
    with pytest.raises(IndexError, match="3"):
        nn.Embedding(3, 4)(mg.tensor([3]))
