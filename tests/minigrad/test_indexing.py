"""Indices that mix integers, slices, masks and arrays: shapes, values and gradients as PyTorch has them."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad import Tensor

X = np.random.default_rng(1).standard_normal((2, 3, 4))
INDICES = {
    "number, slice, array": lambda t: (0, slice(None), t.tensor([0, 1, 1])),
    "number, slice, list": lambda t: (1, slice(None), [3, 0]),
    "array, slice, number": lambda t: (t.tensor([1, 0, 1]), slice(1, 3), 2),
    "number, array": lambda t: (0, t.tensor([2, 2])),
    "array, array": lambda t: (t.tensor([0, 1]), t.tensor([2, 0])),
    "array, slice, array": lambda t: (t.tensor([0, 1, 1]), slice(None), t.tensor([2, 0, 1])),
    "ellipsis, array": lambda t: (..., t.tensor([1, 3])),
    "number, ellipsis, array": lambda t: (1, ..., t.tensor([1, 3])),
    "none, number, slice, array": lambda t: (None, 1, slice(None), t.tensor([0, 2])),
    "mask, number": lambda t: (t.tensor([[True, False, True], [False, True, False]]), 1),
    "number, mask": lambda t: (1, t.tensor([True, False, True]), slice(None, 2)),
}


@pytest.mark.parametrize("name", INDICES)
def test_read_and_write(name):
    torch = pytest.importorskip("torch")
    ours, theirs = Tensor(X.copy(), requires_grad=True), torch.tensor(X, requires_grad=True)
    for t, x in ((minigrad, ours), (torch, theirs)):
        part = x[INDICES[name](t)]
        changed = x * 2
        changed[INDICES[name](t)] = (part * part).sum() if "array" in name or "list" in name else part * part
        ((part * part).sum() + (changed * changed).sum()).backward()
    assert ours[INDICES[name](minigrad)].shape == tuple(theirs[INDICES[name](torch)].shape)
    np.testing.assert_allclose(ours.grad.array, theirs.grad.numpy(), rtol=1e-12)


def test_a_number_is_picked_first_without_pytorch():
    picked = Tensor(X)[0, :, [0, 2]]
    np.testing.assert_array_equal(picked.array, X[0][:, [0, 2]])
