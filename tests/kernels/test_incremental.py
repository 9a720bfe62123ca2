"""An LSTM layer that is fed some steps at a time equals the layer over the whole sequences."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import reference
from kernels.packing import equal_lengths, pack_lengths
from tests.kernels.conftest import LSTM, counts_of, pack, packing_of


def by_steps(backend, inputs, packing, cuts):
    """y, h_n, c_n and the cache of a layer fed from cut to cut; what the steps give must be the y of the whole."""
    x, *arguments = inputs.values()
    run = backend.incremental_lstm_start(*arguments, packing)
    ends = [packing.tokens_before(cut) for cut in cuts]
    between = zip(cuts, itertools.pairwise(ends), strict=False)
    parts = [backend.incremental_lstm_step(x[a:b], cut, run) for cut, (a, b) in between]
    parts = [part.copy() for part in parts]
    y, h_n, c_n, cache = backend.incremental_lstm_finish(run)
    assert np.array_equal(np.concatenate(parts), y)
    return {"y": y, "h_n": h_n, "c_n": c_n}, cache


@pytest.mark.parametrize("backend", [kernels, reference], ids=["cpu", "reference"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_equals_the_whole_sequences(backend, data):
    T, N = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N).map(np.array))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    inputs, grad_outputs = (arrays := LSTM.sample(rng, T, N, 3, 4)), LSTM.sample_gradients(rng, arrays)
    packing, counts = packing_of(inputs["x"], lengths), counts_of(inputs["x"], lengths)
    inputs, grad_outputs = (
        inputs | {"x": pack(inputs["x"], counts)},
        grad_outputs | {"y": pack(grad_outputs["y"], counts)},
    )
    steps = packing.num_steps
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, steps - 1))) if steps > 1 else []), steps]
    whole, whole_cache = LSTM.packed(backend, inputs, packing)
    outputs, cache = by_steps(backend, inputs, packing, cuts)
    for name, got in outputs.items():
        assert np.array_equal(got, whole[name]), name
    expected, got = (LSTM.packed_backward(backend, grad_outputs, kept) for kept in (whole_cache, cache))
    for name in LSTM.inputs:
        assert np.array_equal(got[name], expected[name]), name


def test_errors(rng):
    x, *arguments = LSTM.sample(rng, 3, 2, 4, 5).values()
    run, step = kernels.incremental_lstm_start(*arguments, equal_lengths(3, 2)), kernels.incremental_lstm_step
    for rows, start, text in (
        (x[0, :, :3], 0, r"x has shape \(2, 3\); expected \(R, I\) with I = 4"),
        (x.reshape(6, 4)[:4], 2, r"x has shape \(4, 4\); expected whole steps from 2 to 3"),
        (x.reshape(6, 4)[:3], 0, r"x has shape \(3, 4\); expected whole steps from 0 to 3"),
        (x[0], 4, "start is 4; expected a value in"),
        (x, 0, r"x has shape \(3, 2, 4\); expected 2 dimensions \(R, I\)"),
    ):
        with pytest.raises(ValueError, match=f"incremental_lstm_step: {text}"):
            step(rows, start, run)
    with pytest.raises(TypeError, match="incremental_lstm_step: x has dtype float32; expected float64 as run"):
        step(x[0].astype(np.float32), 0, run)
    with pytest.raises(
        ValueError, match=r"incremental_lstm_start: h0 has shape \(2, 5\); expected \(N, H\) = \(3, 5\)"
    ):
        kernels.incremental_lstm_start(*arguments, pack_lengths(np.array([3, 1, 2])))
