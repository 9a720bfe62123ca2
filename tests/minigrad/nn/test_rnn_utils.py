"""Padding, packing and reversing: by hand, round trips, and against PyTorch with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    reverse_sequence,
)

X = np.arange(24.0).reshape(4, 3, 2)  # (T, B, F)


@pytest.mark.parametrize("lengths", [[4, 3, 1], [1, 4, 2], [2, 2, 2]])
@pytest.mark.parametrize("batch_first", [False, True])
def test_pack_and_pad_equal_torch(twins: Any, dtype: str, lengths: list[int], batch_first: bool) -> None:
    ordered = lengths == sorted(lengths, reverse=True)

    def run(lib: Any, _: Any, x: Any) -> list[Any]:
        rnn = lib.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lib.torch.tensor(lengths), batch_first, enforce_sorted=ordered)
        padded, counts = rnn.pad_packed_sequence(packed, batch_first, padding_value=-1.0, total_length=5)
        indices = [i for i in (packed.sorted_indices, packed.unsorted_indices) if i is not None]
        integers = [packed.batch_sizes, counts, *indices]
        return [packed.data, padded, *(i.to(x.dtype) for i in integers)]

    twins.check(run, {"x": X.swapaxes(0, 1).copy() if batch_first else X}, dtype)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_sequences_of_unequal_length_equal_torch(twins: Any, dtype: str, batch_first: bool, side: str) -> None:
    def run(lib: Any, _: Any, a: Any, b: Any, c: Any) -> list[Any]:
        rnn = lib.nn.utils.rnn
        padded = rnn.pad_sequence([a, b, c], batch_first=batch_first, padding_value=2.5, padding_side=side)
        return [padded, rnn.pack_sequence([a, b, c], enforce_sorted=False).data]

    twins.check(run, {name: X[:length, 0] + length for name, length in (("a", 2), ("b", 4), ("c", 1))}, dtype)


def test_by_hand() -> None:
    x = mg.tensor([[1, 5], [2, 0], [3, 0]])
    packed = pack_padded_sequence(x, [3, 1])
    assert packed.data.tolist() == [1, 5, 2, 3]
    assert packed.batch_sizes.tolist() == [2, 1, 1]
    assert packed.sorted_indices is None
    swapped = pack_padded_sequence(x.flip(1), [1, 3], enforce_sorted=False)
    assert swapped.data.tolist() == [1, 5, 2, 3]
    assert swapped.sorted_indices.tolist() == [1, 0]
    padded, lengths = pad_packed_sequence(swapped, padding_value=9)
    assert padded.tolist() == [[5, 1], [9, 2], [9, 3]]
    assert lengths.tolist() == [1, 3]
    ids = pad_sequence([mg.tensor([4, 5]), mg.tensor([6])], batch_first=True, padding_value=1)
    assert ids.tolist() == [[4, 5], [6, 1]]
    assert pack_sequence([mg.tensor([4, 5]), mg.tensor([6])]).data.tolist() == [4, 6, 5]
    assert packed.to(mg.float64).data.dtype == np.float64
    assert isinstance(packed.to("cpu"), PackedSequence)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 2))
def test_round_trips(lengths: list[int], features: int) -> None:
    x = np.random.default_rng(0).normal(size=(5, len(lengths), features))
    mask = np.arange(5)[:, None] < lengths
    leaf = mg.tensor(x, requires_grad=True)
    padded, counts = pad_packed_sequence(pack_padded_sequence(leaf, lengths, enforce_sorted=False), total_length=5)
    np.testing.assert_array_equal(padded.detach().numpy(), x * mask[..., None])
    assert counts.tolist() == lengths
    (padded * mg.tensor(x)).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), x * mask[..., None])
    twice = reverse_sequence(reverse_sequence(mg.tensor(x), np.array(lengths)), np.array(lengths))
    np.testing.assert_array_equal(twice.numpy(), x)


def test_reverse_by_hand() -> None:
    x = mg.tensor([[[1.0], [4.0]], [[2.0], [5.0]], [[3.0], [6.0]]], requires_grad=True)
    y = reverse_sequence(x, np.array([3, 2]))
    np.testing.assert_array_equal(y.detach().numpy()[..., 0], [[3, 5], [2, 4], [1, 6]])
    (y[..., 0] * mg.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy()[..., 0], [[3, 20], [2, 10], [1, 30]])


def test_errors() -> None:
    x = mg.zeros(3, 2, 1)
    for lengths, message in [
        ([2, 3], "sorted in decreasing order"),
        ([3, 0], "expected 1 to 3"),
        ([4, 2], "expected 1 to 3"),
        ([3, 2, 1], "expected the batch size 2"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            pack_padded_sequence(x, lengths)
    with pytest.raises(ValueError, match=r"lengths has shape \(2,\) and dtype float64"):
        pack_padded_sequence(x, [1.0, 2.0])
    with pytest.raises(ValueError, match="total_length is 2; expected at least the longest length 3"):
        pad_packed_sequence(pack_padded_sequence(x, [3, 1]), total_length=2)


def test_one_tensor_is_its_entries() -> None:
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    padded = pad_sequence(x, batch_first=True)
    assert padded.tolist() == x.tolist()
    assert pack_sequence(x).batch_sizes.tolist() == [3, 3]
    (padded * mg.tensor([1.0, 2.0])).sum().backward()
    assert x.grad.tolist() == [[1.0, 2.0]] * 3


def test_the_order_that_is_undone_follows_from_the_order() -> None:
    x, lengths = mg.arange(12.0).reshape(3, 4), [1, 3, 2, 3]
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    made = PackedSequence(packed.data, packed.batch_sizes, packed.sorted_indices)
    assert made.unsorted_indices.tolist() == packed.unsorted_indices.tolist()
    for one, other in zip(pad_packed_sequence(made), pad_packed_sequence(packed), strict=True):
        assert one.tolist() == other.tolist()
    assert PackedSequence(packed.data, packed.batch_sizes).unsorted_indices is None
    assert isinstance(made.to(mg.float64), PackedSequence)
    assert made._replace(data=x).unsorted_indices is made.unsorted_indices
