"""Masks of every dtype and shape: where they broadcast, where they pick, where they are refused. As PyTorch has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor
from tests.minigrad.against_torch import check

X = [[1.5, -2.0, 0.5], [3.0, -0.5, 4.0]]


def assigned(x: Any, index: Any, value: Any) -> Any:
    """A copy of ``x`` after ``x[index] = value``."""
    y = x * 1
    y[index] = value
    return y


ACCEPTED = {
    "masked_select": lambda t, x: x.masked_select(x > 1),
    "masked_select of columns": lambda t, x: x.masked_select(t.tensor([True, False, True])),
    "masked_select of a column": lambda t, x: x.masked_select(t.tensor([[True], [False]])),
    "masked_select that grows": lambda t, x: x[0].masked_select(x > 1),
    "masked_select of all": lambda t, x: x.masked_select(t.tensor(True)),
    "masked_select of none": lambda t, x: x.masked_select(x > 100),
    "masked_fill": lambda t, x: x.masked_fill(x > 1, float("-inf")),
    "masked_fill of a fraction": lambda t, x: x.masked_fill(x > 1, 0.1),
    "assignment of a fraction": lambda t, x: assigned(x, x > 1, 0.1),
    "a cast of NaN": lambda t, x: (x * float("nan")).long().double() * 0 + x,
    "masked_fill of columns": lambda t, x: x.masked_fill(t.tensor([True, False, True]), 9),
    "masked_fill that grows": lambda t, x: x.masked_fill(t.tensor([[[True, False, True]]]), 9),
    "masked_fill with a tensor": lambda t, x: x.masked_fill(x > 1, x[0, 0]),
    "masked_fill of integers": lambda t, x: x.long().masked_fill(x > 1, 1.7),
    "masked_fill in place": lambda t, x: (x * 1).masked_fill_(t.tensor([True, False, True]), 2.0),
    "where": lambda t, x: t.where(t.tensor([[True], [False]]), x, x[0] * 2),
    "where of numbers": lambda t, x: t.where(x > 1, 1, 0.5),
    "where of uint8": lambda t, x: t.where(t.tensor([1, 0, 1], dtype=t.uint8), x, x * 2),
    "index": lambda t, x: x[x > 1],
    "index of rows": lambda t, x: x[t.tensor([True, False])],
    "index of columns": lambda t, x: x[:, t.tensor([True, False, True])],
    "index of both": lambda t, x: x[t.tensor([True, True]), t.tensor([True, False, True])],
    "index of uint8": lambda t, x: x[t.tensor([[1, 0, 1], [0, 1, 0]], dtype=t.uint8)],
    "index of a list": lambda t, x: x[[True, False]],
    "index of an array": lambda t, x: x[np.array([True, False])],
    "index True": lambda t, x: x[True],
    "index False": lambda t, x: x[False],
    "index of a 0-d mask": lambda t, x: x[t.tensor(True)],
    "assignment": lambda t, x: assigned(x, x > 1, 0.0),
    "assignment of values": lambda t, x: assigned(x, x > 1, x[:, 0].sum() * t.tensor([1.0, 2.0, 3.0], dtype=t.float64)),
    "assignment of rows": lambda t, x: assigned(x, t.tensor([True, False]), 7.0),
    "no NaN": lambda t, x: t.where(x > 1, x, float("nan"))[x > 1],
    "a masked mean": lambda t, x: (x**2 * (x > 1)).sum() / (x > 1).sum(),
    "of int32": lambda t, x: x.gather(1, t.tensor([[0], [1]], dtype=t.int32)),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_values_and_gradients_equal_torch(name: str) -> None:
    check(ACCEPTED[name], X)


MASKS = {"int64": np.int64, "uint8": np.uint8, "float32": np.float32}
REFUSED = {
    "masked_select": (lambda x, mask: x.masked_select(mask), r"masked_select: mask has dtype \w+; expected bool"),
    "masked_fill": (lambda x, mask: x.masked_fill(mask, 1), r"masked_fill: mask has dtype \w+; expected bool"),
    "masked_fill_": (lambda x, mask: (x * 1).masked_fill_(mask, 1), r"masked_fill: mask has dtype \w+; expected bool"),
    "where": (lambda x, mask: minigrad.where(mask, x, x), r"where: condition has dtype \w+; expected bool"),
}


@pytest.mark.parametrize("dtype", MASKS)
@pytest.mark.parametrize("name", REFUSED)
def test_numbers_are_no_mask(name: str, dtype: str) -> None:
    call, message = REFUSED[name]
    if (name, dtype) == ("where", "uint8"):
        pytest.skip("taken for a mask, with a warning, as in PyTorch")
    with pytest.raises(RuntimeError, match=message):
        call(minigrad.tensor(X), Tensor(np.array([1, 0, 1], MASKS[dtype])))


def test_the_examples_without_torch() -> None:
    x = minigrad.tensor([1.0, 2.0])
    with pytest.raises(RuntimeError, match="masked_select: mask has dtype int64; expected bool"):
        x.masked_select(minigrad.tensor([1, 0]))
    square = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    picked = square.masked_select(minigrad.tensor([True, False]))
    assert picked.tolist() == [1.0, 3.0]
    (picked * minigrad.tensor([5.0, 7.0])).sum().backward()
    assert square.grad.tolist() == [[5.0, 0.0], [7.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x, m: x[m([1, 0, 1])],
            IndexError,
            r"getitem: a mask has shape \(3,\); expected \(2,\) from dimension 0",
        ),
        (
            lambda x, m: x[:, m([1, 0])],
            IndexError,
            r"getitem: a mask has shape \(2,\); expected \(3,\) from dimension 1",
        ),
        (lambda x, m: x[[True, False, True]], IndexError, r"a mask has shape \(3,\)"),
        (lambda x, m: x[m([[[1]]])], IndexError, r"an index names 3 dimensions; expected at most 2 for shape \(2, 3\)"),
        (lambda x, m: assigned(x, m([1, 0, 1]), 0.0), IndexError, r"setitem: a mask has shape \(3,\)"),
        (
            lambda x, m: assigned(x, x > 1, minigrad.ones(2)),
            RuntimeError,
            r"setitem: value has shape \(2,\); .* \(3,\)",
        ),
        (lambda x, m: x.masked_select(m([1, 0])), RuntimeError, r"masked_select: shapes \(2, 3\) and \(2,\) do not"),
        (lambda x, m: x.masked_fill(m([1, 0]), 0), RuntimeError, r"masked_fill: shapes \(2, 3\) and \(2,\) do not"),
        (lambda x, m: minigrad.where(m([1, 0]), x, x), RuntimeError, r"where: shapes \(2,\) and \(2, 3\) do not"),
        (lambda x, m: x.masked_fill(x > 1, x[0]), RuntimeError, r"masked_fill: value is a tensor of shape \(3,\)"),
        (lambda x, m: (x * 1).masked_fill_(m([[[1, 0, 1]]]), 2.0), RuntimeError, r"masked_fill_: result has shape"),
        (
            lambda x, m: x.long().masked_fill(x > 1, float("nan")),
            RuntimeError,
            "masked_fill: NaN or inf",
        ),
        (
            lambda x, m: assigned(x.long(), 0, float("inf")),
            RuntimeError,
            "setitem: NaN or inf is",
        ),
        (lambda x, m: x.long().scatter(1, x.long() * 0, float("nan")), RuntimeError, "scatter: NaN or inf is"),
        (
            lambda x, m: minigrad.tensor([float("nan")], dtype=minigrad.int64),
            RuntimeError,
            "tensor: NaN or inf is",
        ),
        (lambda x, m: x[x], IndexError, "getitem: an index is a tensor of dtype float32; expected integers"),
        (lambda x, m: x["a"], IndexError, "getitem: an index is 'a'; expected integers"),
        (lambda x, m: x[0, 5], IndexError, "getitem: index 5 is out of bounds for dimension 1 with size 3"),
        (lambda x, m: x[minigrad.tensor([0, 4])], IndexError, "getitem: index 4 is out of bounds for dimension 0"),
        (
            lambda x, m: x[[0, 1], [0, 1, 2]],
            IndexError,
            r"index tensors have shapes \(2,\), \(3,\); expected shapes that",
        ),
        (lambda x, m: assigned(x, 5, 0.0), IndexError, "setitem: index 5 is out of bounds for dimension 0 with size 2"),
        (lambda x, m: x.gather(1, x.long() * 0 - 1), RuntimeError, "gather: index -1 is out of bounds for dimension 1"),
        (lambda x, m: x.gather(1, x), RuntimeError, "gather: index has dtype float32; expected int64 or int32"),
        (lambda x, m: x.scatter(1, x.long() * 0 + 3, 1.0), RuntimeError, "scatter: index 3 is out of bounds"),
        (lambda x, m: x.index_select(0, x > 1), RuntimeError, "index_select: index has dtype bool; expected int64"),
        (
            lambda x, m: x.index_select(0, minigrad.tensor([2])),
            IndexError,
            r"index_select: index holds \[2\]; expected 0 to 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, error: Any, message: str) -> None:
    def mask(values: Any) -> Tensor:
        return Tensor(np.array(values, bool))

    with pytest.raises(error, match=message):
        call(minigrad.tensor(X), mask)


def test_memory_that_is_read_only_is_not_assigned_to() -> None:
    x = minigrad.from_numpy(np.broadcast_to(np.float32(1.0), (3,)))
    with pytest.raises(RuntimeError, match="setitem: the tensor is read-only, or its elements share memory"):
        x[0] = 2.0


@pytest.mark.parametrize("call", [lambda x, m: x[m], lambda x, m: minigrad.where(m, x, x)])
def test_a_mask_of_uint8_is_warned_of(call: Any) -> None:
    with pytest.warns(UserWarning, match="dtype uint8 is taken for a mask; use bool"):
        call(minigrad.ones(2), Tensor(np.array([1, 0], np.uint8)))
