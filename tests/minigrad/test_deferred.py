"""Gradients that are no arrays yet: rows that wait for a weight's other uses, and parts added to one array."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as torch
from minigrad import autograd, deferred, nn
from minigrad import nn as layers
from minigrad.deferred import DeferredGradient, PartGradient
from minigrad.function import Function
from minigrad.gradcheck import gradcheck
from minigrad.nn import functional as F


def doubles(seed: int, *shape: int, requires_grad: bool = False) -> torch.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.tensor(values, dtype=torch.float64, requires_grad=requires_grad)


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of uses in every sum that is made."""
    made: list[int] = []
    computed = DeferredGradient.computed

    def counted(self: DeferredGradient) -> np.ndarray:
        made.append(len(self._terms))
        return computed(self)

    monkeypatch.setattr(DeferredGradient, "computed", counted)
    return made


# --- values -----------------------------------------------------------------------------------------------------------
USES: dict[str, Callable[[torch.Tensor, int, int], torch.Tensor]] = {
    "linear": lambda weight, seed, rows: F.linear(doubles(seed, rows, weight.shape[1]), weight),
    "matmul": lambda weight, seed, rows: doubles(seed, 2, rows, weight.shape[0]) @ weight,
    "embedding": lambda weight, seed, rows: F.embedding(
        torch.tensor(np.random.default_rng(seed).integers(0, weight.shape[0], (rows, 2))), weight, padding_idx=0
    ),
    "product": lambda weight, seed, rows: weight * doubles(seed, 1, weight.shape[1]),
}


@given(
    uses=st.lists(st.tuples(st.sampled_from(sorted(USES)), st.integers(0, 4)), min_size=1, max_size=7),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kept=st.sampled_from((0, 9, 1 << 18)),
    hooked=st.booleans(),
)
def test_uses_of_a_weight_add_up(uses: list[tuple[str, int]], shape: tuple[int, int], kept: int, hooked: bool) -> None:
    """Whatever the order of uses, however much may wait, hooks or not: the gradient is the sum of each use's own."""

    def terms(weight: torch.Tensor) -> list[torch.Tensor]:
        return [(USES[name](weight, seed, rows) ** 2).sum() for seed, (name, rows) in enumerate(uses)]

    expected = np.zeros(shape)
    for position in range(len(uses)):
        alone = doubles(0, *shape, requires_grad=True)
        expected += autograd.grad(terms(alone)[position], alone)[0].numpy()
    weight = doubles(0, *shape, requires_grad=True)
    seen: list[np.ndarray] = []
    if hooked:
        weight.register_hook(lambda grad: seen.append(grad.numpy().copy()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deferred, "ALWAYS_KEPT", kept)
        torch.stack(terms(weight)).sum().backward()
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=1e-12, atol=1e-12)  # sums in another order
    assert len(seen) == hooked
    for grad in seen:
        np.testing.assert_array_equal(grad, weight.grad.numpy())


def test_the_loop_of_a_decoder_against_finite_differences(count_case: Callable[[], None]) -> None:
    """Embedding, two layers and a tied output in a loop, by value against differences of the loss."""

    def loss(table: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        state, total = torch.zeros(2, 3, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for step in range(4):
            state = torch.tanh(F.embedding(torch.tensor([step, 1]), table) + F.linear(state, matrix))
            total = total + F.cross_entropy(F.linear(state, table), torch.tensor([1, step]))
        return total

    arguments = doubles(1, 5, 3, requires_grad=True), doubles(2, 3, 3, requires_grad=True)
    assert gradcheck(loss, arguments, mode="jacobian")
    count_case()


def test_precision_is_that_of_each_use(sums: list[int]) -> None:
    """A use under autocast is rounded to bfloat16, its neighbour is not; they are not summed together."""
    layer, x = nn.Linear(3, 2, bias=False), torch.tensor([[1 + 2**-10, 1.0, 1.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer(x)
    (rounded + layer(x)).sum().backward()
    assert sums == [1, 1]
    assert layer.weight.grad is not None
    assert layer.weight.grad[0, 0].item() == 2 + 2**-10


def test_what_a_hook_has_seen_is_its_own(sums: list[int]) -> None:
    """A hook that adds up what it sees, in place, while the rows of the steps still wait."""
    weight, totals = torch.ones(2, 3, requires_grad=True), []

    def add_up(grad: torch.Tensor) -> None:
        if totals:
            totals[0] += grad
        else:
            totals.append(grad)

    losses = []
    for _ in range(3):
        y = F.linear(torch.ones(1, 3), weight)
        y.register_hook(add_up)
        losses.append(y.sum())
    torch.stack(losses).sum().backward()
    assert sums == [3]
    assert totals[0].tolist() == [[3.0, 3.0]]
    assert weight.grad is not None
    assert weight.grad.tolist() == [[3.0] * 3] * 2


@pytest.mark.parametrize("register", ["register_full_backward_pre_hook", "register_full_backward_hook"])
@pytest.mark.parametrize("above", [True, False])
def test_what_a_hook_of_a_module_has_seen_is_its_own(sums: list[int], register: str, above: bool) -> None:
    """The same with a hook on the layer itself, or on the module that reads its output."""
    layer, reader, totals = nn.Linear(3, 2, bias=False), nn.Dropout(0.0), []

    def add_up(module: nn.Module, *grads: Any) -> None:
        grad = next(grad for (grad,) in grads if grad.shape == (1, 2))
        if totals:
            totals[0] += grad
        else:
            totals.append(grad)

    getattr(reader if above else layer, register)(add_up)
    x = torch.ones(1, 3, requires_grad=True)
    torch.stack([reader(layer(x * 1.0)).sum() for _ in range(3)]).sum().backward()
    assert sums == [3]
    assert totals[0].tolist() == [[3.0, 3.0]]
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[3.0] * 3] * 2


# --- when -------------------------------------------------------------------------------------------------------------
def steps(layer: layers.Linear, count: int, rows: int) -> torch.Tensor:
    return torch.stack([layer(torch.ones(rows, layer.in_features)).sum() for _ in range(count)]).sum()


def test_all_steps_of_a_loop_are_one_sum(sums: list[int]) -> None:
    steps(nn.Linear(3, 2), 12, 4).backward()
    assert sums == [12]


def test_rows_wait_until_they_outgrow_the_gradient(sums: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "ALWAYS_KEPT", 0)
    steps(nn.Linear(30, 20), 7, 5).backward()  # 600 numbers; 250 of the rows of a step
    assert sums == [3, 3, 1]


def test_many_rows_are_summed_at_once(sums: list[int]) -> None:
    steps(nn.Linear(3, 2), 5, 100).backward()
    steps(nn.Linear(3, 2), 3, 256).backward()
    assert sums == [3, 2, 1, 1, 1]


def test_one_use_is_summed_at_once(sums: list[int]) -> None:
    """And its rows are free while the walk goes on."""
    gone: list[bool] = []

    class Watch(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            gone.append(held() is None)
            return grad

    hidden = Watch.apply(torch.ones(4, 3, requires_grad=True)) * 2
    held = weakref.ref(hidden.array)
    loss = nn.Linear(3, 2)(hidden).sum()
    del hidden
    loss.backward()
    assert sums == [1]
    assert gone == [True]


def test_a_weight_that_was_computed_gets_its_gradient_at_once(sums: list[int]) -> None:
    matrix = torch.ones(2, 3, requires_grad=True)
    weight = matrix * 2
    for _ in range(3):
        F.linear(torch.ones(4, 3), weight).sum().backward(retain_graph=True)
    assert sums == [1, 1, 1]
    assert matrix.grad is not None
    assert matrix.grad.tolist() == [[24.0] * 3] * 2


def test_what_nobody_asked_for_is_not_summed(sums: list[int]) -> None:
    layer, x = nn.Linear(3, 2), torch.ones(4, 3, requires_grad=True)
    autograd.grad(layer(x).sum(), x)
    assert sums == []
    autograd.grad(layer(x).sum() + layer(x).sum(), layer.weight)
    assert sums == [2]


# --- parts ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def wholes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the arrays that are made of parts."""
    made: list[tuple[int, ...]] = []
    computed = PartGradient.computed

    def counted(self: PartGradient) -> np.ndarray:
        made.append(self.shape)
        return computed(self)

    monkeypatch.setattr(PartGradient, "computed", counted)
    return made


@pytest.mark.parametrize("of_leaf", [True, False])
def test_a_loop_over_slices_fills_one_array(wholes: list[tuple[int, ...]], of_leaf: bool) -> None:
    x = doubles(0, 6, 2, requires_grad=True)
    sliced = x if of_leaf else x * 1.0
    torch.stack([(step**2).sum() * position for position, step in enumerate(sliced)]).sum().backward()
    assert wholes == [(6, 2)]
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), 2 * x.detach().numpy() * np.arange(6)[:, None])


PARTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "row": lambda x: x[1],
    "element": lambda x: x[1, 2],
    "slice": lambda x: x[:, 1:3],
    "mask": lambda x: x[x > 0],
    "rows, one twice": lambda x: x[[2, 0, 2]],
    "gathered": lambda x: x.gather(1, torch.tensor([[1, 1], [0, 3], [2, 2]])),
    "all": lambda x: x * 3,
    "chunk": lambda x: x.chunk(2, dim=1)[1],
    "sum": lambda x: x.sum(),
}


@given(
    names=st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=6), of_leaf=st.booleans(), hooked=st.booleans()
)
def test_parts_add_up(names: list[str], of_leaf: bool, hooked: bool) -> None:
    """Whatever is read, in whatever order, with hooks or without: the gradient is the sum of each part's."""

    def terms(x: torch.Tensor) -> list[torch.Tensor]:
        source = x if of_leaf else x * 1.0
        return [(PARTS[name](source) ** 2).sum() for name in names]

    expected = np.zeros((3, 4))
    for position in range(len(names)):
        alone = doubles(3, 3, 4, requires_grad=True)
        expected += autograd.grad(terms(alone)[position], alone)[0].numpy()
    x = doubles(3, 3, 4, requires_grad=True)
    seen: list[torch.Tensor] = []
    if hooked:
        x.register_hook(lambda grad: seen.append(grad.clone()))
    torch.stack(terms(x)).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)
    assert [grad.tolist() for grad in seen] == [x.grad.tolist()] * hooked


def test_a_part_does_not_write_into_what_others_hold() -> None:
    """``first`` and ``second`` get one array as their gradient; what is added to one of them is not in the other."""
    for reads in ("first", "second"):
        first, second = (doubles(seed, 4, requires_grad=True) * 1.0 for seed in (0, 1))
        first.retain_grad()
        second.retain_grad()
        part = first[1] if reads == "first" else second[1]
        (part + (first + second).sum()).backward()
        grads = [tensor.grad.tolist() for tensor in (first, second) if tensor.grad is not None]
        assert sorted(grads) == [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 1.0, 1.0]]


def test_a_part_beside_rows() -> None:
    """A table read as rows (whose gradient is row-wise) and by index."""
    table = doubles(0, 5, 2, requires_grad=True)
    (F.embedding(torch.tensor([3, 3]), table, sparse=True).sum() + table[3].sum() + table[:, 0].sum()).backward()
    assert table.grad is not None
    expected = np.zeros((5, 2))
    expected[3] += 3
    expected[:, 0] += 1
    np.testing.assert_array_equal(table.grad.numpy(), expected)


# --- functions of users -----------------------------------------------------------------------------------------------
def columns(rows: np.ndarray, factor: float) -> np.ndarray:
    return factor * rows.sum(axis=0)


class AddRow(Function):
    """x + row, whose gradient may wait; ``wrong`` says what backward gets wrong."""

    wrong = ""

    @staticmethod
    def forward(ctx, x, row):
        ctx.shape = row.shape
        return x + row

    @staticmethod
    def backward(ctx, grad):
        shape = (7,) if AddRow.wrong == "shape" else ctx.shape
        dtype = np.dtype(np.float32) if AddRow.wrong == "dtype" else grad.dtype
        return grad, DeferredGradient(columns, (grad,), (1.0,), shape, dtype)


def test_a_function_may_defer(sums: list[int]) -> None:
    row = doubles(0, 3, requires_grad=True)
    (AddRow.apply(doubles(1, 4, 3), row).sum() + AddRow.apply(doubles(2, 5, 3), row).sum()).backward()
    assert sums == [2]
    assert row.grad is not None
    assert row.grad.tolist() == [9.0] * 3


def test_a_wrong_shape_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddRow, "wrong", "shape")
    with pytest.raises(RuntimeError, match=r"AddRow.backward returned a gradient of shape \(7,\); expected \(3,\)"):
        AddRow.apply(doubles(1, 4, 3), doubles(0, 3, requires_grad=True)).sum().backward()


def test_another_dtype_is_converted(sums: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddRow, "wrong", "dtype")
    row = doubles(0, 3, requires_grad=True)
    AddRow.apply(doubles(1, 4, 3), row).sum().backward()
    assert row.grad is not None
    assert row.grad.dtype == torch.float64
