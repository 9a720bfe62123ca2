"""A layer with prepacked weights and without a backward has the numbers of the layer itself, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import reference
from kernels.packing import equal_lengths, pack_lengths
from tests.kernels.conftest import GRU, LSTM, counts_of, pack, packing_of


@pytest.mark.parametrize("module", [kernels, reference], ids=["cpu", "reference"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_equals_the_forward(module, data):
    T, N = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 5))
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N).map(lambda n: np.array(n, int)))
    dtype, bf16 = data.draw(st.sampled_from([(np.float64, False), (np.float32, False), (np.float32, True)]))
    inputs = LSTM.sample(np.random.default_rng(data.draw(st.integers(0, 99))), T, N, 3, 4, dtype)
    if data.draw(st.booleans()):
        inputs["bias"] = None
    packing, inputs["x"] = packing_of(inputs["x"], lengths), pack(inputs["x"], counts_of(inputs["x"], lengths))
    *expected, _ = module.lstm_forward(**inputs, packing=packing, bf16=bf16)
    x, h0, c0, *weights = inputs.values()
    packed = module.prepack_lstm(*weights, bf16)
    for weight in weights:
        if weight is not None:
            weight[:] = 7  # what was packed is a copy
    for got, want in zip(module.lstm_states(x, h0, c0, packed, packing), expected, strict=True):
        assert (got.dtype, got.shape, got.tobytes()) == (dtype, want.shape, want.tobytes())


@pytest.mark.parametrize("module", [kernels, reference], ids=["cpu", "reference"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_gru_equals_its_forward(module, data):
    T, N = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 5))
    lengths = np.array(data.draw(st.lists(st.integers(0, T), min_size=N, max_size=N)), int)
    dtype, bf16 = data.draw(st.sampled_from([(np.float64, False), (np.float32, False), (np.float32, True)]))
    inputs = GRU.sample(np.random.default_rng(data.draw(st.integers(0, 99))), T, N, 3, 4, dtype)
    if data.draw(st.booleans()):
        inputs["bias_ih"] = inputs["bias_hh"] = None
    inputs["x"] = pack(inputs["x"], counts_of(inputs["x"], lengths))
    packing = pack_lengths(lengths, data.draw(st.booleans()))
    *expected, _ = module.gru_forward(**inputs, packing=packing, bf16=bf16)
    x, h0, *weights = inputs.values()
    packed = module.prepack_gru(*weights, bf16)
    for weight in weights:
        if weight is not None:
            weight[:] = 7  # what was packed is a copy
    for got, want in zip(module.gru_states(x, h0, packed, packing), expected, strict=True):
        assert (got.dtype, got.shape, got.tobytes()) == (dtype, want.shape, want.tobytes())


def test_errors_of_a_gru(rng):
    x, h0, weight_ih, weight_hh, bias_ih, bias_hh = GRU.sample(rng, 3, 2, 4, 5).values()
    with pytest.raises(ValueError, match="prepack_gru: bias_hh is None but the other bias is not"):
        kernels.prepack_gru(weight_ih, weight_hh, bias_ih, None)
    with pytest.raises(ValueError, match=r"prepack_gru: weight_hh has shape \(14, 5\); expected \(3H, H\) = \(15, 5\)"):
        kernels.prepack_gru(weight_ih, weight_hh[1:], bias_ih, bias_hh)
    weights = kernels.prepack_gru(weight_ih, weight_hh, bias_ih, bias_hh)
    with pytest.raises(ValueError, match=r"gru_states: x has shape \(6, 3\); .* weights.input_size 4"):
        kernels.gru_states(x.reshape(6, 4)[:, 1:], h0, weights, equal_lengths(3, 2))


def test_non_contiguous_arguments(rng):
    inputs = LSTM.sample(rng, 3, 2, 4, 5)
    inputs["x"] = inputs["x"].reshape(6, 4)
    *expected, _ = kernels.lstm_forward(**inputs, packing=equal_lengths(3, 2))
    x, h0, c0, *weights = (np.asfortranarray(array) for array in inputs.values())
    found = kernels.lstm_states(x, h0, c0, kernels.prepack_lstm(*weights), equal_lengths(3, 2))
    for got, want in zip(found, expected, strict=True):
        assert got.tobytes() == want.tobytes()


def test_errors(rng):
    x, h0, c0, weight_ih, weight_hh, bias = LSTM.sample(rng, 3, 2, 4, 5).values()
    x, packing = x.reshape(6, 4), equal_lengths(3, 2)
    for arguments, text in (
        ((weight_ih[0], weight_hh, bias), r"weight_ih has shape \(4,\); expected 2 dimensions \(4H, I\)"),
        ((weight_ih[1:], weight_hh, bias), r"weight_ih has shape \(19, 4\); expected \(4H, I\)"),
        ((weight_ih, weight_hh[1:], bias), r"weight_hh has shape \(19, 5\); expected \(4H, H\) = \(20, 5\)"),
        ((weight_ih, weight_hh, bias[1:]), r"bias has shape \(19,\); expected \(4H,\) = \(20,\)"),
    ):
        with pytest.raises(ValueError, match=f"prepack_lstm: {text}"):
            kernels.prepack_lstm(*arguments)
    with pytest.raises(TypeError, match="prepack_lstm: bias has dtype float32; expected float64 as weight_ih"):
        kernels.prepack_lstm(weight_ih, weight_hh, bias.astype(np.float32))
    weights = kernels.prepack_lstm(weight_ih, weight_hh, bias)
    for arguments, text in (
        ((x[:, 1:], h0, c0), r"x has shape \(6, 3\); expected \(P, I\) = \(6, 4\) from .* weights.input_size 4"),
        ((x[1:], h0, c0), r"x has shape \(5, 4\); expected \(P, I\) = \(6, 4\) from packing.num_tokens 6"),
        ((x, h0[1:], c0), r"h0 has shape \(1, 5\); expected \(N, H\) = \(2, 5\)"),
        (
            (x, h0[:, 1:], c0[:, 1:]),
            r"h0 has shape \(2, 4\); expected \(N, H\) = \(2, 5\) from .* weights.bias \(20,\)",
        ),
        ((x, h0, c0[1:]), r"c0 has shape \(1, 5\); expected \(N, H\) = \(2, 5\)"),
    ):
        with pytest.raises(ValueError, match=f"lstm_states: {text}"):
            kernels.lstm_states(*arguments, weights, packing)
    with pytest.raises(TypeError, match="lstm_states: x has dtype float32; expected float64 as weights"):
        kernels.lstm_states(x.astype(np.float32), h0, c0, weights, packing)
