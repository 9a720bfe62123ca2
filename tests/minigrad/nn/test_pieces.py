"""An LSTM fed in pieces equals the LSTM over the whole sequence: values, gradients and dropout."""

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn, random


@pytest.fixture
def rng():
    return np.random.default_rng(7)


LENGTHS = np.array([5, 2, 4])


def make_lstm(dropout=0.0, **options):
    minigrad.manual_seed(3)
    return nn.LSTM(4, 6, 2, dropout=dropout, dtype=minigrad.float64, **options)


def sample_states(rng):
    return tuple(Tensor(rng.standard_normal((2, 3, 6)), requires_grad=True) for _ in range(2))


def backward_of(lstm, outputs, states, weights):
    """Gradients of everything, of a weighted sum of all results."""
    tensors = (outputs, *states)
    loss = sum((t * Tensor(w)).sum() for t, w in zip(tensors, weights, strict=True))
    for parameter in lstm.parameters():
        parameter.grad = None
    loss.backward()
    return [parameter.grad.numpy().copy() for parameter in lstm.parameters()]


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_whole_sequence(rng, lengths, bias):
    lstm, x = make_lstm(bias=bias), rng.standard_normal((5, 3, 4))
    weights = [rng.standard_normal(shape) for shape in ((5, 3, 6), (2, 3, 6), (2, 3, 6))]
    hx = sample_states(rng)
    whole_x, pieces_x = (Tensor(x, requires_grad=True) for _ in range(2))
    outputs, states = lstm(whole_x, hx, lengths=lengths)
    expected = [*backward_of(lstm, outputs, states, weights), whole_x.grad.numpy(), hx[0].grad.numpy()]
    hx[0].grad = None
    pieces = nn.StackInPieces(lstm, hx, 5, lengths)
    ys = [pieces.extend(x[a:b]) for a, b in ((0, 1), (1, 4), (4, 5))]
    outputs, states = pieces.finish(pieces_x)
    assert np.array_equal(np.concatenate(ys), outputs.detach().numpy())
    got = [*backward_of(lstm, outputs, states, weights), pieces_x.grad.numpy(), hx[0].grad.numpy()]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_between_layers_is_the_same_in_pieces_and_on_the_tape(rng):
    """The masks are those that the whole LSTM would draw at the same place of the stream."""
    lstm, x = make_lstm(dropout=0.5), rng.standard_normal((5, 3, 4))
    hx = sample_states(rng)
    start = random.get_state()
    outputs, _ = lstm(Tensor(x), hx)
    random.set_state(start)
    pieces = nn.StackInPieces(lstm, hx, 5)
    ys = [pieces.extend(x[t : t + 1]) for t in range(5)]
    finished, _ = pieces.finish(Tensor(x))
    assert np.array_equal(np.concatenate(ys), finished.detach().numpy())
    np.testing.assert_array_equal(finished.detach().numpy(), outputs.detach().numpy())


def test_refuses_what_cannot_come_in_pieces(rng):
    with pytest.raises(ValueError, match="StackInPieces: the LSTM is bidirectional or batch_first"):
        nn.StackInPieces(nn.LSTM(2, 3, bidirectional=True), sample_states(rng), 4)
