"""A large table on a GPU: its gradient is by rows, and the optimiser does no more than with a dense one, to the bit."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

pytestmark = pytest.mark.usefixtures("cuda")

V, E = 9, 5
BATCHES = [[1, 3, 3], [0, 8, 1, 1], [3], [5, 5, 5, 2], [1, 8]]
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3}),
    ("SGD", {"lr": 0.1}),
    ("RMSprop", {"momentum": 0.5}),
]


class Run:
    def __init__(self, device: str, option: tuple[str, dict[str, Any]]) -> None:
        values = np.random.default_rng(0).standard_normal((V, E)).astype(np.float32)
        self.layer = nn.Embedding(V, E, sparse=True)
        with mg.no_grad():
            self.layer.weight.copy_(mg.tensor(values))
        self.layer.to(device)
        self.device = device
        self.optimizer = getattr(optim, option[0])(self.layer.parameters(), **option[1])

    def step(self, number: int, clip: float = 0.5, factor: float = 1.0) -> float:
        embedded = self.layer(mg.tensor(np.array(BATCHES[number % len(BATCHES)])).to(self.device))
        pull = np.random.default_rng(number).standard_normal(embedded.shape).astype(np.float32)
        self.optimizer.zero_grad()
        (embedded * embedded * mg.tensor(pull).to(self.device) * factor).sum().backward()
        return float(self.optimizer.step_clipped(clip).item())

    def content(self) -> list[np.ndarray]:
        slots = self.optimizer.state[self.layer.weight]
        state = [slots[name] for name in sorted(slots)]
        return [tensor.detach().cpu().numpy().copy() for tensor in (self.layer.weight, *state)]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["minigrad.ops.embedding"], "ROWS_ON_GPU", 1)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_as_with_a_dense_gradient(option: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    dense = Run("cuda", option)
    norms = [dense.step(number) for number in range(12)]
    monkeypatch.setattr(sys.modules["minigrad.ops.embedding"], "ROWS_ON_GPU", 1)
    rows = Run("cuda", option)
    assert [rows.step(number) for number in range(12)] == norms
    assert rows.layer.weight.grad.is_sparse
    for a, b in zip(rows.content(), dense.content(), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_whoever_looks_sees_all_steps(option: tuple[str, dict[str, Any]]) -> None:
    """As on the CPU, where every read is tested: a copy, a save, the state of the optimiser."""
    here, there = Run("cpu", option), Run("cuda", option)
    for number in range(7):
        norms = [run.step(number) for run in (here, there)]
        assert norms[1] == pytest.approx(norms[0], rel=1e-6)
        if number % 3 == 1:
            for a, b in zip(here.content(), there.content(), strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("large")
def test_a_step_without_a_finite_norm_changes_nothing() -> None:
    run = Run("cuda", ("Adam", {"lr": 0.1}))
    run.step(0)
    before = run.content()
    assert not np.isfinite(run.step(1, factor=float("inf")))
    for a, b in zip(run.content(), before, strict=True):
        assert a.tobytes() == b.tobytes()


def test_small_tables_have_a_dense_gradient() -> None:
    run = Run("cuda", ("Adam", {}))
    run.step(0)
    assert not run.layer.weight.grad.is_sparse
