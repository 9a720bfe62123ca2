"""Python's numbers beside integer tensors: operands wrap around, values to be written are refused, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
LARGE = st.one_of(st.integers(-(1 << 63), (1 << 64) - 1), st.sampled_from((-256, -1, 127, 128, 255, 256, 300, 1 << 40)))

OPERATORS: dict[str, Callable[[Any, int], Any]] = {
    "x + n": lambda x, n: x + n, "n + x": lambda x, n: n + x, "x - n": lambda x, n: x - n, "n - x": lambda x, n: n - x,
    "x * n": lambda x, n: x * n, "x == n": lambda x, n: x == n, "x < n": lambda x, n: x < n,
    "x >= n": lambda x, n: x >= n, "x & n": lambda x, n: x & n, "x ^ n": lambda x, n: x ^ n,
    "x.add_(n)": lambda x, n: x.add_(n),
    "x.mul_(n)": lambda x, n: x.mul_(n),
}  # fmt: skip
WRITES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "tensor": lambda lib, x, n: lib.tensor([n], dtype=x.dtype),
    "tensor of one": lambda lib, x, n: lib.tensor(n, dtype=x.dtype),
    "full": lambda lib, x, n: lib.full((1,), n, dtype=x.dtype),
    "full_like": lambda lib, x, n: lib.full_like(x, n),
    "new_full": lambda lib, x, n: x.new_full((1,), n),
    "fill_": lambda lib, x, n: x.clone().fill_(n),
    "masked_fill": lambda lib, x, n: x.masked_fill(x == x, n),
    "where": lambda lib, x, n: lib.where(x != x, x, n),
}


def outcome(act: Callable[[], Any]) -> Any:
    """The values of a result, or that there is none."""
    try:
        return act().tolist()
    except RuntimeError:
        return "refused"


@given(dtype=st.sampled_from(INTEGERS), number=LARGE, name=st.sampled_from(sorted(OPERATORS)))
def test_operands_wrap_around(dtype: str, number: int, name: str) -> None:
    torch = pytest.importorskip("torch")
    found, right = (
        OPERATORS[name](lib.tensor([0, 1, 100], dtype=getattr(lib, dtype)), number) for lib in (minigrad, torch)
    )
    assert found.tolist() == right.tolist()


@given(dtype=st.sampled_from(INTEGERS), number=LARGE, name=st.sampled_from(sorted(WRITES)))
def test_what_does_not_fit_is_not_written(dtype: str, number: int, name: str) -> None:
    torch = pytest.importorskip("torch")
    if number >= 1 << 63:  # PyTorch has other errors for these
        return
    found, right = (
        outcome(lambda lib=lib: WRITES[name](lib, lib.tensor([5], dtype=getattr(lib, dtype)), number))
        for lib in (minigrad, torch)
    )
    assert found == right


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda x: x.fill_(300), "setitem: a value is 300; dtype uint8 holds 0 to 255"),
        (lambda x: x.fill_(300.5), "setitem: a value is 300.5; dtype uint8 holds 0 to 255"),
        (
            lambda x: minigrad.full((2,), -300, dtype=minigrad.uint8),
            "full: a value is -300; dtype uint8 holds 0 to 255",
        ),
        (lambda x: minigrad.where(x > 0, x, 300), "where: b: a value is 300; dtype uint8 holds 0 to 255"),
        (lambda x: minigrad.tensor([1 << 63]), "tensor: a value is 9223372036854775808; dtype int64 holds"),
        (lambda x: minigrad.tensor([[-1, 1 << 63]]), "tensor: a value is 9223372036854775808; dtype int64 holds"),
        (
            lambda x: minigrad.tensor([np.int64(3), 1 << 63]),
            "tensor: a value is 9223372036854775808; dtype int64 holds",
        ),
        (lambda x: minigrad.tensor([minigrad.tensor(3), 1 << 63]), "tensor: a value is 9223372036854775808"),
        (lambda x: minigrad.tensor([[minigrad.tensor(3), 1 << 63]]), "tensor: a value is 9223372036854775808"),
        (lambda x: minigrad.tensor([1 << 63, 1.5], dtype=minigrad.int64), "tensor: a value is 9.223372036854776e"),
        (lambda x: minigrad.tensor([2.0**63], dtype=minigrad.int64), "tensor: a value is 9.223372036854776e"),
        (lambda x: minigrad.tensor(1 << 70), "tensor: a value is 1180591620717411303424; dtype int64 holds"),
        (lambda x: x.fill_(float("nan")), "setitem: NaN or inf is among the values"),
    ],
)
def test_the_message_names_the_value(act: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        act(minigrad.tensor([1, 2], dtype=minigrad.uint8))


def test_more_than_64_bits_are_refused() -> None:
    with pytest.raises(OverflowError, match="an operand is 18446744073709551616; expected a number of at most 64 bits"):
        minigrad.tensor([1]) + (1 << 64)


def test_large_integers_become_floats_where_asked() -> None:
    assert minigrad.tensor([1 << 63, 1 << 70], dtype=minigrad.float64).tolist() == [2.0**63, 2.0**70]
    assert minigrad.tensor([1.5, 1 << 70], dtype=minigrad.float64).tolist() == [1.5, 2.0**70]
    assert minigrad.tensor([np.float32(0.5), 1 << 70]).tolist() == [0.5, 2.0**70]
    assert minigrad.tensor([np.bool_(True), 1 << 70], dtype=minigrad.float64).tolist() == [1.0, 2.0**70]


def test_arrays_and_tensors_wrap_around() -> None:
    assert minigrad.tensor(np.array([300]), dtype=minigrad.uint8).tolist() == [44]
    assert minigrad.zeros(1, dtype=minigrad.uint8).fill_(minigrad.tensor(300)).tolist() == [44]


def test_a_limit_out_of_range_limits_nothing() -> None:
    x = minigrad.tensor([0, 5, 255], dtype=minigrad.uint8)
    assert x.clamp(-3, 300).tolist() == [0, 5, 255]
    assert x.clamp(max=-(1 << 40)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["x ** 2", "x ** True", "x.square()", "x ** 0", "2 ** x", "x ** 2.0"])
def test_powers_of_truths(name: str) -> None:
    torch = pytest.importorskip("torch")
    powers: dict[str, Callable[[Any], Any]] = {
        "x ** 2": lambda x: x**2, "x ** True": lambda x: x**True, "x.square()": lambda x: x.square(),
        "x ** 0": lambda x: x**0, "2 ** x": lambda x: 2**x, "x ** 2.0": lambda x: x**2.0,
    }  # fmt: skip
    found, right = (powers[name](lib.tensor([True, False])) for lib in (minigrad, torch))
    assert found.tolist() == right.tolist()
    assert str(found.dtype) == str(right.dtype).removeprefix("torch.")
