"""Clipping and update in one: the bits of clip_grad_norm_ and step, gradients as they were, nothing on a bad norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.05}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
]


class Net(nn.Module):
    """A table, a matrix and a bias."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        mg.manual_seed(3)
        self.embedding = nn.Embedding(6, 5, sparse=sparse)
        self.linear = nn.Linear(5, 3)

    def forward(self, ids: mg.Tensor) -> mg.Tensor:
        return self.linear(self.embedding(ids)) ** 2


def backward(net: Net, number: int, factor: float = 1.0) -> None:
    net.zero_grad()
    (net(mg.tensor([number % 6, 0])).sum() * factor).backward()


def content(net: Net, optimizer: Any) -> list[np.ndarray]:
    slots = [slot.array for param in net.parameters() for slot in optimizer.state[param].values()]
    return [array.copy() for array in (*(param.array for param in net.parameters()), *slots)]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for array, twin in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, twin)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("max_norm", [0.3, 1e9])
def test_it_is_clip_and_step(option: Any, sparse: bool, max_norm: float) -> None:
    one, two = Net(sparse), Net(sparse)
    together, apart = (getattr(optim, option[0])(net.parameters(), **option[1]) for net in (one, two))
    for number in range(6):
        for net in (one, two):
            backward(net, number)
        before = [param.grad.array.copy() for param in one.parameters()]
        norm = together.step_clipped(max_norm)
        expected = nn.utils.clip_grad_norm_(two.parameters(), max_norm)
        apart.step()
        assert_equal([param.grad.array for param in one.parameters()], before)
        assert (norm.dtype, norm.item()) == (expected.dtype, expected.item())
        assert_equal(content(one, together), content(two, apart))
    assert norm.item() > 0.3


def test_the_comparison_sees_a_missing_factor() -> None:
    """Plain ``step`` in the place of ``step_clipped`` is told from it."""
    one, two = Net(True), Net(True)
    optimizers = [optim.SGD(net.parameters(), lr=0.1) for net in (one, two)]
    for net in (one, two):
        backward(net, 1)
    optimizers[0].step_clipped(0.3)
    optimizers[1].step()
    with pytest.raises(AssertionError):
        assert_equal(content(one, optimizers[0]), content(two, optimizers[1]))


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e38])
def test_a_norm_that_is_not_finite_updates_nothing(factor: float, sparse: bool) -> None:
    """1e38: the gradients are finite and so is their norm in float64, but not in float32, the dtype of the result."""
    net = Net(sparse)
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    backward(net, 1)
    optimizer.step_clipped(1.0)
    before = content(net, optimizer)
    with np.errstate(all="ignore"):
        backward(net, 2, factor)
        if factor == 1e38:
            for param in net.parameters():
                param.grad = mg.tensor(np.full(param.shape, 2e38, np.float32))
        norm = optimizer.step_clipped(1.0)
    assert not np.isfinite(norm.item())
    assert_equal(content(net, optimizer), before)


def test_without_gradients() -> None:
    net = Net(True)
    assert optim.Adam(net.parameters()).step_clipped(1.0).item() == 0
