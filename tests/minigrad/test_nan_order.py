"""NaN counts as larger than every number: selections with NaN, and their gradients, as PyTorch has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor
from tests.minigrad.against_torch import check

inf, nan = math.inf, math.nan
ROWS = {
    "nan first": [[nan, inf, 3.0, 1.0]],
    "nan among others": [[2.0, nan, -inf, 2.0], [inf, 0.0, nan, nan], [1.0, 2.0, 3.0, 2.0]],
    "all nan": [[nan, nan, nan]],
    "infinities": [[inf, -inf, inf, 0.0]],
}
SELECTIONS = {
    "sort": lambda t, x: t.sort(x, stable=True),
    "sort down": lambda t, x: t.sort(x, descending=True, stable=True),
    "sort rows": lambda t, x: t.sort(x, dim=0, stable=True),
    "argsort": lambda t, x: t.argsort(x, stable=True),
    "argsort down": lambda t, x: t.argsort(x, descending=True, stable=True),
    "max": lambda t, x: x.max(),
    "min": lambda t, x: x.min(),
    "max along": lambda t, x: x.max(1),
    "min along": lambda t, x: x.min(1),
    "amax": lambda t, x: x.amax(1),
    "amin": lambda t, x: x.amin(1),
    "argmax": lambda t, x: x.argmax(1),
    "argmin": lambda t, x: x.argmin(1),
    "argmax of all": lambda t, x: x.argmax(),
    "argmin of all": lambda t, x: x.argmin(),
    "maximum": lambda t, x: t.maximum(x, x.flip(1)),
    "minimum": lambda t, x: t.minimum(x, x.flip(1)),
    "max of two": lambda t, x: t.max(x, t.zeros_like(x)),
    "clamp": lambda t, x: x.clamp(0, 2),
    "relu": lambda t, x: x.relu(),
    "unique": lambda t, x: t.unique(x.detach(), return_inverse=True, return_counts=True),
    "logsumexp": lambda t, x: x.logsumexp(1),
    "softmax": lambda t, x: x.softmax(1),
    "isclose": lambda t, x: t.isclose(x, x),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", SELECTIONS)
def test_selections_with_nan_equal_torch(name: str, rows: str) -> None:
    check(SELECTIONS[name], ROWS[rows])


TOPK = {
    "topk": lambda t, x: x.topk(2),
    "topk of the smallest": lambda t, x: x.topk(2, largest=False),
    "topk along rows": lambda t, x: x.topk(1, dim=0),
    "topk of all": lambda t, x: x.topk(4),
}


@pytest.mark.parametrize("name", TOPK)
def test_topk_with_nan_equals_torch(name: str) -> None:
    """Where no two are equal: of those, PyTorch's topk takes any."""
    check(TOPK[name], [[nan, inf, 3.0, 1.0]])
    check(TOPK[name], [[-inf, 2.0, nan, inf]])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("rows", ROWS)
def test_topk_is_the_begin_of_the_order(rows: str, largest: bool) -> None:
    x = Tensor(np.array(ROWS[rows]))
    top, ordered = x.topk(2, largest=largest), x.sort(descending=largest)
    np.testing.assert_array_equal(top.values.array, ordered.values.array[:, :2])
    np.testing.assert_array_equal(top.indices.array, ordered.indices.array[:, :2])


def test_the_example_without_torch() -> None:
    x = minigrad.tensor([nan, inf, 3.0, 1.0], requires_grad=True)
    values, indices = x.topk(2)
    np.testing.assert_array_equal(values.detach().numpy(), np.array([nan, inf], np.float32))
    assert indices.tolist() == [0, 1]
    (values * minigrad.tensor([5.0, 7.0])).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0, 0.0, 0.0]
    assert x.topk(2, largest=False)[1].tolist() == [3, 2]
    assert x.argmax().item() == x.argmin().item() == 0


ORDERED = [
    np.array([0, 5, 255, 5], np.uint8),
    np.array([0, -(2**63), 2**63 - 1, -1]),
    np.array([True, False, True]),
    np.array([3, -128, 127], np.int8),
]


@pytest.mark.parametrize("values", ORDERED, ids=lambda a: str(a.dtype))
def test_order_of_integers_and_truths(values: np.ndarray) -> None:
    """Numbers that negation changes into others, or that have none."""
    x = Tensor(values)
    up = np.argsort(values, kind="stable")
    down = len(values) - 1 - np.argsort(values[::-1], kind="stable")[::-1]
    assert x.sort()[1].tolist() == up.tolist()
    assert x.sort(descending=True)[1].tolist() == down.tolist()
    assert x.topk(2)[1].tolist() == down[:2].tolist()
    assert x.topk(2, largest=False)[1].tolist() == up[:2].tolist()
    assert (x.argmin().item(), x.argmax().item()) == (values.argmin(), values.argmax())
    assert (x.min().item(), x.max().item()) == (values.min(), values.max())
    assert (x.min(0)[0].item(), x.amin().item()) == (values.min(), values.min())
    assert minigrad.minimum(x, x.flip(0)).tolist() == np.minimum(values, values[::-1]).tolist()


@pytest.mark.parametrize("call", [lambda x: x.sort(stable=True), lambda x: x.argsort(stable=True)])
def test_equal_ones_keep_their_order(call: Any) -> None:
    result = call(minigrad.tensor([1.0, 0.0, 1.0, 0.0]))
    indices = result if isinstance(result, Tensor) else result.indices
    assert indices.tolist() == [1, 3, 0, 2]
