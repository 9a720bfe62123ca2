"""The reference LSTM and GRU against a formulation token by token, and their gradients against finite differences."""

import math
from itertools import pairwise

import numpy as np
import pytest

from kernels import reference
from kernels.reference import gru as reference_gru
from kernels.reference import lstm as reference_lstm

LENGTHS = np.array([2, 4, 0, 3])
T, N, I, H = 4, 4, 3, 5  # noqa: E741


def logistic(a):
    return np.array([1 / (1 + math.exp(-value)) for value in a])


def lstm_sentence(tokens, h, c, p):
    """One sentence, one gate at a time."""
    states = []
    W, U = np.split(p["weight_ih"], 4), np.split(p["weight_hh"], 4)
    b = np.split(p["bias"], 4)
    for x in tokens:
        a_i, a_f, a_g, a_o = (W[k] @ x + U[k] @ h + b[k] for k in range(4))
        c = logistic(a_f) * c + logistic(a_i) * np.tanh(a_g)
        h = logistic(a_o) * np.tanh(c)
        states.append(h)
    return states, {"h_n": h, "c_n": c}


def gru_sentence(tokens, h, _c, p):
    """One sentence, one gate at a time."""
    states = []
    W, U = np.split(p["weight_ih"], 3), np.split(p["weight_hh"], 3)
    b, d = np.split(p["bias_ih"], 3), np.split(p["bias_hh"], 3)
    for x in tokens:
        r, z = (logistic(W[k] @ x + b[k] + U[k] @ h + d[k]) for k in (0, 1))
        n = np.tanh(W[2] @ x + b[2] + r * (U[2] @ h + d[2]))
        h = (1 - z) * n + z * h
        states.append(h)
    return states, {"h_n": h}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_reference_equals_sentence_by_sentence(layer, rng, lengths):
    inputs = layer.sample(rng, T, N, I, H)
    outputs, _ = layer.forward(reference, inputs, lengths)
    sentence = {"lstm": lstm_sentence, "gru": gru_sentence}[layer.name]
    for n, length in enumerate([T] * N if lengths is None else lengths):
        states, last = sentence(inputs["x"][:length, n], inputs["h0"][n], inputs.get("c0", inputs["h0"])[n], inputs)
        np.testing.assert_allclose(outputs["y"][:length, n], np.reshape(states, (length, H)), atol=1e-14)
        assert not outputs["y"][length:, n].any()
        for name, state in last.items():
            np.testing.assert_allclose(outputs[name][n], state, atol=1e-14)


def make_loss(layer, grad_outputs, lengths):
    """The scalar whose gradient the backward computes: sum over outputs of output * grad_output."""

    def loss(inputs):
        outputs, _ = layer.forward(reference, inputs, lengths)
        return sum(float((outputs[name] * grad).sum()) for name, grad in grad_outputs.items())

    return loss


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_reference_gradients(layer, rng, check_gradients, lengths):
    """With a gradient on all outputs, and on each alone."""
    inputs = layer.sample(rng, T, N, I, H)
    everything = layer.sample_gradients(rng, inputs)
    _, cache = layer.forward(reference, inputs, lengths)
    for grad_outputs in (everything, *({name: grad} for name, grad in everything.items())):
        grads = layer.backward(reference, grad_outputs, cache)
        check_gradients(make_loss(layer, grad_outputs, lengths), inputs, grads)


def test_full_jacobian(layer, rng, count_case):
    """Every output element against every input element, on a batch that ends raggedly."""
    lengths = np.array([3, 1])
    inputs = layer.sample(rng, 3, 2, 2, 2)
    outputs, cache = layer.forward(reference, inputs, lengths)
    sizes = np.cumsum([0] + [array.size for array in inputs.values()])
    flat = np.concatenate([array.ravel() for array in inputs.values()])

    def flat_outputs(values):
        parts = {n: values[a:b].reshape(inputs[n].shape) for n, (a, b) in zip(inputs, pairwise(sizes), strict=True)}
        return np.concatenate([output.ravel() for output in layer.forward(reference, parts, lengths)[0].values()])

    steps = 1e-5 * np.eye(flat.size)
    numeric = np.stack([(flat_outputs(flat + step) - flat_outputs(flat - step)) / 2e-5 for step in steps])
    rows = []
    for name, output in outputs.items():
        for one_hot in np.eye(output.size):
            grads = layer.backward(reference, {name: one_hot.reshape(output.shape)}, cache)
            rows.append(np.concatenate([grads[key].ravel() for key in inputs]))
            count_case()
    np.testing.assert_allclose(np.stack(rows, axis=1), numeric, atol=1e-9)


def test_checker_fails_on_a_wrong_gradient(layer, rng, check_gradients):
    inputs = layer.sample(rng, T, N, I, H)
    grad_outputs = layer.sample_gradients(rng, inputs)
    _, cache = layer.forward(reference, inputs, LENGTHS)
    grads = layer.backward(reference, grad_outputs, cache)
    for name, grad in grads.items():
        with pytest.raises(AssertionError, match=rf"gradient of {name}\b"):
            check_gradients(make_loss(layer, grad_outputs, LENGTHS), inputs, grads | {name: 1.001 * grad})


@pytest.mark.parametrize("broken_step", [0, T - 1], ids=["first", "last"])
def test_checker_fails_on_a_wrong_step(layer, rng, check_gradients, monkeypatch, broken_step):
    module = {"lstm": reference_lstm, "gru": reference_gru}[layer.name]
    step_backward = getattr(module, f"{layer.name}_step_backward")
    calls = iter(reversed(range(T)))

    def wrong(*args):
        factor = 1.001 if next(calls) == broken_step else 1.0
        return tuple(factor * result for result in step_backward(*args))

    monkeypatch.setattr(module, f"{layer.name}_step_backward", wrong)
    inputs = layer.sample(rng, T, N, I, H)
    grad_outputs = layer.sample_gradients(rng, inputs)
    _, cache = layer.forward(reference, inputs)
    grads = layer.backward(reference, grad_outputs, cache)
    with pytest.raises(AssertionError, match=r"gradient of x\b"):
        check_gradients(make_loss(layer, grad_outputs, None), inputs, grads)
