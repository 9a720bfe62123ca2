"""Diagonals, grids, rolls, medians and their like against PyTorch, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from tests.minigrad.against_torch import check

RNG = np.random.default_rng(2)
A, B, V = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), RNG.normal(size=5)
TIED = np.array([[1.0, 2.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0], [4.0, 1.0, 3.0, 2.0]])
NAN = np.array([[1.0, np.nan, 2.0], [4.0, 6.0, 5.0]])

CASES: list[tuple[Callable[..., Any], list[Any]]] = [
    (lambda t, x: [x.diag(), x.diag(1), x.diag(-2), t.diag(x[0], 1), x.diagonal(), t.diagonal(x, -1)], [A]),
    (lambda t, x: t.diagonal(x.reshape(2, 3, 2), offset=1, dim1=2, dim2=1), [A]),
    (lambda t, x: x[:, :3].trace() + t.trace(x), [A]),
    (lambda t, x: [t.roll(x, 1), x.roll(-2, 1), x.roll((1, 2), (0, 1)), x.roll(shifts=5, dims=0)], [A]),
    (lambda t, x: [x.narrow(0, 1, 2), x.narrow(-1, 0, 0), t.narrow(x, 1, -2, 1), x.select(1, -1)], [A]),
    (lambda t, x, y: [t.hstack([x, y]), t.vstack([x, y]), t.hstack([x[0], y[1]]), t.vstack((x[0], y))], [A, B]),
    (lambda t, x: [t.hstack([x[0, 0], x[1, 1]]), t.vstack([x[0, 0], x[1, 1]])], [A]),
    (lambda t, x, y: t.meshgrid(x, y[0], indexing="ij"), [V, A]),
    (lambda t, x, y: t.meshgrid([x, y[0], y[0, 0]], indexing="xy"), [V, A]),
    (lambda t, x, y: [t.outer(x, y[0]), x.outer(y[0])], [V, A]),
    (lambda t, x, y: [t.addmm(x[:, :3], x, y.T, beta=0.5, alpha=2), x[0, :3].addmm(x, y.T)], [A, B]),
    (lambda t, x, y: [t.lerp(x, y, 0.3), x.lerp(y, y.sigmoid())], [A, B]),
    (lambda t, x: [t.erf(x), x.erf()], [A]),
    (lambda t, x: [x.median(), t.median(x[0]), *x.median(0), *t.median(x, -1, keepdim=True)], [A]),
    (lambda t, x: [x.median(), x.median(1).values], [TIED]),
    (lambda t, x: [x.median(), *x.median(1)], [NAN]),
    (lambda t, x: [x[0, 0].median(), *x[0, 0].median(0)], [A]),
]


@pytest.mark.parametrize(("function", "arrays"), CASES)
def test_equal_to_pytorch(function: Callable[..., Any], arrays: list[Any]) -> None:
    check(function, *arrays)


def test_by_hand() -> None:
    x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (x.diagonal() * minigrad.tensor([10.0, 20.0])).sum().backward()
    assert x.grad.tolist() == [[10, 0], [0, 20]]
    assert minigrad.roll(minigrad.arange(4), 1).tolist() == [3, 0, 1, 2]
    assert minigrad.tensor([[1, 2], [3, 4]]).trace().item() == 5
    assert minigrad.tensor([True, False]).diag().tolist() == [[True, False], [False, False]]
    assert minigrad.tensor([3, 1, 2, 9]).median().item() == 2
    assert [each.tolist() for each in minigrad.meshgrid(minigrad.arange(2), minigrad.arange(3))] == [
        [[0, 0, 0], [1, 1, 1]], [[0, 1, 2], [0, 1, 2]],
    ]  # fmt: skip


def test_a_diagonal_is_read_only() -> None:
    x = minigrad.zeros(2, 2)
    with pytest.raises(RuntimeError, match="read-only"):
        x.diagonal()[0] = 1
    with pytest.raises(RuntimeError, match="in-place assignment to a diagonal"):
        x.diagonal()[0] = minigrad.ones((), requires_grad=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int16", "int32", "int64"])
def test_limits_are_pytorchs(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    name = "finfo" if "float" in dtype else "iinfo"
    ours, theirs = (getattr(t, name)(getattr(t, dtype)) for t in (minigrad, torch))
    assert repr(ours).replace("e-06", "e-6").replace("e-15", "e-15")
    for field in ("bits", "min", "max", "dtype"):
        assert getattr(ours, field) == getattr(theirs, field)
    for field in ("eps", "tiny", "smallest_normal", "resolution") if name == "finfo" else ():
        assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-6)
    assert minigrad.finfo().max == minigrad.finfo(minigrad.float32).max


def test_limits_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="finfo: dtype is int64; expected a floating dtype, for others use iinfo"):
        minigrad.finfo(minigrad.int64)
    with pytest.raises(TypeError, match="iinfo: dtype is float32; expected an integer dtype, for others use finfo"):
        minigrad.iinfo(minigrad.float32)
    with pytest.raises(TypeError, match="float16 is not supported"):
        minigrad.finfo(minigrad.float16)
