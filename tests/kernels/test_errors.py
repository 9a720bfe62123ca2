"""Every check of the public entries fires, and its text names the argument, what was got and what was expected."""

import re

import numpy as np
import pytest

import kernels
from kernels.packing import equal_lengths, pack_lengths

T, N, I, H = 3, 2, 4, 5  # noqa: E741


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


PACKING = equal_lengths(T, N)
P = T * N


def recurrent(layer, **changes):
    """Call a layer's forward with arrays of the right shapes, some replaced."""
    inputs = layer.sample(np.random.default_rng(0), T, N, I, H)
    return layer.packed(kernels, inputs | {"x": inputs["x"].reshape(P, I)} | changes, PACKING)


RECURRENT = [
    ("x", zeros(T, N, I), ValueError, "x has shape (3, 2, 4); expected 2 dimensions (P, I)"),
    ("x", zeros(T, I), ValueError, "x has shape (3, 4); expected (P, I) = (6, 4) from packing.num_tokens 6"),
    ("h0", zeros(N + 1, H), ValueError, "h0 has shape (3, 5); expected (N, H) = (2, 5) from packing.batch_size 2"),
    ("h0", zeros(H), ValueError, "h0 has shape (5,); expected 2 dimensions (N, H)"),
    ("weight_ih", zeros(2, 2), ValueError, "weight_ih has shape (2, 2); expected ({g}H, I) = ({rows}, 4)"),
    (
        "weight_hh",
        zeros(2, 5),
        ValueError,
        "weight_hh has shape (2, 5); expected ({g}H, H) = ({rows}, 5)",
    ),
    ("x", zeros(P, I, dtype=np.float32), TypeError, "h0 has dtype float64; expected float32 as x"),
    ("h0", zeros(N, H, dtype=np.int64), TypeError, "h0 has dtype int64; expected float32 or float64"),
]


@pytest.mark.parametrize(("name", "value", "error", "text"), RECURRENT)
def test_recurrent_arguments(layer, name, value, error, text):
    expected = f"{layer.name}_forward: " + text.format(g=layer.num_gates, rows=layer.num_gates * H)
    with pytest.raises(error, match=re.escape(expected)):
        recurrent(layer, **{name: value})


def test_a_packing_of_other_tokens(layer):
    inputs = layer.sample(np.random.default_rng(0), T, N, I, H)
    with pytest.raises(
        ValueError, match=r"x has shape \(6, 4\); expected \(P, I\) = \(4, 4\) from packing.num_tokens 4"
    ):
        layer.packed(kernels, inputs | {"x": inputs["x"].reshape(P, I)}, pack_lengths(np.array([3, 1])))


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        (
            "y",
            zeros(P, H + 1),
            ValueError,
            "dy has shape (6, 6); expected (P, H) = (6, 5) from cache.packing.num_tokens 6 and cache.weight_hh",
        ),
        ("y", zeros(T, N, H), ValueError, "dy has shape (3, 2, 5); expected 2 dimensions (P, H)"),
        (
            "h_n",
            zeros(1, H),
            ValueError,
            "dh_n has shape (1, 5); expected (N, H) = (2, 5) from cache.packing.batch_size",
        ),
        ("h_n", zeros(N, H, dtype=np.float32), TypeError, "dh_n has dtype float32; expected float64 as cache"),
    ],
)
def test_incoming_gradients(layer, name, value, error, text):
    _, cache = recurrent(layer)
    with pytest.raises(error, match=re.escape(f"{layer.name}_backward: {text}")):
        layer.packed_backward(kernels, {name: value}, cache)


def lstm(**changes):
    arguments = {
        "x": zeros(P, I),
        "h0": zeros(N, H),
        "c0": zeros(N, H),
        "weight_ih": zeros(4 * H, I),
        "weight_hh": zeros(4 * H, H),
        "bias": None,
        "packing": PACKING,
    }
    kernels.lstm_forward(**arguments | changes)


def gru(**biases):
    kernels.gru_forward(zeros(P, I), zeros(N, H), zeros(3 * H, I), zeros(3 * H, H), **biases, packing=PACKING)


SCALARS = kernels.adam_scalars(1, 0.1, 0.9, 0.9, 0.0, 0.0, False)


def adam(**changes):
    arguments = {name: [zeros(2, 3), zeros(4)] for name in ("params", "grads", "m", "v")}
    kernels.adam_step_all(**arguments | {"scalars": SCALARS} | changes)


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
    (lambda: adam(scalars=0.1), TypeError, "adam_step_all: scalars is a float; expected AdamScalars"),
    (lambda: kernels.adam_scalars(0, 0.1, 0.9, 0.9, 0.0, 0.0, False), ValueError, "step is 0; expected a value >= 1"),
    (lambda: kernels.adam_scalars(1, 0.1, 0.9, -0.1, 0.0, 0.0, False), ValueError, "adam_scalars: beta2 is -0.1"),
    (lambda: adam(v=[zeros(2, 3)]), ValueError, "adam_step_all: grads, m and v hold 2, 2 and 1 arrays; expected 2"),
    (
        lambda: adam(grads=[zeros(2, 3), zeros(5)]),
        ValueError,
        "adam_step_all: grads[1] has shape (5,); expected",
    ),
    (
        lambda: adam(**{name: [zeros(2), zeros(2, dtype=np.float32)] for name in ("params", "grads", "m", "v")}),
        TypeError,
        "adam_step_all: params[1] has dtype float32; expected float64 as params[0]",
    ),
    (lambda: kernels.sum_of_squares(IDS), TypeError, "sum_of_squares: x has dtype int64"),
]


@pytest.mark.parametrize(("call", "error", "text"), CASES, ids=[text for _, _, text in CASES])
def test_arguments(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
