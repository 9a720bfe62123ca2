"""In-place changes: what is refused, what shares memory, and what an assignment does to dtypes and leaves."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad import Tensor

X = np.random.default_rng(0).standard_normal((3, 4))


def leaf() -> Tensor:
    return Tensor(X.copy(), requires_grad=True)


@pytest.mark.parametrize(
    "change", [lambda x: x.__setitem__(0, 1.0), lambda x: x.add_(1), lambda x: x.zero_(), lambda x: x.mul_(2)]
)
def test_a_leaf_that_requires_grad_cannot_be_changed(change):
    x = leaf()
    with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
        change(x)
    np.testing.assert_array_equal(x.array, X)
    with minigrad.no_grad():
        change(x)
    assert not np.array_equal(x.array, X)
    assert x.is_leaf


@pytest.mark.parametrize("take", [lambda x: x[0], lambda x: x.reshape(-1), lambda x: x.transpose(0, 1)])
def test_a_view_of_a_leaf_that_requires_grad_cannot_be_changed(take):
    x = leaf()
    with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
        take(x)[1] = 3.0
    np.testing.assert_array_equal(x.array, X)


def test_an_expanded_tensor_cannot_be_changed():
    y = (leaf() * 2)[0].expand(3, 4)
    with pytest.raises(RuntimeError, match="expanded tensor: its elements share memory"):
        y[0] = 1.0


def test_a_view_taken_before_an_assignment_is_refused_afterwards():
    y = leaf() * 2
    view = y[0]
    y[1] = 0.0
    with pytest.raises(RuntimeError, match="view was taken before an in-place assignment"):
        view * 2
    np.testing.assert_array_equal((y[0] * 2).array, 4 * X[0])


def test_a_view_of_a_constant_taken_before_a_recorded_assignment_is_refused_too():
    outputs = minigrad.zeros(3, 4, dtype=minigrad.float64)
    view = outputs[0]
    outputs[0] = leaf()[0] * 2
    with pytest.raises(RuntimeError, match="view was taken before an in-place assignment"):
        view + 1


CHANGED_AFTER_USE = {
    "the output of exp": lambda t, x: (y := t.exp(x), y.__setitem__(0, 1.0))[0],
    "a factor": lambda t, x: (a := x * 1, a * a, a.__setitem__(0, 1.0))[1],
    "the state of the step before": lambda t, x: carry(t, x),
    "through detach": lambda t, x: (y := t.exp(x), y.detach().__setitem__(0, 1.0))[0],
    "by an operator": lambda t, x: (y := t.tanh(x), y * 1, y.add_(1))[1],
}


def carry(t, x):
    """Each step multiplies what the step before wrote: the product has saved memory that the next step changes."""
    outputs = t.ones(4, 4, dtype=t.float64)
    for i in range(3):
        outputs[i + 1] = outputs[i] * x[i]
    return outputs


@pytest.mark.parametrize("kind", sorted(CHANGED_AFTER_USE))
def test_a_saved_tensor_changed_before_backward_is_noticed(kind):
    result = CHANGED_AFTER_USE[kind](minigrad, leaf())
    with pytest.raises(RuntimeError, match="saved for its gradient was changed in place"):
        result.sum().backward()


@pytest.mark.parametrize("kind", sorted(CHANGED_AFTER_USE))
def test_torch_refuses_the_same(kind):
    torch = pytest.importorskip("torch")
    result = CHANGED_AFTER_USE[kind](torch, torch.tensor(X, requires_grad=True))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_a_wrong_shape_is_refused():
    outputs = minigrad.zeros(2, 3)
    with pytest.raises((RuntimeError, ValueError), match=r"\(4,\)|4"):
        outputs[0] = minigrad.ones(4)


def test_data_changes_values_without_the_tape():
    x = leaf()
    y = x * x
    x.data[0] = 1.0
    x.data.mul_(2.0)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)


def test_the_update_of_a_training_loop():
    w = leaf()
    (w * w).sum().backward()
    with minigrad.no_grad():
        w -= 0.25 * w.grad
    assert w.is_leaf
    assert w.requires_grad
    np.testing.assert_allclose(w.array, X / 2, rtol=1e-15)


def test_the_largest_may_be_changed_in_place():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    top = (x * 1).max()
    top *= 2
    top.backward()
    np.testing.assert_array_equal(x.grad.array, [0.0, 2.0])


def test_single_elements_are_views():
    x = minigrad.zeros(4)
    x[2].fill_(5)
    for element in x[:2]:
        element.fill_(2.0)
    x.data[3].fill_(7.0)
    assert x.tolist() == [2.0, 2.0, 5.0, 7.0]
    bias = minigrad.nn.Linear(2, 2).bias
    with minigrad.no_grad():
        bias[0].fill_(3.0)
    assert bias[0].item() == 3.0


def test_a_stale_view_stays_stale_after_a_change_without_the_tape():
    y = leaf() * 1
    view = y[0]
    y.mul_(2)
    with minigrad.no_grad():
        view.mul_(1)
    with pytest.raises(RuntimeError, match="view was taken before an in-place assignment"):
        view.sum()


@pytest.mark.parametrize("change", [lambda x: x.mul_(1.5), lambda x: x.__iadd__(0.5), lambda x: x.__itruediv__(2)])
def test_integers_cannot_hold_floats(change):
    x = minigrad.arange(4)
    with pytest.raises(RuntimeError, match="result has dtype float32, which a tensor of int64 cannot hold"):
        change(x)
    assert x.tolist() == [0, 1, 2, 3]


def test_detach_in_place_leaves_the_tape():
    y = leaf() * 2
    assert y.detach_() is y
    assert y.is_leaf
    assert not y.requires_grad


@pytest.mark.parametrize("shape", [(2,), (2, 2), (1, 3), (1,)])
def test_the_gradient_of_data_of_a_wider_shape_is_summed(shape):
    """As in PyTorch, which adds up what broadcasting would have stretched."""
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    y = x.sum()
    y.data = minigrad.ones(*shape)
    (y * 3).sum().backward()
    assert x.grad.tolist() == [3.0 * np.prod(shape)] * 2


def test_the_gradient_of_data_of_a_shape_that_does_not_fit_is_refused():
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.data = minigrad.ones(3)
    with pytest.raises(RuntimeError, match=r"Mul.backward returned a gradient of shape \(3,\); expected \(2,\)"):
        (y * 3).sum().backward()
