"""Ops that are constant between steps: the gradient that PyTorch gives, zero where that is zero, never a cut graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, ops
from tests.minigrad.against_torch import check

A = [[1.5, -2.0, 0.5], [3.0, -0.5, 4.0]]
B = [[1.0, 0.7, -2.0], [0.4, -3.0, 1.5]]
STEPS = {
    "floor": lambda t, a: a.floor(),
    "ceil": lambda t, a: a.ceil(),
    "round": lambda t, a: a.round(),
    "trunc": lambda t, a: a.trunc(),
    "sign": lambda t, a: a.sign(),
    "round to a digit": lambda t, a: t.round(a, decimals=1),
    "floor in place": lambda t, a: (a * 1).floor_(),
    "round in place": lambda t, a: (a * 1).round_(),
}


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_gradient_zero_and_does_not_cut_the_rest(name: str, alone: bool) -> None:
    step = STEPS[name]
    check(step if alone else lambda t, a: step(t, a) * 3 + a * 2, A)
    check(lambda t, a: a - step(t, a), A)


REMAINDERS = {
    "% number": lambda t, a, b: a % 2,
    "% number + a": lambda t, a, b: a % 2 + a,
    "% tensor": lambda t, a, b: a % b,
    "% of a broadcast tensor": lambda t, a, b: a[:, :1] % b + a % b[:1],
    "remainder of a negative": lambda t, a, b: t.remainder(-a, b),
    "%=": lambda t, a, b: (a * 1).__imod__(2),
    "% 0": lambda t, a, b: a % 0,
    "div floor": lambda t, a, b: t.div(a, b, rounding_mode="floor") + b,
    "div trunc": lambda t, a, b: a.div(b, rounding_mode="trunc") * a,
}


@pytest.mark.parametrize("name", REMAINDERS)
def test_remainders_and_rounded_quotients_equal_torch(name: str) -> None:
    check(REMAINDERS[name], A, B)


def test_the_example_without_torch() -> None:
    a = minigrad.tensor([5.0, -3.5], requires_grad=True)
    (a % 2 + a).sum().backward()
    assert a.grad.tolist() == [2.0, 2.0]


def test_a_number_modulo_a_tensor() -> None:
    """PyTorch refuses it; -floor(5 / b) is what finite differences give."""
    b = Tensor(np.array(B), requires_grad=True)
    assert minigrad.gradcheck(lambda b: 5.1 % b + b * b, b)  # 5 % 1 is a step
    (5 % b).sum().backward()
    np.testing.assert_array_equal(b.grad.array, -np.floor(5 / np.array(B)))


@pytest.mark.parametrize(
    "divide", [lambda a, b: a // 2, lambda a, b: a // 2 + a, lambda a, b: a // b, lambda a, b: ops.floor_divide(5, b)]
)
def test_floor_division_refuses_its_backward_as_torch_does(divide: Any) -> None:
    a, b = (Tensor(np.array(x), requires_grad=True) for x in (A, B))
    quotient = divide(a, b)
    with pytest.raises(RuntimeError, match=r"floor_divide: // has no gradient; use div\(a, b, rounding_mode='floor'\)"):
        quotient.sum().backward()
    assert (divide(a.detach(), b.detach()) + a * 3).requires_grad


def test_unique_refuses_its_backward() -> None:
    x = Tensor(np.array([2.0, 1.0, 2.0]), requires_grad=True)
    with pytest.raises(RuntimeError, match="unique: its values have no gradient"):
        (minigrad.unique(x).sum() + x.sum()).backward()
    values, inverse, counts = minigrad.unique(x, return_inverse=True, return_counts=True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([1.0, 2.0], [1, 0, 1], [1, 2])


INTEGERS = {
    "//": lambda t, a, b: a.long() // t.tensor([2, -2, 3]),
    "%": lambda t, a, b: a.long() % t.tensor([2, -2, 3]),
    "trunc of large ones": lambda t, a, b: t.div(t.tensor([2**53 + 1, -(2**53) - 1]), 1, rounding_mode="trunc"),
    "trunc": lambda t, a, b: t.div(t.tensor([7, -7, 7, -7]), t.tensor([2, 2, -2, -2]), rounding_mode="trunc"),
    "rounding of integers": lambda t, a, b: a.long().floor(),
    "sign of truths": lambda t, a, b: (a > 0).sign(),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_equal_torch(name: str) -> None:
    check(INTEGERS[name], A, B)


@pytest.mark.parametrize("divide", [lambda x: x // 0, lambda x: x % 0, lambda x: x.div(0, rounding_mode="trunc")])
def test_an_integer_is_not_divided_by_zero(divide: Any) -> None:
    with pytest.raises(RuntimeError, match="an integer is divided by zero"):
        divide(minigrad.arange(3))


@pytest.mark.parametrize("function", [ops.neg, ops.abs, ops.relu, ops.floor, ops.round, lambda x: x - x])
def test_there_is_no_arithmetic_of_truths(function: Any) -> None:
    with pytest.raises(RuntimeError, match="got dtype bool; expected numbers"):
        function(minigrad.tensor([True, False]))


def test_assignments_by_operator_change_the_tensor_itself() -> None:
    x = minigrad.tensor([5.0, -3.0])
    same = x
    x //= 2
    x %= 4
    x **= 2
    assert same is x
    assert x.tolist() == [4.0, 4.0]
    mask = minigrad.tensor([True, False])
    same = mask
    mask |= minigrad.tensor([False, True])
    mask &= minigrad.tensor([True, False])
    mask ^= minigrad.tensor([True, True])
    assert same.tolist() == [False, True]
