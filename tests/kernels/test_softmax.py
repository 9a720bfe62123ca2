"""Softmax and its logarithm: known values, gradients by differences, CPU against reference, bits, NaN and inf."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference, threads
from kernels.cpu import chunks

KINDS = pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
# exp is off by 3e-7 of itself in float32 (kernels/cpu/activations.py), and a quotient of sums by a few roundings more.
TOLERANCE = {np.float32: {"rtol": 2e-6, "atol": 1e-6}, np.float64: {"rtol": 1e-13, "atol": 1e-14}}


def draw(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [(2 * rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def forward(backend, kind, x):
    return backend.softmax_forward(x, kind == "log_softmax")


def both_ways(backend, kind, x, dy):
    y = forward(backend, kind, x)
    return y, backend.softmax_backward(dy, y, kind == "log_softmax")


def test_known_values(backend):
    x, probabilities = np.log([[1.0, 3.0, 4.0], [2.0, 2.0, 4.0]]), np.array([[0.125, 0.375, 0.5], [0.25, 0.25, 0.5]])
    y, dx = both_ways(backend, "softmax", x, np.eye(2, 3))
    np.testing.assert_allclose(y, probabilities, rtol=1e-14)
    np.testing.assert_allclose(dx, [[7 / 64, -3 / 64, -1 / 16], [-1 / 16, 3 / 16, -1 / 8]], rtol=1e-14)
    y, dx = both_ways(backend, "log_softmax", x, np.eye(2, 3))
    np.testing.assert_allclose(y, np.log(probabilities), rtol=1e-14)
    np.testing.assert_allclose(dx, np.eye(2, 3) - probabilities, rtol=1e-14)


@KINDS
def test_gradient(backend, check_gradients, kind):
    x, dy = draw(0, (4, 5), (4, 5))
    grads = {"x": both_ways(backend, kind, x, dy)[1]}

    def loss(inputs):
        return float((forward(backend, kind, inputs["x"]) * dy).sum())

    check_gradients(loss, {"x": x}, grads)
    with pytest.raises(AssertionError):
        check_gradients(loss, {"x": x}, {"x": 1.001 * grads["x"]})


@KINDS
@pytest.mark.parametrize("dtype", TOLERANCE)
@given(M=st.integers(0, 6), S=st.sampled_from([0, 1, 2, 7, 16, 40]), seed=st.integers(0, 99))
def test_cpu_equals_reference(kind, dtype, M, S, seed):
    x, dy = draw(seed, (M, S), (M, S), dtype=dtype)
    (y, dx), (want, dwant) = (both_ways(backend, kind, x, dy) for backend in (kernels, reference))
    assert y.dtype == dx.dtype == want.dtype == dwant.dtype == dtype
    np.testing.assert_allclose(y, want, **TOLERANCE[dtype])
    np.testing.assert_allclose(dx, dwant, rtol=2e-5, atol=20 * TOLERANCE[dtype]["atol"])  # a difference of like numbers


@KINDS
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_bits_depend_on_nothing_beside(monkeypatch, kind, dtype):
    """Not on threads, nor on other rows, nor on how the rows lie."""
    monkeypatch.setattr(chunks, "CHUNK", 100)
    x, dy = draw(2, (60, 33), (60, 33), dtype=dtype)
    want = both_ways(kernels, kind, x, dy)
    before = threads.get_num_threads()
    try:
        for count in (1, 3):
            threads.set_num_threads(count)
            for rows in (slice(None), slice(7, 8), slice(20, None)):
                for layout in (np.ascontiguousarray, np.asfortranarray):
                    for got, all_of in zip(both_ways(kernels, kind, layout(x[rows]), dy[rows]), want, strict=True):
                        assert got.tobytes() == all_of[rows].tobytes()
    finally:
        threads.set_num_threads(before)


@KINDS
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.filterwarnings("ignore:invalid:RuntimeWarning")
def test_large_numbers_nan_and_infinities(backend, kind, dtype):
    inf, nan = np.inf, np.nan
    x = [[1e4, 1e4, -1e4], [-1e30, -1e30, 0], [0, -inf, 0], [nan, 0, 1], [inf, 0, 1], [-inf, -inf, -inf]]
    with np.errstate(divide="ignore"):
        want = np.array([[0.5, 0.5, 0], [0, 0, 1], [0.5, 0, 0.5]])
        want = want if kind == "softmax" else np.log(want)
    y = forward(backend, kind, np.array(x, dtype))
    if kind == "softmax":
        np.testing.assert_allclose(y[:3], want, rtol=1e-6)
    else:  # whose smallest are as far away as those of x
        np.testing.assert_allclose(np.exp(y[:3]), np.exp(want), rtol=1e-6)
        np.testing.assert_allclose(y[0, 2], -2e4 - np.log(2), rtol=1e-6)
    assert np.isnan(y[3:]).all()
