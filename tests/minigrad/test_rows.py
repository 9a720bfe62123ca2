"""Row-wise gradients of embeddings: by value, on the tape in every combination with dense ones, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn
from minigrad.gradcheck import gradcheck
from minigrad.nn.utils import clip_grad_norm_, clip_grad_value_
from minigrad.rows import RowGradient

IDS = np.array([[4, 1, 4], [0, 1, 4]])


def table(V: int = 6, E: int = 3) -> nn.Parameter:
    return nn.Parameter(np.random.default_rng(1).standard_normal((V, E)))


def weights(shape: tuple[int, ...], seed: int = 0) -> mg.Tensor:
    return mg.Tensor(np.random.default_rng(seed).standard_normal(shape))


def use(param: Any, ids: np.ndarray = IDS, sparse: bool = True, seed: int = 0) -> mg.Tensor:
    """A scalar whose gradient with respect to each row read is a different one."""
    return (F.embedding(mg.Tensor(ids), param, sparse=sparse) * weights((*ids.shape, param.shape[1]), seed)).sum()


def test_by_hand() -> None:
    param = table()
    use(param).backward()
    c = weights((2, 3, 3)).array
    grad = param.grad
    assert isinstance(grad, RowGradient)
    assert grad.is_sparse
    assert not param.is_sparse
    assert (grad.shape, grad.dtype, grad.ndim, grad.dim(), grad.size(0)) == ((6, 3), np.float64, 2, 2, 6)
    assert grad.rows.dtype == np.int64
    np.testing.assert_array_equal(grad.rows, [0, 1, 4])
    np.testing.assert_allclose(grad.values, [c[1, 0], c[0, 1] + c[1, 1], c[0, 0] + c[0, 2] + c[1, 2]], atol=1e-15)
    dense = np.zeros((6, 3))
    dense[[0, 1, 4]] = grad.values
    np.testing.assert_array_equal(grad.to_dense().array, dense)
    np.testing.assert_array_equal(grad.numpy(), dense)
    assert repr(grad) == "RowGradient(3 rows of shape (6, 3), dtype=float64)"
    with pytest.raises(ValueError, match="read-only"):
        grad.array[0] = 1


@given(
    ids=st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=4),
    kinds=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_uses_of_one_table_add_up(ids: list[list[int]], kinds: list[bool]) -> None:
    """Each use row-wise or dense, in one backward or several: the sum is the dense one's; dense once it met one."""
    found, expected, apart = table(), table(), table()
    pairs = list(zip(ids, kinds, strict=False))
    for param, always_dense in ((found, False), (expected, True)):
        losses = [
            use(param, np.array(rows, int), sparse and not always_dense, seed)
            for seed, (rows, sparse) in enumerate(pairs)
        ]
        sum(losses[1:], losses[0]).backward()
    for seed, (rows, sparse) in enumerate(pairs):
        use(apart, np.array(rows, int), sparse, seed).backward()
    for param in (found, apart):
        assert param.grad.is_sparse == all(sparse for _, sparse in pairs)
        np.testing.assert_allclose(param.grad.array, expected.grad.array, rtol=1e-12, atol=1e-14)
    if found.grad.is_sparse:
        np.testing.assert_array_equal(found.grad.rows, sorted({row for rows in ids for row in rows}))


def test_equals_torch() -> None:
    torch = pytest.importorskip("torch")
    ours = nn.Embedding(6, 3, padding_idx=-2, sparse=True)
    theirs = torch.nn.Embedding(6, 3, padding_idx=-2, sparse=True)
    theirs.load_state_dict({"weight": torch.tensor(ours.weight.detach().numpy())})
    assert repr(ours) == repr(theirs) == "Embedding(6, 3, padding_idx=4, sparse=True)"
    for lib, layer in ((mg, ours), (torch, theirs)):
        for factor in (1.0, -3.0):
            (layer(lib.tensor(IDS)) * lib.arange(18).reshape(2, 3, 3).float() * factor).sum().backward()
    grad = theirs.weight.grad.coalesce()
    # PyTorch lists a padding row, with zeros; here it is not among the rows.
    listed = [row for row in grad.indices()[0].tolist() if row != 4]
    np.testing.assert_array_equal(ours.weight.grad.rows, listed)
    np.testing.assert_allclose(ours.weight.grad.array, grad.to_dense().numpy(), rtol=1e-6)


def test_retained_graphs_and_grad() -> None:
    param = table()
    loss = use(param) + use(param, np.array([2]), seed=3)
    (once,) = mg.autograd.grad(loss, [param], retain_graph=True)
    assert once.is_sparse
    assert param.grad is None
    loss.backward(retain_graph=True)
    first = param.grad.values.copy()
    np.testing.assert_array_equal(once.values, first)
    loss.backward()
    np.testing.assert_allclose(param.grad.values, 2 * first, rtol=1e-14)
    np.testing.assert_array_equal(once.values, first)  # its memory is its own
    (mixed,) = mg.autograd.grad(use(param) + (param * param).sum(), [param])
    np.testing.assert_allclose(mixed.array, 2 * param.array + (use_gradient(param)), rtol=1e-12)


def use_gradient(param: nn.Parameter) -> np.ndarray:
    fresh = nn.Parameter(param.array.copy())
    use(fresh, sparse=False).backward()
    return fresh.grad.array


def test_an_op_before_the_table_gets_a_dense_gradient() -> None:
    param = table()
    use(param * 2.0).backward()
    assert not param.grad.is_sparse
    np.testing.assert_allclose(param.grad.array, 2 * use_gradient(param), rtol=1e-14)


def test_gradients_against_differences() -> None:
    """Two row-wise uses and a dense one of a tied table, every entry of the Jacobian."""
    other = weights((4, 3))

    def tied(weight: mg.Tensor) -> mg.Tensor:
        embedded = F.embedding(mg.Tensor(IDS), weight, 3, sparse=True) * weights((2, 3, 3))
        again = F.embedding(mg.Tensor(np.array([2, 1])), weight, sparse=True) ** 2
        return embedded.sum() + again.sum() + F.linear(other, weight).exp().sum()

    assert gradcheck(tied, [table()], mode="jacobian")
    assert gradcheck(lambda w: F.embedding(mg.Tensor(IDS), w, sparse=True) ** 3, [table()], mode="jacobian")


def test_the_check_sees_a_lost_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same check with a gradient whose last row is missing fails."""
    right = RowGradient.dense_array

    def lost(self: RowGradient) -> np.ndarray:
        dense = right(self)
        dense[self.rows[-1]] = 0
        return dense

    monkeypatch.setattr(RowGradient, "dense_array", lost)
    report = gradcheck(lambda w: F.embedding(mg.Tensor(IDS), w, sparse=True), [table()], raise_exception=False)
    assert not report


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, float("inf")])
def test_clipping(norm_type: float) -> None:
    found, expected = [table(), nn.Parameter(np.ones(2))], [table(), nn.Parameter(np.ones(2))]
    for params, sparse in ((found, True), (expected, False)):
        (use(params[0], sparse=sparse) + (params[1] * params[1]).sum()).backward()
    norms = [clip_grad_norm_(params, 0.7, norm_type).item() for params in (found, expected)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-14)
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.grad.array, other.grad.array, rtol=1e-13)
        assert np.abs(other.grad.array).max() < 0.7
    for params in (found, expected):
        clip_grad_value_(params, 0.01)
    np.testing.assert_array_equal(found[0].grad.array, expected[0].grad.array)
    assert found[0].grad.is_sparse


def test_small_operations() -> None:
    param = table()
    use(param).backward()
    grad, values = param.grad, param.grad.values.copy()
    assert grad.detach() is grad
    assert grad.to(np.float32).dtype == np.float32
    np.testing.assert_array_equal(grad.clone().mul_(2.0).values, 2 * values)
    np.testing.assert_array_equal(grad.values, values)
    module = nn.Module()
    module.weight = param
    module.float()
    assert (param.dtype, param.grad.dtype) == (np.float32, np.float32)
    module.zero_grad(set_to_none=False)
    assert len(param.grad.rows) == 0
    np.testing.assert_array_equal(param.grad.array, np.zeros((6, 3)))
    with pytest.raises(ValueError, match="low is 1 and high 2; expected low <= 0 <= high"):
        grad.clamp_(1, 2)
    with pytest.raises(ValueError, match=r"rows has shape \(2,\) and values \(1, 3\)"):
        RowGradient(np.array([0, 1]), np.zeros((1, 3)), (6, 3))
