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
    lambda lib, x: lib.nn.GELU()(x),
    lambda lib, x: lib.nn.GELU("tanh")(x * 3),
    lambda lib, x: lib.F.gelu(x - 2, approximate="none"),
    lambda lib, x: lib.F.softplus(x * 30),
    lambda lib, x: lib.F.softplus(x, 2.0, 3.0),
    lambda lib, x: lib.F.normalize(x),
    lambda lib, x: lib.F.normalize(x, p=1, dim=0),
    lambda lib, x: lib.F.normalize(x * 0),
    lambda lib, x: lib.F.cosine_similarity(x, x.flip(0) * 2 + 1, dim=-1),
    lambda lib, x: lib.F.softmax(x, dim=1, dtype=lib.torch.float64),
    lambda lib, x: lib.F.log_softmax(x, dim=0, dtype=lib.torch.float64),
    lambda lib, x: lib.F.layer_norm(x, (4,)),
    lambda lib, x: lib.F.layer_norm(x, [3, 4], eps=0.1),
    lambda lib, x: lib.F.layer_norm(x * 0 + 3, (4,), x[0], x[1]),
    lambda lib, x: lib.F.pad(x, (1, 2)),
    lambda lib, x: lib.F.pad(x.view(3, 2, 2), (1, 0, 0, 2), value=1.5),
    lambda lib, x: lib.F.pad(x, (-1, 2), value=1.5),
    lambda lib, x: lib.F.pad(x.view(3, 2, 2), (1, -2, -1, -1, -1, 0)),
    lambda lib, x: lib.F.pad(x, (2, -3)),
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


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 0.3}])
@pytest.mark.parametrize("sizes", [4, (4,), [3, 4]])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (0, 3, 4)])
def test_layer_norm_equals_torch(twins: Any, dtype: str, shape: tuple, sizes: Any, options: dict) -> None:
    def run(lib: Any, module: Any, x: Any) -> Any:
        return module(x)

    twins.check(run, {"x": RNG.normal(1, 2, shape)}, dtype, lambda lib: lib.nn.LayerNorm(sizes, **options))


def test_layer_norm_starts_as_in_torch() -> None:
    layer = nn.LayerNorm((2, 3))
    assert {name: value.tolist() for name, value in layer.state_dict().items()} == {
        "weight": [[1.0] * 3] * 2,
        "bias": [[0.0] * 3] * 2,
    }
    assert repr(layer) == "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=True)"
    assert [name for name, _ in nn.LayerNorm(3, bias=False).named_parameters()] == ["weight"]
    assert not list(nn.LayerNorm(3, elementwise_affine=False).parameters())
    with pytest.raises(ValueError, match="LayerNorm: normalized_shape is -1; expected zero or more"):
        nn.LayerNorm((3, -1))


def test_masked_softmax_is_a_softmax_of_what_is_there(twins: Any, dtype: str) -> None:
    x, lengths = RNG.normal(0, 2, (3, 2, 4)), np.array([4, 1, 2])
    dead = np.arange(4) >= lengths[:, None, None]

    def run(lib: Any, _: Any, x: Any) -> Any:
        if hasattr(lib.F, "masked_softmax"):
            return lib.F.masked_softmax(x, lib.torch.tensor(lengths))
        return lib.torch.softmax(x.masked_fill(lib.torch.tensor(dead), -np.inf), -1)

    twins.check(run, {"x": x}, dtype)


def test_padding_changes_no_bit_of_an_attention() -> None:
    """Scores, weights and context of sentences that a longer one beside them pads further."""
    lengths = [3, 5, 0]
    memory, query = mg.tensor(RNG.normal(size=(3, 5, 8)).astype(np.float32)), mg.tensor(RNG.normal(size=(3, 2, 8)))
    query = query.float()
    longer = F.pad(memory, (0, 0, 0, 7), value=2.5)
    results = []
    for values in (memory, longer):
        leaf = values.detach().requires_grad_()
        context = F.masked_softmax(query @ leaf.transpose(1, 2), lengths) @ leaf
        context.sum().backward()
        results.append((context.detach().numpy(), leaf.grad.numpy()))
    (context, grad), (same, padded) = results
    assert context.tobytes() == same.tobytes()
    np.testing.assert_array_equal(grad, padded[:, :5])
    assert not padded[:, 5:].any()
    assert not context[2].any()


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
    with pytest.raises(ValueError, match=r"pad is \(1, -3\) for shape \(1,\); expected sizes that leave 0 or more"):
        F.pad(mg.zeros(1), (1, -3))
    with pytest.raises(IndexError, match="3"):
        nn.Embedding(3, 4)(mg.tensor([3]))
