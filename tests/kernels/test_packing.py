"""Packed rows: where tokens and states lie."""

import numpy as np
import pytest

from kernels.packing import equal_lengths, pack_lengths


def test_ragged_batch():
    packing = pack_lengths(np.array([2, 0, 3, 2]))
    assert packing.order.tolist() == [2, 0, 3, 1]  # longest first, stable
    assert packing.steps[:, 2].tolist() == [3, 3, 1]
    assert (packing.num_tokens, packing.num_steps, packing.batch_size) == (7, 3, 4)
    assert packing.rows.tolist() == [2, 0, 3, 6, 4, 7, 10]
    assert [packing.tokens_before(step) for step in range(4)] == [0, 3, 6, 7]
    assert [packing.stop(1, count) for count in (0, 1, 3, 4, 5)] == [1, -1, 2, 3, -1]


def test_states():
    packing = pack_lengths(np.array([2, 0, 3]))
    states = packing.state_buffer(np.array([[10.0], [11], [12]]))
    states[3:, 0] = [0, 1, 2, 3, 4]
    assert packing.previous_states(states).ravel().tolist() == [12, 10, 0, 1, 2]
    assert packing.last_states(states).ravel().tolist() == [3, 11, 4]
    slices = [(states[p : p + n, 0].tolist(), states[s : s + n, 0].tolist()) for p, s, n in packing.steps]
    assert slices == [([12, 10], [0, 1]), ([0, 1], [2, 3]), ([2], [4])]


def test_rows_of_one_length_need_no_index():
    packing = equal_lengths(3, 4)
    assert pack_lengths(np.full(4, 3)) is packing
    assert packing.order is packing.rows is packing.previous is packing.last is None
    assert (packing.num_tokens, packing.num_steps, packing.batch_size) == (12, 3, 4)
    assert packing.steps.tolist() == [[0, 4, 4], [4, 8, 4], [8, 12, 4]]


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_batches_without_tokens(lengths):
    packing = pack_lengths(np.array(lengths, np.int64))
    states = packing.state_buffer(np.ones((len(lengths), 2)))
    assert packing.num_tokens == 0
    np.testing.assert_array_equal(packing.last_states(states), np.ones((len(lengths), 2)))


def test_walking_back():
    """As many tokens as ever, and states in the order of the walk; rows that start at a step have initial states."""
    packing = pack_lengths(np.array([2, 0, 3]), reverse=True)
    states = packing.state_buffer(np.array([[10.0], [11], [12]]))
    assert packing.tokens.tolist() == [4, 2, 0]
    assert [packing.tokens_before(step) for step in range(4)] == [0, 1, 3, 5]
    for number, (token, (before, after, alive)) in enumerate(zip(packing.tokens, packing.steps, strict=True)):
        if number == 1:  # the second sequence in sorted order starts here
            assert states[before : before + alive, 0].tolist() == [4, 10]
        states[after : after + alive, 0] = np.arange(token, token + alive)
    assert packing.previous_states(states).ravel().tolist() == [2, 3, 4, 10, 12]
    assert packing.next_states(states).ravel().tolist() == [0, 1, 2, 3, 4]
    assert packing.last_states(states).ravel().tolist() == [1, 11, 0]


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_walking_back_without_tokens(lengths):
    packing = pack_lengths(np.array(lengths, np.int64), reverse=True)
    states = packing.state_buffer(np.ones((len(lengths), 2)))
    assert packing.num_tokens == 0
    np.testing.assert_array_equal(packing.last_states(states), np.ones((len(lengths), 2)))
