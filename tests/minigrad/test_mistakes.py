"""What backward, the random stream and files are given by mistake is named in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import autograd, nn, optim, random
from minigrad.rows import RowGradient

X = minigrad.ones(2, requires_grad=True)
WRONG = {"None": None, "an array of shape (2,) and dtype float64": np.ones(2), "'abc'": "abc", "3.5": 3.5}


def message_of(call: Callable[[], Any]) -> str:
    with pytest.raises(TypeError) as caught:
        call()
    text = str(caught.value)
    assert "expected" in text
    assert "NoneType" not in text
    return text


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_walked_back_from_and_to(kind: str) -> None:
    wrong, loss = WRONG[kind], (X * 2).sum()
    for owner in (wrong, [wrong], (X, wrong)):
        message_of(lambda owner=owner: autograd.backward(owner))
        message_of(lambda owner=owner: autograd.grad(owner, X))
        message_of(lambda owner=owner: autograd.grad(loss, owner))
    assert message_of(lambda: autograd.grad([loss, wrong], X)).startswith(
        f"grad: outputs[1] is {kind}; expected a tens"
    )
    assert message_of(lambda: autograd.grad(loss, [wrong])).startswith(f"grad: inputs[0] is {kind}; expected a tensor")


@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "None"])
def test_the_gradients_to_start_from(kind: str) -> None:
    message_of(lambda: autograd.backward(X * 2, WRONG[kind]))
    message_of(lambda: autograd.grad(X * 2, X, [WRONG[kind]]))
    assert message_of(lambda: autograd.backward([X * 2], [])).startswith(
        "backward: the gradients are a list of 0; expected 1"
    )


@pytest.mark.parametrize("wrong", [None, 3.5, "3", [1], np.ones(2, int)])
def test_seeds_and_states(wrong: Any) -> None:
    assert message_of(lambda: minigrad.manual_seed(wrong)).startswith("manual_seed: seed is ")
    assert message_of(lambda: random.seed_step(1, wrong)).startswith("manual_seed: step is ")
    assert message_of(lambda: random.set_state(wrong)).startswith("set_state: state is ")
    minigrad.manual_seed(np.int64(3))
    assert random.get_state() == (3, 0, 0)


@pytest.mark.parametrize("kind", ["None", "an array of shape (2,) and dtype float64", "3.5"])
def test_paths_and_norms(kind: str) -> None:
    assert message_of(lambda: minigrad.load(WRONG[kind])) == f"load: path is {kind}; expected the name of a file"
    assert message_of(lambda: minigrad.save({}, WRONG[kind])) == f"save: path is {kind}; expected the name of a file"
    if kind != "3.5":
        assert message_of(lambda: optim.SGD(nn.Linear(1, 1).parameters()).step_clipped(WRONG[kind])).startswith(
            "SGD: max_"
        )


@pytest.mark.parametrize("make", [minigrad.ones, lambda *shape: nn.Parameter(minigrad.ones(*shape))])
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (minigrad.ones(3), RuntimeError, r"grad: got shape \(3,\) .*expected \(2, 3\)"),  # which would broadcast
        (minigrad.ones(2, 3, dtype=minigrad.float64), RuntimeError, "dtype float64; .*float32"),
        (RowGradient(np.array([0]), np.ones((1, 3), np.float32), (4, 3)), RuntimeError, r"got shape \(4, 3\)"),
        (np.ones((2, 3), np.float32), TypeError, "ndarray; expected a tensor or None"),
    ],
)  # fmt: skip
def test_a_gradient_that_is_set_is_one_of_the_tensor(make: Any, wrong: Any, error: Any, message: str) -> None:
    tensor = make(2, 3).requires_grad_()
    with pytest.raises(error, match=message):
        tensor.grad = wrong
    assert tensor.grad is None
    tensor.grad = minigrad.ones(2, 3)
    tensor.sum().backward()
    assert tensor.grad.tolist() == [[2, 2, 2], [2, 2, 2]]
    tensor.grad = None
