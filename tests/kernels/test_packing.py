"""Packed rows: where tokens and states lie, there and back."""

import numpy as np
import pytest

from kernels.packing import pack_lengths


def test_ragged_batch():
    packing = pack_lengths(np.array([2, 0, 3, 2]), 4, 4)
    assert packing.order.tolist() == [2, 0, 3, 1]  # longest first, stable
    assert packing.steps[:, 2].tolist() == [3, 3, 1]
    assert packing.num_tokens == 7
    assert packing.rows.tolist() == [2, 0, 3, 6, 4, 7, 10]
    padded = np.arange(16.0).reshape(4, 4, 1)
    tokens = packing.pack(padded)
    assert tokens.ravel().tolist() == [2, 0, 3, 6, 4, 7, 10]
    assert packing.unpack(tokens).ravel().tolist() == [0, 0, 2, 3, 4, 0, 6, 7, 0, 0, 10, 0, 0, 0, 0, 0]


def test_states():
    packing = pack_lengths(np.array([2, 0, 3]), 3, 3)
    states = packing.state_buffer(np.array([[10.0], [11], [12]]))
    states[3:, 0] = [0, 1, 2, 3, 4]
    assert packing.previous_states(states).ravel().tolist() == [12, 10, 0, 1, 2]
    assert packing.last_states(states).ravel().tolist() == [3, 11, 4]
    slices = [(states[p : p + n, 0].tolist(), states[s : s + n, 0].tolist()) for p, s, n in packing.steps]
    assert slices == [([12, 10], [0, 1]), ([0, 1], [2, 3]), ([2], [4])]


@pytest.mark.parametrize("lengths", [None, np.full(4, 3)], ids=["none", "equal"])
def test_a_batch_without_padding_is_not_copied(lengths):
    packing = pack_lengths(lengths, 3, 4)
    padded = np.arange(24.0).reshape(3, 4, 2)
    assert np.shares_memory(packing.pack(padded), padded)
    assert np.shares_memory(packing.unpack(packing.pack(padded)), padded)
    assert packing.num_tokens == 12


@pytest.mark.parametrize(("T", "lengths"), [(0, [0, 0]), (3, []), (3, [0, 0])])
def test_batches_without_tokens(T, lengths):
    packing = pack_lengths(np.array(lengths, np.int64), T, len(lengths))
    states = packing.state_buffer(np.ones((len(lengths), 2)))
    assert packing.num_tokens == 0
    np.testing.assert_array_equal(packing.last_states(states), np.ones((len(lengths), 2)))
    assert packing.unpack(np.zeros((0, 5))).shape == (T, len(lengths), 5)
