"""What the op table cannot say about the fused ops: padding, masks, integer arguments that change before backward."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad import ops, random
from minigrad.tensor import Tensor

RNG = np.random.default_rng(0)
TABLE, LOGITS = RNG.standard_normal((5, 3)), RNG.standard_normal((4, 3))


def leaf(array: np.ndarray) -> Tensor:
    return Tensor(array.copy(), requires_grad=True)


def test_the_padding_row_gets_no_gradient_and_the_others_theirs():
    weight = leaf(TABLE)
    ids = Tensor(np.array([[1, 0, 1], [0, 4, 0]]))
    weights = RNG.standard_normal((2, 3, 3))
    (ops.embedding(weight, ids, padding_idx=0) * Tensor(weights)).sum().backward()
    expected = np.zeros_like(TABLE)
    expected[1], expected[4] = weights[0, 0] + weights[0, 2], weights[1, 1]
    np.testing.assert_allclose(weight.grad.array, expected, rtol=1e-14)
    np.testing.assert_array_equal(ops.embedding(weight, ids, padding_idx=0).array, TABLE[ids.array])


def test_ignored_rows_cost_nothing_whatever_their_logits():
    logits = LOGITS.copy()
    logits[2] = np.nan
    x = leaf(logits)
    losses = ops.cross_entropy(x, Tensor(np.array([0, 2, -100, 1])))
    assert losses.array[2] == 0
    losses.sum().backward()
    np.testing.assert_array_equal(x.grad.array[2], 0)
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    for row, target in ((0, 0), (1, 2), (3, 1)):
        np.testing.assert_allclose(x.grad.array[row], probabilities[row] - np.eye(3)[target], rtol=1e-12)


def test_large_logits_do_not_overflow():
    x = leaf(np.array([[1e4, -1e4, 0.0]]))
    losses = ops.cross_entropy(x, Tensor(np.array([1])))
    losses.sum().backward()
    np.testing.assert_allclose(losses.array, [2e4])
    np.testing.assert_allclose(x.grad.array, [[1.0, -1.0, 0.0]])


def test_padding_in_a_layer_changes_nothing_and_gets_nothing():
    rng = np.random.default_rng(1)
    shapes = [(4, 2, 3), (2, 2), (2, 2), (8, 3), (8, 2), (8,), (8,)]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    spoiled = [a.copy() for a in arrays]
    spoiled[0][2:, 1] = np.nan
    gradients = []
    for values in (arrays, spoiled):
        inputs = [leaf(a) for a in values]
        y, h_n, c_n = ops.lstm_layer(*inputs, lengths=Tensor(np.array([4, 2])))
        np.testing.assert_array_equal(y.array[2:, 1], 0)
        np.testing.assert_array_equal(y.array[[3, 1], [0, 1]], h_n.array)
        (y.sum() + h_n.sum() + c_n.sum()).backward()
        np.testing.assert_array_equal(inputs[0].grad.array[2:, 1], 0)
        gradients.append([x.grad.array for x in inputs])
    for clean, dirty in zip(*gradients, strict=True):
        np.testing.assert_array_equal(clean, dirty)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_mean_and_backward_uses_the_same_mask(p):
    minigrad.manual_seed(5)
    x = leaf(np.ones(20_000))
    y = ops.dropout(x, p)
    kept = y.array != 0
    assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / 20_000)
    np.testing.assert_allclose(y.array[kept], 1 / (1 - p))
    minigrad.rand(3)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, y.array)


def test_every_dropout_draws_another_mask_and_a_step_draws_its_own_again():
    x = Tensor(np.ones(100))
    random.seed_step(1, 4)
    first, second = ops.dropout(x, 0.5).array, ops.dropout(x, 0.5).array
    assert not np.array_equal(first, second)
    random.seed_step(1, 4)
    np.testing.assert_array_equal(ops.dropout(x, 0.5).array, first)
    random.seed_step(1, 5)
    assert not np.array_equal(ops.dropout(x, 0.5).array, first)


def test_dropout_at_its_limits():
    x = leaf(np.ones(4))
    assert ops.dropout(x, 0.0).array.tolist() == [1.0] * 4
    y = ops.dropout(x, 1.0)
    y.sum().backward()
    assert y.array.tolist() == x.grad.tolist() == [0.0] * 4


INTEGER_ARGUMENTS = {
    "ids of embedding": lambda x, i: ops.embedding(x, i),
    "targets of cross_entropy": lambda x, i: ops.cross_entropy(x, i),
    "index of getitem": lambda x, i: x[i],
    "index of gather": lambda x, i: x.gather(0, i.reshape(-1, 1)),
    "index of index_select": lambda x, i: x.index_select(0, i),
    "index of an assignment": lambda x, i: assigned(x, i),
    "condition of where": lambda x, i: ops.where((i > 0).reshape(-1, 1), x, x * 2),
    "lengths of lstm_layer": lambda x, i: layer(x, i),
}


def assigned(x: Tensor, index: Tensor) -> Tensor:
    result = minigrad.zeros(4, 3, dtype=minigrad.float64)
    result[index] = x * x
    return result


def layer(x: Tensor, lengths: Tensor) -> Tensor:
    rng = np.random.default_rng(2)
    state, weights = Tensor(np.ones((4, 1))), [Tensor(rng.standard_normal((4, size))) for size in (1, 1)]
    return ops.lstm_layer(x.T.unsqueeze(-1), state, state, *weights, lengths=lengths)[0]


def gradient_unless_refused(y: Tensor, x: Tensor) -> np.ndarray | None:
    """d (weighted sum of y) / dx, or None where backward notices a change."""
    weights = Tensor(np.arange(1.0, y.numel() + 1).reshape(y.shape))
    try:
        (y * weights).sum().backward()
    except RuntimeError as error:
        if "changed in place" not in str(error):
            raise
        return None
    return x.grad.array


@pytest.mark.parametrize("name", sorted(INTEGER_ARGUMENTS))
def test_an_integer_argument_changed_before_backward_never_spoils_a_gradient(name):
    """As a loop does that writes the next input into the same tensor: a right gradient, or an error."""
    gradients = []
    for later in ([2, 0, 1, 1], [0, 1, 2, 0]):
        x, argument = leaf(LOGITS), Tensor(np.array([2, 0, 1, 1]))
        y = INTEGER_ARGUMENTS[name](x, argument)
        if later != argument.tolist():
            argument[:] = Tensor(np.array(later))
        gradients.append(gradient_unless_refused(y, x))
    assert gradients[0] is not None
    if gradients[1] is not None:
        np.testing.assert_array_equal(*gradients)
