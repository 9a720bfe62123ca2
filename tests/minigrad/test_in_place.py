"""Assignment on the tape: right gradients where it is allowed, a clear error where the tape forbids it.

The scenarios are written once for a namespace ``t`` and run with minigrad and with PyTorch.
"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad.tensor import Tensor

X = np.random.default_rng(0).standard_normal((3, 4))


def fill_in_a_loop(t, x):
    outputs = t.zeros(3, 4, dtype=t.float64)
    for i in range(3):
        outputs[i] = t.exp(x[i]) * (i + 1)
    return outputs


def leave_places_out(t, x):
    outputs = t.zeros(5, 4, dtype=t.float64)
    for i in range(1, 4):
        outputs[i] = x[i - 1] * x[i - 1]
    return outputs


def assign_the_same_place_again(t, x):
    outputs = t.ones(2, 4, dtype=t.float64)
    outputs[0] = x[0] * 2
    outputs[0] = x[1] * 3
    outputs[0, 1:3] = x[2, 1:3]
    return outputs


def assign_a_broadcast_value(t, x):
    outputs = t.zeros(2, 3, 4, dtype=t.float64)
    outputs[0] = x[1]
    outputs[1, :, 1] = x[2, 0]
    return outputs


def assign_by_mask(t, x):
    outputs = x * 2
    outputs[x > 0] = x[0, 0] * 5
    return outputs


def assign_values_by_mask(t, x):
    outputs = x * 2
    mask = x > 0
    outputs[mask] = t.exp(x)[mask]
    return outputs


def assign_by_index_array(t, x):
    outputs = x * 2
    outputs[t.tensor([2, 0])] = t.exp(x[:2])
    return outputs


def assign_one_element(t, x):
    outputs = x * 1
    outputs[1, 2] = x[0, 0] * x[2, 3]
    return outputs


def assign_a_tensor_of_one_element(t, x):
    outputs = t.zeros(3, dtype=t.float64)
    outputs[1] = x[0, :1] * 3
    return outputs


def assign_a_number(t, x):
    outputs = x * 2
    outputs[1] = 7.0
    outputs[:, 0] = 0
    return outputs


def assign_with_steps(t, x):
    outputs = x * 2
    outputs[::2, ..., 1:] = t.exp(x[1, 1:])
    return outputs


def read_before_and_after(t, x):
    outputs = x * 1
    before = outputs[0] + x[1]
    outputs[0] = x[2] * 4
    return before + outputs[0] * 10


def read_from_another_place(t, x):
    outputs = x * 1
    outputs[1] = outputs[0] * 2
    outputs[2] = outputs[1] + outputs[0]
    return outputs


def use_the_value_elsewhere_too(t, x):
    outputs = t.zeros(2, 4, dtype=t.float64)
    value = x[0] * 3
    outputs[1] = value
    return outputs.sum() + (value * value).sum()


def operators_in_place(t, x):
    y = x * 2
    y += x
    y -= 1
    y *= 3
    y /= 7
    return y * y


def factors_that_require_gradients(t, x):
    y = x * 2
    y *= x[0] + 3
    y /= t.exp(x[1])
    return y


def methods_in_place(t, x):
    y = x * 2
    y.add_(x)
    y.mul_(0.5)
    z = x * 1
    z.clamp_(-0.5, 0.5)
    w = x * 3
    w.fill_(2.0)
    v = x * 3
    v.copy_(t.exp(x))
    u = x * 3
    u.zero_()
    return y + z + w + v + u


def change_a_part(t, x):
    y = x * 2
    y[1] = y[1] + x[0]
    y[:, 1] = y[:, 1] * 5
    return y


def grow_a_state(t, x):
    states = t.zeros(4, 4, dtype=t.float64)
    state = x[0] * 0
    for i in range(3):
        state = t.tanh(state + x[i])
        states[i + 1] = state
    return states * states


def through_a_reshape_afterwards(t, x):
    outputs = t.zeros(3, 4, dtype=t.float64)
    outputs[1] = x[1] * x[1]
    return outputs[1:].reshape(-1) * 2


def add_to_a_part(t, x):
    y = x * 2
    y[0] += x[1] * x[2]
    y[:, 1] *= 3
    return y


def assign_to_a_row(t, x):
    y = x * 2
    row = y[1]
    row[:2] = x[0, :2] * 3
    return y * row


def assign_to_a_reshaped_temporary(t, x):
    flat = (x * 2).reshape(-1)
    flat[x.reshape(-1) > 0] = -1.0
    flat[3] = x[0, 0] * x[1, 1]
    return flat


def assign_to_a_transpose(t, x):
    y = x * 2
    turned = y.transpose(0, 1)
    turned[1] = x[:, 0] * 5
    return y * t.exp(turned.transpose(0, 1))


def assign_to_a_view_of_a_view(t, x):
    y = x * 2
    part = y[1:].unsqueeze(0)[0, 1]
    part[2] = x[0, 0] * x[0, 1]
    return y


def assign_to_a_row_of_a_constant(t, x):
    outputs = t.zeros(3, 4, dtype=t.float64)
    row = outputs[1]
    row[:] = x[0] * 2
    return outputs + row


def change_single_elements(t, x):
    y = x * 2
    y[1, 2].mul_(x[0, 0])
    y[0][3].fill_(5.0)
    y.view(-1)[4].zero_()
    return y


def read_a_single_element_after_a_change(t, x):
    y = x * 2
    y[0] *= 3
    first = y.view(-1)[0]
    return y * first


def unary_methods_in_place(t, x):
    y = x * 2
    y.tanh_()
    z = (x * x + 1).sqrt_()
    w = (x * 2).neg_().exp_()
    return y + z + w + (x * 1).relu_() + (x * 3).sigmoid_() + (x * 1).pow_(3)


def scatter_in_place(t, x):
    y = x * 2
    y.scatter_(1, t.tensor([[0, 2], [1, 3], [2, 0]]), x[:, :2] * x[:, 2:])
    return y


def activations_in_place(t, x):
    y = x * 2
    z = t.nn.functional.relu(y, inplace=True)
    w = x * 3
    t.nn.LeakyReLU(0.1, inplace=True)(w)
    return y + z + w


def mask_squeezed_scores(t, x):
    scores = (x * 2).unsqueeze(2).squeeze(2)
    scores.masked_fill_(x > 0.5, -2.0)
    return t.softmax(scores, 1)


SCENARIOS = [
    fill_in_a_loop,
    leave_places_out,
    assign_the_same_place_again,
    assign_a_broadcast_value,
    assign_by_mask,
    assign_values_by_mask,
    assign_by_index_array,
    assign_one_element,
    assign_a_tensor_of_one_element,
    assign_a_number,
    assign_with_steps,
    read_before_and_after,
    read_from_another_place,
    use_the_value_elsewhere_too,
    operators_in_place,
    factors_that_require_gradients,
    methods_in_place,
    change_a_part,
    grow_a_state,
    through_a_reshape_afterwards,
    add_to_a_part,
    assign_to_a_row,
    assign_to_a_reshaped_temporary,
    assign_to_a_transpose,
    assign_to_a_view_of_a_view,
    assign_to_a_row_of_a_constant,
    mask_squeezed_scores,
    change_single_elements,
    read_a_single_element_after_a_change,
    unary_methods_in_place,
    scatter_in_place,
    activations_in_place,
]
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)


@each_scenario
def test_gradients_are_right(scenario, count_case):
    minigrad.gradcheck(lambda x: scenario(minigrad, x), Tensor(X.copy(), requires_grad=True))
    count_case()


@each_scenario
def test_values_and_gradients_equal_torch(scenario):
    torch = pytest.importorskip("torch")
    ours, theirs = Tensor(X.copy(), requires_grad=True), torch.tensor(X, requires_grad=True)
    result, expected = scenario(minigrad, ours), scenario(torch, theirs)
    np.testing.assert_allclose(result.array, expected.detach().numpy(), rtol=1e-14)
    (result * result).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(ours.grad.array, theirs.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_an_assigned_constant_joins_the_tape():
    outputs = minigrad.zeros(2, 3)
    assert not outputs.requires_grad
    outputs[0] = minigrad.ones(3, requires_grad=True) * 2
    assert outputs.requires_grad
    assert not outputs.is_leaf


def test_values_are_cast_to_the_target():
    outputs = minigrad.zeros(2)
    x = Tensor(np.array([1.5]), requires_grad=True)
    outputs[:1] = x * 2
    outputs.sum().backward()
    assert outputs.dtype == np.float32
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad.array, [2.0])
