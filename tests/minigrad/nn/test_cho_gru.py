"""Cho's GRU as a module: against its equations step by step, in every layout that a recurrent layer takes."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn.utils.rnn import delay_sequence, pack_padded_sequence, pad_packed_sequence


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_hand(module, x, h, suffix):
    """One layer and direction over one sentence (T, I)."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (getattr(module, name + suffix).array for name in names)
    (u_r, u_z, u_n), states = np.split(w_hh, 3), []
    for token in x:
        a_r, a_z, a_n = np.split(w_ih @ token + b_ih + b_hh, 3)
        r, z = sigmoid(a_r + u_r @ h), sigmoid(a_z + u_z @ h)
        h = (1 - z) * np.tanh(a_n + u_n @ (r * h)) + z * h
        states.append(h)
    return np.array(states).reshape(len(x), len(h))


def test_layers_and_directions_step_by_step():
    mg.manual_seed(0)
    module, lengths = nn.ChoGRU(3, 4, 2, bidirectional=True).double(), np.array([4, 1, 3])
    x = mg.randn(4, 3, 3, dtype=mg.float64)
    y, h_n = module(x, lengths=lengths)
    for n, length in enumerate(lengths):
        rows = x.array[:length, n]
        for layer in range(2):
            ahead = by_hand(module, rows, np.zeros(4), f"_l{layer}")
            back = by_hand(module, rows[::-1], np.zeros(4), f"_l{layer}_reverse")[::-1]
            rows = np.concatenate([ahead, back], axis=1)
            np.testing.assert_allclose(h_n.array[2 * layer, n], ahead[-1], atol=1e-14)
            np.testing.assert_allclose(h_n.array[2 * layer + 1, n], back[0], atol=1e-14)
        np.testing.assert_allclose(y.array[:length, n], rows, atol=1e-14)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_is_padded(bidirectional):
    mg.manual_seed(1)
    module, lengths = nn.ChoGRU(3, 4, bidirectional=bidirectional), [2, 4, 1]
    x = mg.randn(4, 3, 3)
    packed, last = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
    y, h_n = module(x, lengths=lengths)
    np.testing.assert_array_equal(pad_packed_sequence(packed)[0].array, y.array)
    np.testing.assert_array_equal(last.array, h_n.array)


def test_it_is_another_function_than_the_gru():
    mg.manual_seed(2)
    cho, gru = nn.ChoGRU(3, 4), nn.GRU(3, 4)
    gru.load_state_dict(cho.state_dict())
    x = mg.randn(5, 2, 3)
    assert np.abs(cho(x)[0].array - gru(x)[0].array).max() > 1e-3


@pytest.mark.parametrize("lengths", [[2, 4, 1], [3, 3, 3]])
def test_a_delayed_sequence_is_a_step_behind(lengths):
    rng = np.random.default_rng(3)
    x, first = (mg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((4, 3, 2), (3, 2)))
    delayed = pad_packed_sequence(delay_sequence(pack_padded_sequence(x, lengths, enforce_sorted=False), first))[0]
    expected = mg.cat([first.unsqueeze(0), x])[: max(lengths)]
    alive = np.arange(max(lengths))[:, None] < np.array(lengths)
    np.testing.assert_array_equal(delayed.array, np.where(alive[:, :, None], expected.array, 0))
    assert mg.gradcheck(
        lambda x, first: delay_sequence(pack_padded_sequence(x, lengths, enforce_sorted=False), first).data, (x, first)
    )
