"""Masked softmax: known values, gradients by differences, CPU against reference, bits that no padding changes, NaN."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference, threads
from kernels.cpu import chunks

LENGTHS = np.array([3, 0, 5, 1, 4])
# exp is off by 3e-7 of itself in float32 (kernels/cpu/activations.py), and a quotient of sums by a few roundings more.
TOLERANCE = {np.float32: {"rtol": 2e-6, "atol": 1e-7}, np.float64: {"rtol": 1e-13, "atol": 1e-15}}


def draw(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [(2 * rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def both_ways(backend, x, lengths, dy):
    y, cache = backend.masked_softmax_forward(x, lengths)
    return y, backend.masked_softmax_backward(dy, cache)


def test_known_values(backend):
    x = np.log([[1.0, 3.0, 9.0], [2.0, 2.0, 4.0], [5.0, 5.0, 5.0], [7.0, 1.0, 1.0]])
    y, cache = backend.masked_softmax_forward(x, np.array([2, 3, 0, 1]))
    np.testing.assert_allclose(y, [[0.25, 0.75, 0], [0.25, 0.25, 0.5], [0, 0, 0], [1, 0, 0]], rtol=1e-14)
    dx = backend.masked_softmax_backward(np.eye(4, 3), cache)
    np.testing.assert_allclose(dx, [[0.1875, -0.1875, 0], [-0.0625, 0.1875, -0.125], [0, 0, 0], [0, 0, 0]], atol=1e-15)


def test_gradient(backend, check_gradients):
    x, dy = draw(0, (5, 5), (5, 5))
    grads = {"x": both_ways(backend, x, LENGTHS, dy)[1]}

    def loss(inputs):
        return float((backend.masked_softmax_forward(inputs["x"], LENGTHS)[0] * dy).sum())

    check_gradients(loss, {"x": x}, grads)
    with pytest.raises(AssertionError):
        check_gradients(loss, {"x": x}, {"x": 1.001 * grads["x"]})


@pytest.mark.parametrize("dtype", TOLERANCE)
@given(data=st.data(), M=st.integers(0, 6), S=st.sampled_from([0, 1, 2, 7, 16, 40]), seed=st.integers(0, 99))
def test_cpu_equals_reference(dtype, data, M, S, seed):
    x, dy = draw(seed, (M, S), (M, S), dtype=dtype)
    lengths = np.array(data.draw(st.lists(st.integers(0, S), min_size=M, max_size=M)), np.int32)
    (y, dx), (want, dwant) = (both_ways(backend, x, lengths, dy) for backend in (kernels, reference))
    assert y.dtype == dx.dtype == want.dtype == dwant.dtype == dtype
    np.testing.assert_allclose(y, want, **TOLERANCE[dtype])
    np.testing.assert_allclose(dx, dwant, rtol=2e-5, atol=20 * TOLERANCE[dtype]["atol"])  # a difference of like numbers
    live = np.arange(S) < lengths[:, None]
    assert not y[~live].any()
    assert not dx[~live].any()
    np.testing.assert_allclose(y.sum(axis=1), lengths > 0, rtol=1e-5)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2]])
def test_other_layouts(layout):
    x, dy = draw(1, (5, 5), (5, 5))
    for found, want in zip(
        both_ways(kernels, layout(x), LENGTHS, layout(dy)), both_ways(kernels, x, LENGTHS, dy), strict=True
    ):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_bits_depend_on_nothing_beside(monkeypatch, dtype):
    """Not on threads, nor on other rows, nor on how far rows are padded, whatever stands there."""
    monkeypatch.setattr(chunks, "CHUNK", 100)
    lengths = np.arange(60) % 34
    x, dy = draw(2, (60, 33), (60, 33), dtype=dtype)
    want = both_ways(kernels, x, lengths, dy)
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            for found, expected in zip(both_ways(kernels, x, lengths, dy), want, strict=True):
                assert found.tobytes() == expected.tobytes()
    finally:
        threads.set_num_threads(before)
    monkeypatch.undo()
    rows = slice(20, 30)
    for found, expected in zip(both_ways(kernels, x[rows], lengths[rows], dy[rows]), want, strict=True):
        assert found.tobytes() == expected[rows].tobytes()
    padded = (np.pad(array, ((0, 0), (0, 19)), constant_values=np.nan) for array in (x, dy))
    for found, expected in zip(both_ways(kernels, next(padded), lengths, next(padded)), want, strict=True):
        assert found[:, :33].tobytes() == expected.tobytes()
        assert not found[:, 33:].any()


@pytest.mark.filterwarnings("ignore:(invalid|divide|overflow):RuntimeWarning")  # of NumPy
def test_a_nan_reaches_its_row_and_nothing_else(backend):
    x, lengths = np.ones((5, 4)), np.array([4, 4, 4, 2, 2])
    x[0, 1], x[1, 2], x[2] = np.nan, np.inf, -np.inf
    x[3, 3], x[4, 0] = np.nan, -np.inf
    y, cache = backend.masked_softmax_forward(x, lengths)
    assert np.isnan(y[:2]).any(axis=1).all()
    assert np.isnan(y[2]).all()
    np.testing.assert_array_equal(y[3:], [[0.5, 0.5, 0, 0], [0, 1, 0, 0]])
    dy = np.full((5, 4), 2.0)
    dy[3:, 2:] = np.nan  # past the lengths
    dx = backend.masked_softmax_backward(dy, cache)
    assert np.isnan(dx[:3]).any(axis=1).all()
    np.testing.assert_array_equal(dx[3:], np.zeros((2, 4)))


ERRORS = [
    (np.array([1, 5, 0]), ValueError, "lengths holds 5; expected values in 0..S = 0..4 from x"),
    (np.array([1, -1, 0]), ValueError, "lengths holds -1; expected values in 0..S = 0..4 from x"),
    (np.array([1, 2]), ValueError, "lengths has shape (2,); expected (M,) = (3,) from x (3, 4)"),
    (np.array([1.0, 2, 3]), TypeError, "lengths has dtype float64; expected an integer dtype"),
]


@pytest.mark.parametrize(("lengths", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_arguments(lengths, error, text):
    with pytest.raises(error, match=re.escape(f"masked_softmax_forward: {text}")):
        kernels.masked_softmax_forward(np.zeros((3, 4)), lengths)
