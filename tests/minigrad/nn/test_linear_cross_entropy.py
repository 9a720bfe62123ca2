"""``F.linear_cross_entropy`` and ``F.linear_argmax`` on the tape, against the layer and the loss apart."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import kernels
import minigrad as mg
from minigrad import nn, ops
from minigrad.autocast import autocast
from minigrad.nn import functional as F
from minigrad.tensor import Tensor

SHAPES = {"x": (4, 5, 6), "weight": (9, 6), "bias": (9,)}
TARGETS = np.where(np.arange(20) % 3 == 1, -100, np.arange(20) % 9).reshape(4, 5)


def leaves(dtype: type = np.float64) -> dict[str, Tensor]:
    rng = np.random.default_rng(3)
    return {name: Tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for name, s in SHAPES.items()}


def apart(x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, **options: object) -> Tensor:
    logits = F.linear(x, weight, bias)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1), **options)


def gradients(tensors: dict[str, Tensor]) -> list[np.ndarray]:
    return [tensor.grad.array for tensor in tensors.values()]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_value_and_gradients_are_those_of_layer_and_loss_apart(reduction: str, label_smoothing: float) -> None:
    results = []
    for function in (F.linear_cross_entropy, apart):
        tensors = leaves()
        loss = function(
            *tensors.values(), mg.tensor(TARGETS), reduction=reduction, label_smoothing=label_smoothing
        )  # fmt: skip
        (loss * 0.3).backward()
        results.append([loss.array, *gradients(tensors)])
    for fused, expected in zip(*results, strict=True):
        np.testing.assert_allclose(fused, expected, rtol=1e-12, atol=1e-13)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(results[0][2], 1.001 * results[1][2], rtol=1e-12, atol=1e-13)


def test_other_targets_are_ignored_and_there_may_be_no_bias() -> None:
    x, weight, _ = leaves().values()
    target = mg.tensor(np.where(TARGETS == -100, 4, TARGETS))
    fused, expected = (f(x, weight, None, target, ignore_index=4).item() for f in (F.linear_cross_entropy, apart))
    assert fused == pytest.approx(expected, rel=1e-13)


def test_the_mean_of_nothing_is_nan() -> None:
    tensors = leaves()
    loss = F.linear_cross_entropy(*tensors.values(), mg.full((4, 5), -100, dtype=mg.int64))
    assert math.isnan(loss.item())


def test_a_second_backward_through_a_kept_graph_adds_the_same() -> None:
    tensors = leaves()
    loss = F.linear_cross_entropy(*tensors.values(), mg.tensor(TARGETS))
    loss.backward(retain_graph=True)
    first = [gradient.copy() for gradient in gradients(tensors)]
    loss.backward()
    for total, once in zip(gradients(tensors), first, strict=True):
        np.testing.assert_array_equal(total, 2 * once)


@pytest.mark.parametrize("frozen", ["x", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(frozen: str) -> None:
    tensors, expected = leaves(), leaves()
    tensors[frozen].requires_grad_(False)
    for each in (tensors, expected):
        F.linear_cross_entropy(*each.values(), mg.tensor(TARGETS)).backward()
    for name, tensor in tensors.items():
        if name == frozen:
            assert tensor.grad is None
        else:
            np.testing.assert_array_equal(tensor.grad.array, expected[name].grad.array)


def test_gradients_are_computed_only_where_they_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    needed: list[bool] = []
    forward = kernels.linear_cross_entropy_forward

    def spy(*args: object, need_gradients: bool, **options: object) -> object:
        needed.append(need_gradients)
        return forward(*args, need_gradients=need_gradients, **options)

    monkeypatch.setattr(kernels, "linear_cross_entropy_forward", spy)
    tensors = leaves()
    F.linear_cross_entropy(*tensors.values(), mg.tensor(TARGETS))
    with mg.no_grad():
        F.linear_cross_entropy(*tensors.values(), mg.tensor(TARGETS))
    assert needed == [True, False]


def test_a_weight_changed_before_backward_is_noticed() -> None:
    x, weight, bias = leaves().values()
    loss = F.linear_cross_entropy(x, weight, bias, mg.tensor(TARGETS))
    with mg.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_targets_may_change_before_backward() -> None:
    results = []
    for later in (0, 1):
        tensors, target = leaves(), mg.tensor(TARGETS)
        loss = F.linear_cross_entropy(*tensors.values(), target)
        target[:] = mg.tensor(np.roll(TARGETS, later))
        loss.backward()
        results.append(gradients(tensors))
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_autocast_rounds_the_products_of_forward_and_backward() -> None:
    """Those of the backward as well when it is called outside."""
    tensors, plain = leaves(np.float32), leaves(np.float32)
    with autocast("cpu", dtype=mg.bfloat16):
        loss = F.linear_cross_entropy(*tensors.values(), mg.tensor(TARGETS), reduction="sum")
    loss.backward()
    F.linear_cross_entropy(*plain.values(), mg.tensor(TARGETS), reduction="sum").backward()
    x, weight, bias = (tensor.array for tensor in tensors.values())
    expected, cache = kernels.linear_cross_entropy_forward(
        x.reshape(-1, 6), weight, bias, TARGETS.reshape(-1), bf16=True
    )
    dx, dweight, dbias = kernels.linear_cross_entropy_backward(np.ones((), np.float32), cache)
    assert loss.dtype == np.float32
    assert loss.item() == expected
    for found, value in zip(gradients(tensors), (dx.reshape(x.shape), dweight, dbias), strict=True):
        np.testing.assert_array_equal(found, value)
    assert all(np.abs(a - b).max() > 1e-5 for a, b in zip(gradients(tensors), gradients(plain), strict=True))


@pytest.mark.parametrize("rows", [1, 20])
def test_autocast_rounds_the_products_of_linear(rows: int) -> None:
    rng = np.random.default_rng(4)
    x, weight, dy = (rng.standard_normal(shape).astype(np.float32) for shape in ((rows, 6), (9, 6), (rows, 9)))
    layer = nn.Linear(6, 9)
    layer.weight = nn.Parameter(Tensor(weight))
    leaf = Tensor(x, requires_grad=True)
    with autocast("cpu", dtype=mg.bfloat16):
        y = layer(leaf)
    y.backward(Tensor(dy))
    np.testing.assert_array_equal(y.array, kernels.linear_forward(x, weight, layer.bias.array, bf16=True))
    dx, dweight, dbias = kernels.linear_backward(dy, x, weight, bf16=True)
    for found, value in zip((leaf.grad, layer.weight.grad, layer.bias.grad), (dx, dweight, dbias), strict=True):
        np.testing.assert_array_equal(found.array, value)
    assert np.abs(y.array - layer(leaf).array).max() > 1e-4


def test_linear_of_integers_is_exact() -> None:
    x, weight, bias = mg.tensor([[2**40 + 1, 3]]), mg.tensor([[1, 2], [3, 4]]), mg.tensor([5, 6])
    assert F.linear(x, weight, bias).tolist() == [[2**40 + 12, 3 * 2**40 + 21]]
    assert F.linear(x, weight).dtype == mg.int64


def test_argmax() -> None:
    x, weight, bias = leaves().values()
    expected = F.linear(x, weight, bias).array.argmax(axis=-1)
    np.testing.assert_array_equal(F.linear_argmax(x, weight, bias).array, expected)
    assert F.linear_argmax(x[0, 0], weight, bias).item() == expected[0, 0]
    without = F.linear_argmax(x, weight)
    np.testing.assert_array_equal(without.array, F.linear(x, weight).array.argmax(axis=-1))
    assert not without.requires_grad


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        (
            {"target": mg.zeros(5, dtype=mg.int64)},
            ValueError,
            "linear_cross_entropy: target has shape (5,); expected (4, 5) from input (4, 5, 6)",
        ),
        ({"target": mg.full((4, 5), 9, dtype=mg.int64)}, IndexError, "targets holds 9; expected 0..V-1 = 0..8"),
        ({"target": mg.zeros(4, 5)}, TypeError, "targets has dtype float32; expected an integer dtype"),
        ({"weight": mg.zeros(9, 5, dtype=mg.float64)}, ValueError, "weight has shape (9, 5); expected (V, H) = (9, 6)"),
        ({"weight": mg.zeros(9, 6)}, TypeError, "weight has dtype float32; expected float64 as x"),
        ({"reduction": "none"}, ValueError, "reduction is 'none'; expected 'sum' or 'mean'"),
        ({"label_smoothing": -1.0}, ValueError, "label_smoothing is -1.0; expected a value in [0.0, 1.0]"),
    ],
)
def test_refused_calls(changes: dict, error: type[Exception], text: str) -> None:
    x, weight, bias = leaves().values()
    arguments = {"input": x, "weight": weight, "bias": bias, "target": mg.tensor(TARGETS)} | changes
    with pytest.raises(error, match=re.escape(text)):
        F.linear_cross_entropy(**arguments)


def test_matmul_of_matrices_does_not_wake_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do its gradients, and neither do batches; integers are NumPy's."""
    calls: list[tuple[int, ...]] = []
    matmul = np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b: calls.append(a.shape) or matmul(a, b))
    a, b = (mg.randn(*shape).requires_grad_() for shape in ((3, 4), (5, 4)))
    (a @ b.T).sum().backward()
    F.linear(a, b).sum().backward()
    ops.bmm(mg.ones(2, 3, 4).requires_grad_(), mg.ones(2, 4, 5)).sum().backward()
    assert calls == []
    np.testing.assert_allclose(a.grad.array, np.tile(2 * b.array.sum(axis=0), (3, 1)), rtol=1e-5)
    ops.mm(mg.ones(3, 4, dtype=mg.int64), mg.ones(4, 5, dtype=mg.int64))
    assert calls == [(3, 4)]
