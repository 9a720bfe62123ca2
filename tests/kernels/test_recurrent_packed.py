"""Packed sequences: the same layer, fed with the real tokens alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import reference
from tests.kernels.conftest import LSTM


def places_of(lengths):
    """(step, row) of every token, in the order of the packed ones."""
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    return [(t, n) for t in range(max(lengths, default=0)) for n in order if t < lengths[n]]


def pack(sequence, lengths):
    """(T, N, F) -> (P, F)."""
    return np.array([sequence[place] for place in places_of(lengths)]).reshape(-1, sequence.shape[2])


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 5), max_size=5).map(np.int64), seed=st.integers(0, 99))
def test_equals_the_padded_sequence(layer, backend, lengths, seed):
    """To the bit: outputs, states, all gradients."""
    rng = np.random.default_rng(seed)
    T = int(lengths.max(initial=0))
    inputs = layer.sample(rng, T, len(lengths), 3, 4)
    grad_outputs = layer.sample_gradients(rng, inputs)
    outputs, cache = layer.forward(backend, inputs, lengths)
    grads = layer.backward(backend, grad_outputs, cache)
    packed_outputs, packed_cache = layer.forward(backend, inputs | {"x": pack(inputs["x"], lengths)}, lengths)
    packed_grads = layer.backward(backend, grad_outputs | {"y": pack(grad_outputs["y"], lengths)}, packed_cache)
    for found, expected, name in ((packed_outputs, outputs, "y"), (packed_grads, grads, "x")):
        np.testing.assert_array_equal(found.pop(name), pack(expected.pop(name), lengths))
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_gradients(layer, backend, check_gradients, rng):
    lengths = np.array([2, 0, 4, 3, 3])
    inputs = layer.sample(rng, 4, 5, 3, 4)
    grad_outputs = layer.sample_gradients(rng, inputs)
    inputs["x"], grad_outputs["y"] = pack(inputs["x"], lengths), pack(grad_outputs["y"], lengths)

    def loss(changed):
        outputs, _ = layer.forward(backend, changed, lengths)
        return float(sum((outputs[name] * grad).sum() for name, grad in grad_outputs.items()))

    check_gradients(loss, inputs, layer.backward(backend, grad_outputs, layer.forward(backend, inputs, lengths)[1]))


def test_nothing_is_copied(layer, rng):
    """x is kept as it is, y is the memory of the states."""
    lengths = np.array([2, 3])
    inputs = layer.sample(rng, 3, 2, 3, 4)
    inputs["x"] = pack(inputs["x"], lengths)
    outputs, cache = layer.forward(kernels, inputs, lengths)
    assert cache.x is inputs["x"]
    assert outputs["y"].base.shape == (len(lengths) + lengths.sum(), 4)  # the state buffer


@pytest.mark.parametrize("backend", [kernels, reference], ids=["cpu", "reference"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_in_pieces(backend, data):
    lengths = np.array(data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=5)))
    T = int(lengths.max())
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, T - 1))) if T > 1 else []), T]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    inputs = LSTM.sample(rng, T, len(lengths), 3, 4)
    inputs["x"] = x = pack(inputs["x"], lengths)
    whole, _ = LSTM.forward(backend, inputs, lengths)
    weights = [inputs[name] for name in ("h0", "c0", "weight_ih", "weight_hh", "bias")]
    run = backend.lstm_start(*weights, T, lengths, packed=True)
    ends = [sum(t < cut for t, _ in places_of(lengths)) for cut in cuts]
    pieces = [
        backend.lstm_continue(x[a:b], start, run) for start, (a, b) in zip(cuts, itertools.pairwise(ends), strict=False)
    ]
    for got in (np.concatenate(pieces), backend.lstm_finish(run)[0]):
        np.testing.assert_array_equal(got, whole["y"])
    np.testing.assert_array_equal(backend.lstm_finish(run)[1], whole["h_n"])


def test_errors(layer, rng):
    lengths = np.array([2, 3])
    inputs = layer.sample(rng, 3, 2, 3, 4)
    inputs["x"] = x = pack(inputs["x"], lengths)
    name = f"{layer.name}_forward"
    with pytest.raises(ValueError, match=rf"{name}: lengths is None; expected \(N,\) integers, since x is packed"):
        layer.forward(kernels, inputs)
    with pytest.raises(ValueError, match=rf"{name}: x has shape \(4, 3\); expected \(P, I\) = \(5, 3\) from lengths"):
        layer.forward(kernels, inputs | {"x": x[:4]}, lengths)
    with pytest.raises(ValueError, match=rf"{name}: lengths has shape \(3,\)"):
        layer.forward(kernels, inputs, np.array([2, 2, 1]))
    with pytest.raises(ValueError, match=rf"{name}: lengths holds -1"):
        layer.forward(kernels, inputs, np.array([6, -1]))
    _, cache = layer.forward(kernels, inputs, lengths)
    with pytest.raises(
        ValueError, match=rf"{layer.name}_backward: dy has shape \(3, 2, 4\); expected \(P, H\) = \(5, 4\)"
    ):
        layer.backward(kernels, {"y": np.zeros((3, 2, 4))}, cache)


def test_pieces_must_be_whole_steps(rng):
    lengths = np.array([2, 3])
    inputs = LSTM.sample(rng, 3, 2, 3, 4)
    weights = [inputs[name] for name in ("h0", "c0", "weight_ih", "weight_hh", "bias")]
    run = kernels.lstm_start(*weights, 3, lengths, packed=True)
    with pytest.raises(ValueError, match=r"lstm_continue: x has shape \(3, 3\); expected whole steps from 0 to 3"):
        kernels.lstm_continue(np.zeros((3, 3)), 0, run)
    with pytest.raises(ValueError, match=r"lstm_continue: x has shape \(6, 3\); expected whole steps from 0 to 3"):
        kernels.lstm_continue(np.zeros((6, 3)), 0, run)
    with pytest.raises(ValueError, match=r"lstm_continue: x has shape \(1, 2, 3\); expected 2 dimensions \(., I\)"):
        kernels.lstm_continue(np.zeros((1, 2, 3)), 0, run)
