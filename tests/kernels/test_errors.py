"""Every check of the public entries fires, and its text names the argument, what was got and what was expected."""

import re

import numpy as np
import pytest

import kernels

T, N, I, H = 3, 2, 4, 5  # noqa: E741


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


def recurrent(layer, **changes):
    """Call a layer's forward with zeros of the right shapes, some replaced."""
    return layer.forward(kernels, layer.sample(np.random.default_rng(0), T, N, I, H) | changes)


RECURRENT = [
    ("x", zeros(I), ValueError, "x has shape (4,); expected 3 dimensions (T, N, I)"),
    ("x", zeros(T, I), ValueError, "lengths is None; expected (N,) integers, since x is packed, (3, 4)"),
    ("h0", zeros(H), ValueError, "h0 has shape (5,); expected 2 dimensions (N, H)"),
    ("weight_ih", zeros(2, 2), ValueError, "weight_ih has shape (2, 2); expected ({g}H, I) = ({rows}, 2)"),
    (
        "weight_hh",
        zeros(2, 5),
        ValueError,
        "weight_hh has shape (2, 5); expected ({g}H, H) = ({rows}, 5)",
    ),
    ("x", zeros(T, N, I, dtype=np.float32), TypeError, "h0 has dtype float64; expected float32 as x"),
    ("h0", zeros(N, H, dtype=np.int64), TypeError, "h0 has dtype int64; expected float32 or float64"),
]


@pytest.mark.parametrize(("name", "value", "error", "text"), RECURRENT)
def test_recurrent_arguments(layer, name, value, error, text):
    expected = f"{layer.name}_forward: " + text.format(g=layer.num_gates, rows=layer.num_gates * H)
    with pytest.raises(error, match=re.escape(expected)):
        recurrent(layer, **{name: value})


@pytest.mark.parametrize(
    ("lengths", "error", "text"),
    [
        (np.array([1, 2, 3]), ValueError, "lengths has shape (3,); expected (N,) = (2,) from x"),
        (np.array([1, 4]), ValueError, "lengths holds 4; expected values in 0..T = 0..3 from x"),
        (np.array([-1, 3]), ValueError, "lengths holds -1; expected values in 0..T = 0..3 from x"),
        (np.array([1.0, 3.0]), TypeError, "lengths has dtype float64; expected an integer dtype"),
    ],
)
def test_lengths(layer, lengths, error, text):
    inputs = layer.sample(np.random.default_rng(0), T, N, I, H)
    with pytest.raises(error, match=re.escape(f"{layer.name}_forward: {text}")):
        layer.forward(kernels, inputs, lengths)


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        (
            "y",
            zeros(T, N, H + 1),
            ValueError,
            "dy has shape (3, 2, 6); expected (T, N, H) = (3, 2, 5) from y (3, 2, 5)",
        ),
        ("h_n", zeros(1, N, H), ValueError, "dh_n has shape (1, 2, 5); expected (N, H) = (2, 5) from y (3, 2, 5)"),
        ("h_n", zeros(N, H, dtype=np.float32), TypeError, "dh_n has dtype float32; expected float64 as cache"),
    ],
)
def test_incoming_gradients(layer, name, value, error, text):
    _, cache = recurrent(layer)
    with pytest.raises(error, match=re.escape(f"{layer.name}_backward: {text}")):
        layer.backward(kernels, {name: value}, cache)


def lstm(**changes):
    arguments = {
        "x": zeros(T, N, I),
        "h0": zeros(N, H),
        "c0": zeros(N, H),
        "weight_ih": zeros(4 * H, I),
        "weight_hh": zeros(4 * H, H),
        "bias": None,
    }
    kernels.lstm_forward(**arguments | changes)


def gru(**biases):
    kernels.gru_forward(zeros(T, N, I), zeros(N, H), zeros(3 * H, I), zeros(3 * H, H), **biases)


def adam(**changes):
    arguments = {name: zeros(2, 3) for name in ("param", "grad", "m", "v")}
    arguments |= {"step": 1, "lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 0.0, "weight_decay": 0.0, "decoupled": False}
    kernels.adam_step(**arguments | changes)


def adam_all(**changes):
    arguments = {name: [zeros(2, 3), zeros(4)] for name in ("params", "grads", "m", "v")}
    numbers = {"step": 1, "lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 0.0, "weight_decay": 0.0, "decoupled": False}
    kernels.adam_step_all(**arguments | numbers | changes)


IDS = np.array([0, 1])
CASES = [
    (
        lambda: lstm(c0=zeros(N, 1)),
        ValueError,
        "lstm_forward: c0 has shape (2, 1); expected (N, H) = (2, 5)",
    ),
    (lambda: lstm(bias=zeros(H)), ValueError, "lstm_forward: bias has shape (5,); expected (4H,) = (20,)"),
    (
        lambda: gru(bias_ih=None, bias_hh=zeros(15)),
        ValueError,
        "gru_forward: bias_ih is None but the other bias is not",
    ),
    (
        lambda: gru(bias_ih=zeros(15), bias_hh=None),
        ValueError,
        "gru_forward: bias_hh is None but the other bias is not",
    ),
    (
        lambda: kernels.embedding_forward(zeros(3, 2), np.array([0, 7, -1])),
        IndexError,
        "embedding_forward: ids holds 7; expected 0..V-1 = 0..2",
    ),
    (lambda: kernels.embedding_forward(zeros(3, 2), np.array([-1])), IndexError, "embedding_forward: ids holds -1"),
    (lambda: kernels.embedding_forward(zeros(3, 2), zeros(2)), TypeError, "ids has dtype float64; expected an integer"),
    (
        lambda: kernels.embedding_forward(zeros(3), IDS),
        ValueError,
        "weight has shape (3,); expected 2 dimensions (V, E)",
    ),
    (
        lambda: kernels.embedding_backward(zeros(3, 4), IDS),
        ValueError,
        "embedding_backward: dy has shape (3, 4); expected (*ids.shape, E) = (2, 4) from ids (2,)",
    ),
    (
        lambda: kernels.cross_entropy_forward(zeros(2, 3), np.array([0, 3])),
        IndexError,
        "cross_entropy_forward: targets holds 3; expected 0..V-1 = 0..2",
    ),
    (
        lambda: kernels.cross_entropy_forward(zeros(2, 3), np.array([0, 1, 2])),
        ValueError,
        "targets has shape (3,); expected (M,) = (2,) from logits (2, 3)",
    ),
    (
        lambda: kernels.cross_entropy_forward(zeros(2, 3), IDS, label_smoothing=1.5),
        ValueError,
        "cross_entropy_forward: label_smoothing is 1.5; expected a value in [0.0, 1.0]",
    ),
    (
        lambda: kernels.cross_entropy_backward(zeros(3), kernels.cross_entropy_forward(zeros(2, 3), IDS)[1]),
        ValueError,
        "cross_entropy_backward: dlosses has shape (3,); expected (M,) = (2,) from cache.logits (2, 3)",
    ),
    (lambda: kernels.dropout(zeros(2), 1.1, 0, 0, 0), ValueError, "dropout: p is 1.1; expected a value in [0.0, 1.0]"),
    (lambda: kernels.dropout(zeros(2), float("nan"), 0, 0, 0), ValueError, "dropout: p is nan"),
    (lambda: kernels.dropout(zeros(2), 0.5, 0, 0, 0, -4), ValueError, "dropout: start is -4"),
    (lambda: kernels.dropout(IDS, 0.5, 0, 0, 0), TypeError, "dropout: x has dtype int64; expected float32 or float64"),
    (lambda: kernels.random_bits(-1, 0, 0, 0), ValueError, "random_bits: count is -1"),
    (lambda: kernels.random_bits(1, 2**64, 0, 0), ValueError, "random_bits: seed is 18446744073709551616"),
    (lambda: kernels.random_bits(1, 0, -1, 0), ValueError, "random_bits: step is -1"),
    (lambda: kernels.random_bits(1, 0, 0, 2**32), ValueError, "random_bits: site is 4294967296"),
    (lambda: adam(m=zeros(3, 2)), ValueError, "adam_step: m has shape (3, 2); expected param.shape = (2, 3)"),
    (lambda: adam(step=0), ValueError, "adam_step: step is 0; expected a value >= 1"),
    (lambda: adam(beta1=1.0), ValueError, "adam_step: beta1 is 1.0"),
    (lambda: adam(beta2=-0.1), ValueError, "adam_step: beta2 is -0.1"),
    (lambda: adam_all(step=0), ValueError, "adam_step_all: step is 0; expected a value >= 1"),
    (lambda: adam_all(v=[zeros(2, 3)]), ValueError, "adam_step_all: grads, m and v hold 2, 2 and 1 arrays; expected 2"),
    (
        lambda: adam_all(grads=[zeros(2, 3), zeros(5)]),
        ValueError,
        "adam_step_all: grads[1] has shape (5,); expected",
    ),
    (
        lambda: adam_all(**{name: [zeros(2), zeros(2, dtype=np.float32)] for name in ("params", "grads", "m", "v")}),
        TypeError,
        "adam_step_all: params[1] has dtype float32; expected float64 as params[0]",
    ),
    (lambda: kernels.sum_of_squares(IDS), TypeError, "sum_of_squares: x has dtype int64"),
]


@pytest.mark.parametrize(("call", "error", "text"), CASES, ids=[text for _, _, text in CASES])
def test_arguments(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
