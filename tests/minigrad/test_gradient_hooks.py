"""Hooks on gradients and ``retain_grad``: by hand, against PyTorch, and what they leave alone."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn

Log = list[Any]


def replacing(t: Any, log: Log) -> Any:
    """Every use of a leaf arrives in one call, and what a hook returns goes on."""
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x.register_hook(lambda g: log.append(["first", g.tolist()]))
    x.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: log.append(["third", g.tolist()]))
    y = x * x
    y.retain_grad()
    y.register_hook(lambda g: log.append(["y", g.tolist()]))
    y.register_hook(lambda g: g * 10)
    (y * 3 + x + x * y).sum().backward(retain_graph=True)
    return x.grad, y.grad


def removing(t: Any, log: Log) -> Any:
    x = t.ones(2, requires_grad=True)
    y = x * 3
    handle = y.register_hook(lambda g: log.append("y"))
    with x.register_hook(lambda g: g * 5):
        y.sum().backward(retain_graph=True)
    handle.remove()
    handle.remove()
    y.sum().backward()
    return x.grad


def in_place(t: Any, log: Log) -> Any:
    """A hook belongs to the former value, a kept gradient to the present one."""
    x = t.ones(3, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: log.append(g.tolist()))
    y[0] = 5 * x[1]
    y.mul_(2)
    (y * t.tensor([1.0, 2.0, 3.0])).sum().backward()
    log.append(y.retains_grad)
    return x.grad, y.grad


def order(t: Any, log: Log) -> Any:
    """From the loss back; a leaf as soon as all of its uses have been."""
    x = t.ones(2, requires_grad=True)
    w = t.ones(2, requires_grad=True)
    a = w * 2
    b = a * x * a
    for name, tensor in {"w": w, "a": a, "b": b}.items():
        tensor.register_hook(lambda g, name=name: log.append(name))
    b.sum().backward()
    return w.grad


def leaf_as_output(t: Any, log: Log) -> Any:
    x = t.ones(2, requires_grad=True)
    x.register_hook(lambda g: g * 3)
    x.backward(t.ones(2))
    x.retain_grad()
    log.append([x.retains_grad, (x * 2).retains_grad])
    t.autograd.backward([x, x * 2], [t.ones(2), t.ones(2)])
    return x.grad


def without_grad_fields(t: Any, log: Log) -> Any:
    x, other = t.ones(2, requires_grad=True), t.ones(2, requires_grad=True)
    x.register_hook(lambda g: g * 3)
    other.register_hook(lambda g: log.append("other"))
    return t.autograd.grad((x * other + x).sum(), [x])[0]


def one_of_several_outputs(t: Any, log: Log) -> Any:
    x = t.tensor([3.0, 1.0, 2.0], requires_grad=True)
    values, _ = x.sort()
    _, rest = values.split([1, 2])
    rest.register_hook(lambda g: g * 4)
    (rest * rest).sum().backward()
    return x.grad


CASES = [
    replacing, removing, in_place, order, leaf_as_output, without_grad_fields, one_of_several_outputs,
]  # fmt: skip


def outcome(t: Any, case: Callable[[Any, Log], Any]) -> tuple[Log, list[Any]]:
    log: Log = []
    found = case(t, log)
    return log, [g.tolist() for g in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("case", CASES)
def test_equal_to_pytorch(case: Callable) -> None:
    torch = pytest.importorskip("torch")
    assert outcome(minigrad, case) == outcome(torch, case)


def test_by_hand() -> None:
    log, grads = outcome(minigrad, replacing)
    assert log == [["y", [4.0, 5.0, 6.0]], ["first", [82.0, 205.0, 370.0]], ["third", [164.0, 410.0, 740.0]]]
    assert grads == [[164.0, 410.0, 740.0], [40.0, 50.0, 60.0]]
    assert outcome(minigrad, removing) == (["y"], [[18.0, 18.0]])


def test_a_hook_that_changes_its_gradient_in_place_changes_no_other() -> None:
    """Adding hands one array to both of its inputs."""
    x, y = minigrad.ones(2, requires_grad=True), minigrad.ones(2, requires_grad=True)
    x.register_hook(lambda g: g.mul_(7))
    (x + y).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([7.0, 7.0], [1.0, 1.0])


def test_an_output_that_is_not_used_calls_no_hook() -> None:
    x, calls = minigrad.tensor([3.0, 1.0], requires_grad=True), []
    values, _ = x.sort()
    first, rest = values.split([1, 1])
    first.register_hook(calls.append)
    rest.sum().backward()
    assert not calls


def test_kept_gradients_add_up_and_stay_what_they_were() -> None:
    x = minigrad.ones(3, requires_grad=True)
    seen: Log = []
    x.register_hook(seen.append)
    y = x * 2
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert y.grad.tolist() == [8.0] * 3
    assert [g.tolist() for g in seen] == [[8.0] * 3] * 2
    x.grad.zero_()
    assert seen[0].tolist() == [8.0] * 3


def test_an_assignment_does_not_write_into_what_a_hook_has_kept() -> None:
    x, seen = minigrad.ones(2, requires_grad=True), []
    outputs = minigrad.zeros(2, 2)
    for t in range(2):
        outputs[t] = x * (t + 1)
        if t == 1:
            outputs.register_hook(seen.append)
    outputs.sum().backward()
    assert seen[0].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert x.grad.tolist() == [3.0, 3.0]


def test_rows_arrive_as_rows_or_dense_beside_something_dense() -> None:
    table, seen = nn.Embedding(5, 2, sparse=True), []
    table.weight.register_hook(seen.append)
    ids = minigrad.tensor([1, 3])
    (table(ids).sum() + table(ids[:1]).sum()).backward()
    assert seen[0].is_sparse
    assert table.weight.grad.to_dense().tolist() == [[0, 0], [2, 2], [0, 0], [1, 1], [0, 0]]
    table.weight.grad = None
    (table(ids).sum() + table.weight.sum() * 3).backward()
    assert not seen[1].is_sparse
    assert table.weight.grad[:, 0].tolist() == [3, 4, 3, 4, 3]
    table.weight.register_hook(lambda g: g.to_dense() * 2)
    table.weight.grad = None
    table(ids).sum().backward()
    assert table.weight.grad[:, 0].tolist() == [0, 2, 0, 2, 0]


def test_hooks_and_kept_gradients_hold_no_graph_alive() -> None:
    x = minigrad.ones(2, requires_grad=True)
    gc.disable()
    try:
        y = x * 2
        y.retain_grad()
        handle = y.register_hook(lambda g: None)
        gone = weakref.ref(y)
        y.sum().backward()
        del y
        assert gone() is None
        handle.remove()
    finally:
        gc.enable()


def test_a_hook_may_remove_itself_and_go_backward_itself() -> None:
    x, inner = minigrad.ones(2, requires_grad=True), minigrad.ones(1, requires_grad=True)
    calls: Log = []

    def once(grad: Any) -> None:
        calls.append(grad.tolist())
        handle.remove()
        (inner * 4).sum().backward()

    handle = x.register_hook(once)
    for _ in range(2):
        (x * 3).sum().backward()
    assert calls == [[3.0, 3.0]]
    assert inner.grad.tolist() == [4.0]


def test_a_copied_parameter_has_no_hooks() -> None:
    layer, calls = nn.Linear(2, 1), []
    layer.weight.register_hook(calls.append)
    again = copy.deepcopy(layer)
    again(minigrad.ones(1, 2)).sum().backward()
    assert not calls
    np.testing.assert_array_equal(again.weight.grad.numpy(), [[1, 1]])


def test_mistakes() -> None:
    x = minigrad.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="register_hook: the tensor requires no gradient"):
        minigrad.ones(2).register_hook(lambda g: g)
    with pytest.raises(RuntimeError, match="retain_grad: the tensor requires no gradient"):
        minigrad.ones(2).retain_grad()
    with pytest.raises(TypeError, match="register_hook: hook is 3; expected a function"):
        x.register_hook(3)

    def wrong(grad: Any) -> Any:
        return returned

    x.register_hook(wrong)
    returned: Any = 3
    with pytest.raises(TypeError, match=r"wrong returned 3; expected a tensor or None"):
        (x * 2).sum().backward()
    returned = minigrad.ones(3)
    with pytest.raises(RuntimeError, match=r"returned a gradient of shape \(3,\); expected \(2,\)"):
        (x * 2).sum().backward()
    returned = minigrad.ones(2, dtype=minigrad.float64)
    (x * 2).sum().backward()
    assert x.grad.dtype == minigrad.float32
