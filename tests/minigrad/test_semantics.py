"""Where the meaning of a call has corners: ties, indexing, sizes, views, printing. PyTorch is the reference."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad.tensor import Tensor

TIES = [[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [5.0, -1.0, 5.0, 5.0]]

VALUES = {
    "max along": lambda t, x: x.max(1)[0],
    "index of max along": lambda t, x: x.max(dim=1).indices,
    "min along": lambda t, x: x.min(0, keepdim=True).values,
    "index of min along": lambda t, x: x.min(0)[1],
    "max of all": lambda t, x: x.max(),
    "max of two": lambda t, x: t.max(x, t.tensor([2.0, 2.0, 2.0, 2.0], dtype=t.float64)),
    "argmax": lambda t, x: x.argmax(),
    "argmax along": lambda t, x: x.argmax(1),
    "argmax kept": lambda t, x: x.argmax(dim=-1, keepdim=True),
    "argmin along": lambda t, x: x.argmin(0),
    "topk values": lambda t, x: x.topk(2)[0],
    "topk of the smallest": lambda t, x: x.topk(3, dim=0, largest=False).values,
    "topk of distinct ones": lambda t, x: t.arange(6).topk(3)[1],
    "sorted values": lambda t, x: x.sort(descending=True)[0],
    "sum of truths": lambda t, x: (x > 0).sum(),
    "sum of integers along": lambda t, x: x.long().sum(0),
    "mean along two": lambda t, x: x.mean((0, 1), keepdim=True),
    "var": lambda t, x: x.var(1),
    "var biased": lambda t, x: x.var(0, unbiased=False),
    "std": lambda t, x: x.std(),
    "norm": lambda t, x: x.norm(),
    "norm 1 along": lambda t, x: x.norm(1, 1),
    "norm inf": lambda t, x: x.norm(float("inf")),
    "cumsum": lambda t, x: x.cumsum(0),
    "any and all": lambda t, x: t.stack([(x > 4).any(), (x > 4).all(), (x > -9).all()]),
    "any along": lambda t, x: (x > 2).any(1),
    "logsumexp": lambda t, x: t.logsumexp(x * 1000, 1),
    "softmax of large numbers": lambda t, x: t.softmax(x * 1000, dim=-1),
    "masked_fill": lambda t, x: x.masked_fill(x == 0, float("-inf")),
    "where of numbers": lambda t, x: t.where(x > 1, x, t.zeros_like(x)),
    "clamp below": lambda t, x: x.clamp(min=1),
    "integer index": lambda t, x: x[-1],
    "two integers": lambda t, x: x[1, 2],
    "slice": lambda t, x: x[1:, ::2],
    "ellipsis and None": lambda t, x: x[..., None, 1],
    "list": lambda t, x: x[[2, 0, 2]],
    "index tensor": lambda t, x: x[t.tensor([[0, 1], [2, 2]])],
    "two index tensors": lambda t, x: x[t.tensor([0, 1, 2]), t.tensor([3, 0, 1])],
    "index tensor and slice": lambda t, x: x[t.tensor([2, 1]), 1:3],
    "slice and index tensor": lambda t, x: x[:, t.tensor([3, 3])],
    "mask": lambda t, x: x[x > 2],
    "mask of rows": lambda t, x: x[t.tensor([True, False, True])],
    "0-d tensor as index": lambda t, x: x[t.tensor(1)],
    "gather": lambda t, x: x.gather(1, t.tensor([[0, 0], [3, 1], [2, 2]])),
    "index_select": lambda t, x: x.index_select(1, t.tensor([3, 0])),
    "reshape with -1": lambda t, x: x.reshape(2, -1),
    "view": lambda t, x: x.view(-1, 2, 3),
    "view by name": lambda t, x: x.view(size=(2, 6)),
    "flatten one dimension is no copy": lambda t, x: t.tensor(x.flatten(1) is x and x.flatten(0, 1) is not x),
    "squeeze nothing": lambda t, x: x.squeeze(0),
    "squeeze all": lambda t, x: x[:1, None].squeeze(),
    "unsqueeze last": lambda t, x: x.unsqueeze(-1),
    "flatten the end": lambda t, x: x[None].flatten(1),
    "transpose": lambda t, x: x.transpose(0, 1),
    "T": lambda t, x: x.T,
    "permute": lambda t, x: x[None].permute(2, 0, 1),
    "expand": lambda t, x: x[:, None].expand(-1, 2, 4),
    "repeat": lambda t, x: x.repeat(2, 1, 2),
    "chunk unevenly": lambda t, x: t.cat([c * i for i, c in enumerate(x.chunk(3, dim=1))], 1),
    "split by sizes": lambda t, x: x.split([1, 3], dim=1)[1],
    "flip": lambda t, x: x.flip(0, 1),
    "stack last": lambda t, x: t.stack([x, x * 2], dim=-1),
    "matmul of a vector": lambda t, x: x @ x[0],
    "bmm": lambda t, x: t.bmm(x[None], x.T[None]),
    "integer powers": lambda t, x: (-x) ** 3,
    "power of a number": lambda t, x: 2**x,
    "number over tensor": lambda t, x: 1 / (x + 10),
    "number minus tensor": lambda t, x: 1 - x,
    "floor division": lambda t, x: x // 2,
    "remainder": lambda t, x: (-x) % 3,
    "not": lambda t, x: ~(x > 1),
    "and": lambda t, x: (x > 0) & (x < 4),
    "integer division": lambda t, x: x.long() / 2,
}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_and_dtypes_equal_torch(name):
    torch = pytest.importorskip("torch")
    result = VALUES[name](minigrad, minigrad.tensor(TIES, dtype=minigrad.float64))
    expected = VALUES[name](torch, torch.tensor(TIES, dtype=torch.float64))
    assert str(expected.dtype) == f"torch.{result.dtype}"
    assert result.shape == tuple(expected.shape)
    np.testing.assert_allclose(result.array, expected.numpy(), rtol=1e-14)


GRADIENTS = {
    "max along takes one of the ties": lambda t, x: x.max(1)[0],
    "max of all shares": lambda t, x: x.max(),
    "amax shares": lambda t, x: x.amax(1),
    "amin shares": lambda t, x: x.amin(0, keepdim=True),
    "maximum halves": lambda t, x: t.maximum(x, x.flip(1)),
    "relu at 0": lambda t, x: t.relu(x),
    "abs at 0": lambda t, x: x.abs(),
    "clamp at its limits": lambda t, x: x.clamp(0, 3),
    "norm at 0": lambda t, x: x[1].norm(),
    "power 0": lambda t, x: x**0,
    "power 2 at 0": lambda t, x: x**2,
    "square root": lambda t, x: (x + 2).sqrt(),
    "repeated index": lambda t, x: x[t.tensor([0, 0, 2])] * t.tensor([[1.0], [2.0], [3.0]], dtype=t.float64),
    "repeated gather": lambda t, x: x.gather(1, t.tensor([[0, 0], [3, 3], [1, 2]])),
    "expanded": lambda t, x: x[:, :1].expand(3, 4) * x,
    "float32 and back": lambda t, x: x.float().exp().double(),
}


@pytest.mark.parametrize("name", sorted(GRADIENTS))
def test_gradients_at_corners_equal_torch(name):
    torch = pytest.importorskip("torch")
    gradients = []
    for t in (minigrad, torch):
        x = t.tensor(TIES, dtype=t.float64, requires_grad=True)
        y = GRADIENTS[name](t, x)
        (y * t.arange(1, y.numel() + 1).reshape(y.shape)).sum().backward()
        gradients.append(np.asarray(x.grad.detach().numpy()))
    np.testing.assert_allclose(*gradients, rtol=1e-6)


def test_ties_without_torch():
    x = minigrad.tensor(TIES, requires_grad=True)
    values, indices = x.max(1)
    assert indices.tolist() == [1, 0, 0]
    values.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    assert minigrad.tensor(TIES).topk(2)[1].tolist() == [[1, 2], [0, 1], [0, 2]]


def test_views_share_memory_and_copies_do_not():
    x = minigrad.zeros(2, 3)
    for view in (x[0], x.reshape(6), x.view(3, 2), x.T, x.unsqueeze(0), x.detach(), x.data, x.expand(4, 2, 3)):
        assert np.shares_memory(view.array, x.array)
    for copy in (x.clone(), x[[0, 1]], x[x == 0], x.flip(0), x * 1, minigrad.cat([x])):
        assert not np.shares_memory(copy.array, x.array)


@pytest.mark.parametrize("counts", [(1,), (3,), (1, 1), (2, 1)])
def test_what_is_repeated_is_a_copy_also_where_nothing_moves(counts):
    x = minigrad.ones(1, requires_grad=True)
    repeated = x.repeat(*counts)
    assert not np.may_share_memory(repeated.array, x.array)
    repeated[...] = repeated * 5  # each element for itself, and none of x
    assert x.tolist() == [1]
    repeated.sum().backward()
    assert x.grad.tolist() == [5 * np.prod(counts)]


def test_sizes():
    x = minigrad.zeros(2, 0, 3)
    assert (x.size(), x.size(-1), x.shape, x.dim(), x.ndim, x.numel(), len(x)) == ((2, 0, 3), 3, (2, 0, 3), 3, 3, 0, 2)
    assert [row.shape for row in minigrad.zeros(2, 3)] == [(3,), (3,)]
    assert minigrad.zeros(2, 3).T.is_contiguous() is False
    assert minigrad.zeros(2, 3).T.contiguous().is_contiguous() is True


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.item(), r"shape \(2, 3\) cannot be converted to a scalar"),
        (lambda x: bool(x), r"truth of a tensor of shape \(2, 3\) is ambiguous"),
        (lambda x: x.requires_grad_().numpy(), r"use detach\(\)\.numpy\(\)"),
        (lambda x: x.view(4, 2), r"shape \(4, 2\) cannot hold 6 elements"),
        (lambda x: x.T.view(6), "needs a copy"),
        (lambda x: x.topk(4), "k is 4; expected 0 to 3"),
        (lambda x: x[:0].max(0), "no elements"),
        (lambda x: x.long().mean(), "expected a floating dtype"),
        (lambda x: x.split([1, 1], 1), "do not add up to 3"),
    ],
)
def test_runtime_errors_say_what_is_wrong(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(minigrad.zeros(2, 3))


@pytest.mark.parametrize("call", [lambda x: x[2], lambda x: x[0, 3], lambda x: x.sum(2), lambda x: x[[5]]])
def test_indices_out_of_range(call):
    with pytest.raises(IndexError):
        call(minigrad.zeros(2, 3))


REPRS = {
    "integers": lambda t: t.tensor([[1, 2], [3, 4]]),
    "truths": lambda t: t.tensor([True, False]),
    "halves": lambda t: t.tensor([0.5, -1.5]),
    "float64": lambda t: t.tensor([0.25], dtype=t.float64),
    "a scalar": lambda t: t.tensor(3.5),
    "a leaf": lambda t: t.tensor([0.5], requires_grad=True),
}


@pytest.mark.parametrize("name", sorted(REPRS))
def test_repr_equals_torch_up_to_digits(name):
    torch = pytest.importorskip("torch")

    def normalised(tensor) -> str:
        text = repr(tensor).replace("torch.", "").replace("0000", "").replace(" ", "")
        return text.replace("000", "").replace("00,", ",").replace("00]", "]").replace("00)", ")")

    assert normalised(REPRS[name](minigrad)) == normalised(REPRS[name](torch))


def test_repr_shows_what_recorded_it():
    assert "grad_fn=<Exp" in repr(minigrad.exp(minigrad.zeros(1, requires_grad=True)))
    assert f"{minigrad.tensor(1.23456):.2f}" == "1.23"


def test_equality_is_elementwise_and_tensors_are_hashable():
    x = Tensor(np.arange(3))
    assert (x == x).tolist() == [True, True, True]
    assert (x != 1).tolist() == [True, False, True]
    assert len({x, x, Tensor(np.arange(3))}) == 2
    assert 2 in x
    assert 5 not in x
