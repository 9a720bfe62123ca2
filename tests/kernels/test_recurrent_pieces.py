"""An LSTM layer whose input comes in pieces equals the layer over the whole sequence."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import reference
from tests.kernels.conftest import LSTM


def in_pieces(backend, inputs, lengths, cuts):
    """y, h_n, c_n and the cache of a layer fed from cut to cut; the y of every piece must be that of the whole."""
    x = inputs["x"]
    weights = [inputs[name] for name in ("h0", "c0", "weight_ih", "weight_hh", "bias")]
    run = backend.lstm_start(*weights, len(x), lengths)
    pieces = [backend.lstm_continue(x[a:b], a, run) for a, b in itertools.pairwise(cuts)]
    y, h_n, c_n, cache = backend.lstm_finish(run)
    assert np.array_equal(np.concatenate(pieces), y)
    return (y, h_n, c_n), cache


@pytest.mark.parametrize("backend", [kernels, reference], ids=["cpu", "reference"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_equals_the_whole_sequence(backend, data):
    T, N = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N).map(np.array))
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, T - 1))) if T > 1 else []), T]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    inputs = LSTM.sample(rng, T, N, 3, 4)
    whole, whole_cache = LSTM.forward(backend, inputs, lengths)
    outputs, cache = in_pieces(backend, inputs, lengths, cuts)
    for name, got in zip(LSTM.outputs, outputs, strict=True):
        assert np.array_equal(got, whole[name]), name
    grad_outputs = LSTM.sample_gradients(rng, inputs)
    expected, got = (LSTM.backward(backend, grad_outputs, kept) for kept in (whole_cache, cache))
    for name in LSTM.inputs:
        assert np.array_equal(got[name], expected[name]), name


def test_errors(rng):
    inputs = LSTM.sample(rng, 3, 2, 4, 5)
    weights = [inputs[name] for name in ("h0", "c0", "weight_ih", "weight_hh", "bias")]
    run = kernels.lstm_start(*weights, 3)
    with pytest.raises(ValueError, match=r"lstm_continue: x has shape \(1, 2, 3\); expected \(S, N, I\) = \(1, 2, 4\)"):
        kernels.lstm_continue(np.zeros((1, 2, 3)), 0, run)
    with pytest.raises(ValueError, match=r"lstm_continue: x has shape \(2, 2, 4\); expected whole steps from 2 to 3"):
        kernels.lstm_continue(inputs["x"][:2], 2, run)
    with pytest.raises(ValueError, match="lstm_continue: start is 4; expected a value in"):
        kernels.lstm_continue(inputs["x"][:1], 4, run)
    with pytest.raises(TypeError, match="lstm_continue: x has dtype float32; expected float64 as run"):
        kernels.lstm_continue(inputs["x"].astype(np.float32), 0, run)
    with pytest.raises(ValueError, match="lstm_start: num_steps is -1"):
        kernels.lstm_start(*weights, -1)
    with pytest.raises(ValueError, match="lstm_start: lengths holds 4"):
        kernels.lstm_start(*weights, 3, np.array([4, 1]))
