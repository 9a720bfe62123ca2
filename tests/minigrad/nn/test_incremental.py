"""An LSTM that runs a few steps at a time equals the LSTM over the whole sequence: values, gradients and dropout."""

import itertools

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn, random
from minigrad.nn.utils.rnn import pack_padded_sequence

T, N, IN, H, L = 5, 3, 4, 6, 2


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def make_lstm(dropout=0.0, **options):
    minigrad.manual_seed(3)
    return nn.LSTM(IN, H, L, dropout=dropout, dtype=minigrad.float64, **options)


def sample_states(rng):
    return tuple(Tensor(rng.standard_normal((L, N, H)), requires_grad=True) for _ in range(2))


def packed_rows(lengths):
    """The step and the sequence of every packed row."""
    order = sorted(range(N), key=lambda n: -lengths[n])
    return np.array([(t, n) for t in range(T) for n in order if t < lengths[n]]).reshape(-1, 2).T


def in_steps(incremental, x, lengths, ends):
    """What ``step`` gives for the packed rows of the steps up to each of ``ends``."""
    rows = [int(np.minimum(lengths, end).sum()) for end in (0, *ends)]
    return [incremental.step(x[start:stop]) for start, stop in itertools.pairwise(rows)]


def gradients_of(lstm, x, hx, outputs, states):
    """Of everything, of a weighted sum of all results."""
    rng, leaves = np.random.default_rng(1), [x, *hx, *lstm.parameters()]
    for leaf in leaves:
        leaf.grad = None
    sum((t * Tensor(rng.standard_normal(t.shape))).sum() for t in (outputs, *states)).backward()
    return [leaf.grad.numpy().copy() for leaf in leaves]


@pytest.mark.parametrize("ends", [(1, 4, 5), (5,), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("lengths", [np.full(N, T), np.array([5, 2, 4]), np.array([0, 5, 2])], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_whole_sequence(rng, bias, lengths, ends):
    lstm, hx, rows = make_lstm(bias=bias), sample_states(rng), packed_rows(lengths)
    x = Tensor(rng.standard_normal((T, N, IN)), requires_grad=True)
    whole, states = lstm(x, hx, lengths=lengths)
    expected = gradients_of(lstm, x, hx, whole[tuple(rows)], states)
    incremental = nn.IncrementalLSTM(lstm, hx, lengths)
    ys = in_steps(incremental, x[tuple(rows)], lengths, ends)
    assert not any(y.requires_grad for y in ys)
    outputs, states = incremental.finish(x[tuple(rows)])
    for y in (np.concatenate([y.numpy() for y in ys]), outputs.detach().numpy()):
        np.testing.assert_array_equal(y, whole.detach().numpy()[tuple(rows)])
    for a, b in zip(gradients_of(lstm, x, hx, outputs, states), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_steps_are_a_sequence_too(rng):
    lstm, hx = make_lstm(), sample_states(rng)
    outputs, (h_n, c_n) = nn.IncrementalLSTM(lstm, hx, np.zeros(N, int)).finish(Tensor(np.zeros((0, IN))))
    assert outputs.shape == (0, H)
    np.testing.assert_array_equal(h_n.detach().numpy(), hx[0].detach().numpy())
    np.testing.assert_array_equal(c_n.detach().numpy(), hx[1].detach().numpy())


def test_dropout_between_layers_is_the_same_step_by_step_and_on_the_tape(rng):
    """The masks are those that the whole LSTM would draw at the same place of the stream."""
    lengths = np.array([5, 2, 4])
    lstm, hx = make_lstm(dropout=0.5), sample_states(rng)
    sequence = pack_padded_sequence(Tensor(rng.standard_normal((T, N, IN))), lengths, enforce_sorted=False)
    start = random.get_state()
    whole, _ = lstm(sequence, hx)
    random.set_state(start)
    incremental = nn.IncrementalLSTM(lstm, hx, lengths)
    ys = in_steps(incremental, sequence.data, lengths, range(1, T + 1))
    finished, _ = incremental.finish(sequence.data)
    np.testing.assert_array_equal(np.concatenate([y.numpy() for y in ys]), finished.detach().numpy())
    np.testing.assert_array_equal(finished.detach().numpy(), whole.data.detach().numpy())


def test_incremental_dropout_has_one_mask(rng):
    x = Tensor(rng.standard_normal((9, 4)), requires_grad=True)
    dropout = nn.IncrementalDropout(0.5, training=True)
    steps = [dropout.step(x[rows]) for rows in (slice(0, 2), slice(2, 2), slice(2, 9))]
    assert not any(step.requires_grad for step in steps)
    whole = dropout.finish(x)
    np.testing.assert_array_equal(np.concatenate([step.numpy() for step in steps]), whole.detach().numpy())
    assert 0 < (whole == 0).sum() < whole.numel()
    assert nn.IncrementalDropout(0.5, training=False).finish(x) is x


def test_refuses_what_cannot_come_step_by_step(rng):
    for options in ({"bidirectional": True}, {"batch_first": True}):
        with pytest.raises(ValueError, match="IncrementalLSTM: the LSTM is bidirectional or batch_first"):
            nn.IncrementalLSTM(nn.LSTM(2, 3, **options), sample_states(rng), np.full(N, T))
    incremental = nn.IncrementalLSTM(make_lstm(), sample_states(rng), np.array([5, 2, 4]))
    with pytest.raises(ValueError, match="expected whole steps"):
        incremental.step(Tensor(np.zeros((2, IN))))


def test_finishes_once_after_the_last_step(rng):
    lengths, x = np.array([5, 2, 4]), Tensor(rng.standard_normal((11, IN)))
    for ends in ((), (1, 4)):
        incremental = nn.IncrementalLSTM(make_lstm(), sample_states(rng), lengths)
        in_steps(incremental, x, lengths, ends)
        with pytest.raises(RuntimeError, match="finish comes before the last step or twice"):
            incremental.finish(x)
    incremental = nn.IncrementalLSTM(make_lstm(), sample_states(rng), lengths)
    in_steps(incremental, x, lengths, (T,))
    incremental.finish(x)
    with pytest.raises(RuntimeError, match="before the last step or twice"):
        incremental.finish(x)
