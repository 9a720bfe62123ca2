"""A fused LSTM with each term of its backward broken in turn: the checker must notice every one."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from minigrad import ops
from minigrad.gradcheck import GradcheckError, gradcheck
from minigrad.tensor import Tensor

T, N, H = 4, 3, 2
NAMES = ["x", "h0", "c0", "weight_ih", "weight_hh", "bias_ih", "bias_hh"]
GRADIENTS = ["dx", "dh0", "dc0", "dweight_ih", "dweight_hh", "dbias"]


def arguments() -> list[Tensor]:
    rng = np.random.default_rng(0)
    shapes = [(T, N, H + 1), (N, H), (N, H), (4 * H, H + 1), (4 * H, H), (4 * H,), (4 * H,)]
    return [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


def layer(*tensors: Tensor) -> tuple:
    return ops.lstm_layer(*tensors, lengths=np.array([4, 2, 3]))


def change(monkeypatch, gradient: str, function) -> None:
    """Replace one result of the kernel's backward by ``function`` of it."""
    right = kernels.lstm_backward

    def wrong(*args):
        results = dict(zip(GRADIENTS, right(*args), strict=True))
        results[gradient] = function(results[gradient])
        return tuple(results.values())

    monkeypatch.setattr(kernels, "lstm_backward", wrong)


def without_step(t):
    def function(dx):
        dx = dx.copy()
        dx[t] = 0
        return dx

    return function


def swap_blocks(a: int, b: int):
    """Gates in another order: blocks a and b exchanged."""

    def function(d):
        blocks = np.split(d, 4)
        blocks[a], blocks[b] = blocks[b], blocks[a]
        return np.concatenate(blocks)

    return function


def transposed_block(d):
    return np.concatenate([d[:H].T, d[H:]])


BROKEN = [
    *((gradient, "factor", lambda d: d * 1.001) for gradient in GRADIENTS),
    *((gradient, "zero", np.zeros_like) for gradient in GRADIENTS),
    ("dx", "first step lost", without_step(0)),
    ("dx", "last step lost", without_step(T - 1)),
    ("dx", "steps shifted by one", lambda d: np.roll(d, 1, axis=0)),
    ("dx", "rows exchanged", lambda d: d[:, ::-1]),
    ("dh0", "of another row", lambda d: d[::-1]),
    ("dweight_ih", "gates i f exchanged", swap_blocks(0, 1)),
    ("dweight_hh", "gates g o exchanged", swap_blocks(2, 3)),
    ("dweight_hh", "block transposed", transposed_block),
    ("dbias", "gates f g exchanged", swap_blocks(1, 2)),
]


@pytest.mark.parametrize(("gradient", "kind", "function"), BROKEN, ids=[f"{g}-{k}" for g, k, _ in BROKEN])
def test_a_broken_term_fails_and_is_named(monkeypatch, gradient, kind, function):
    change(monkeypatch, gradient, function)
    report = gradcheck(layer, arguments(), names=NAMES, raise_exception=False)
    failed = {row.name for row in report.rows if not row.passed}
    assert failed == {"bias_ih", "bias_hh"} if gradient == "dbias" else failed == {gradient[1:]}


def test_states_exchanged(monkeypatch):
    """dh0 and dc0 in each other's place: same shapes, so only values can tell."""
    right = kernels.lstm_backward

    def wrong(*args):
        dx, dh0, dc0, *rest = right(*args)
        return dx, dc0, dh0, *rest

    monkeypatch.setattr(kernels, "lstm_backward", wrong)
    with pytest.raises(GradcheckError):
        gradcheck(layer, arguments(), names=NAMES)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_an_ignored_output_gradient_fails(monkeypatch, output):
    right = kernels.lstm_backward

    def wrong(*args):
        incoming = list(args[:3])
        incoming[output] = None
        return right(*incoming, *args[3:])

    monkeypatch.setattr(kernels, "lstm_backward", wrong)
    with pytest.raises(GradcheckError):
        gradcheck(layer, arguments(), names=NAMES)


def test_the_unbroken_layer_passes(count_case):
    gradcheck(layer, arguments(), names=NAMES)
    gradcheck(layer, arguments(), names=NAMES, mode="jacobian")
    count_case()
