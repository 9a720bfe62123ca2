"""Layer normalisation: known values, gradients by differences, CPU against reference, threads, NaN."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference, threads
from kernels.cpu import chunks, layer_norm

# Rounding of sums of H or M numbers of about 1, in any order.
TOLERANCE = {np.float32: {"rtol": 1e-4, "atol": 1e-4}, np.float64: {"rtol": 1e-11, "atol": 1e-11}}


def draw(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def both_ways(backend, x, weight, bias, dy, eps=1e-5):
    y, cache = backend.layer_norm_forward(x, weight, bias, eps)
    return y, *backend.layer_norm_backward(dy, cache)


def test_known_values(backend):
    x, weight, bias = np.array([[1.0, 3.0], [2.0, 2.0], [-4.0, 0.0]]), np.array([2.0, 10.0]), np.array([1.0, -1.0])
    y, cache = backend.layer_norm_forward(x, weight, bias, 3.0)  # variances 1, 0 and 4
    np.testing.assert_allclose(y, [[0, 4], [1, -1], [1 - 4 / 7**0.5, 20 / 7**0.5 - 1]], rtol=1e-14)
    _, dweight, dbias = backend.layer_norm_backward(np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]), cache)
    np.testing.assert_allclose(dweight, [-0.5, 1.0], rtol=1e-14)
    np.testing.assert_array_equal(dbias, [4, 6])
    without, cache = backend.layer_norm_forward(x, None, None, 3.0)
    np.testing.assert_allclose(without[0], [-0.5, 0.5], rtol=1e-14)
    assert backend.layer_norm_backward(x, cache)[1:] == (None, None)


@pytest.mark.parametrize("given_names", [("weight", "bias"), ("weight",), ("bias",), ()])
def test_gradient(backend, check_gradients, given_names):
    arrays = dict(zip(("x", "weight", "bias"), draw(0, (4, 6), (6,), (6,)), strict=True))
    inputs = {name: array for name, array in arrays.items() if name in ("x", *given_names)}
    (dy,) = draw(1, (4, 6))

    def call(inputs):
        return backend.layer_norm_forward(inputs["x"], inputs.get("weight"), inputs.get("bias"), 0.1)

    def loss(inputs):
        return float((call(inputs)[0] * dy).sum())

    found = zip(("x", "weight", "bias"), backend.layer_norm_backward(dy, call(inputs)[1]), strict=True)
    grads = {name: grad for name, grad in found if grad is not None}
    assert grads.keys() == inputs.keys()
    check_gradients(loss, inputs, grads)
    for name in grads:
        with pytest.raises(AssertionError):
            check_gradients(loss, inputs, grads | {name: 1.001 * grads[name]})


@pytest.mark.parametrize("dtype", TOLERANCE)
@given(
    M=st.integers(0, 6),
    H=st.sampled_from([0, 1, 2, 7, 33]),
    weight=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_cpu_equals_reference(dtype, M, H, weight, bias, seed):
    x, w, b, dy = draw(seed, (M, H), (H,), (H,), (M, H), dtype=dtype)
    arguments = x, w if weight else None, b if bias else None, dy, 0.01
    found, wanted = (both_ways(backend, *arguments) for backend in (kernels, reference))
    for got, want in zip(found, wanted, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            assert got.dtype == want.dtype == dtype
            np.testing.assert_allclose(got, want, **TOLERANCE[dtype])


def test_other_layouts():
    x, w, b, dy = draw(2, (5, 8), (8,), (8,), (5, 8))
    apart = np.asfortranarray(x), np.repeat(w, 2)[::2], b[::-1].copy()[::-1], np.repeat(dy, 2, axis=1)[:, ::2]
    for found, want in zip(both_ways(kernels, *apart), both_ways(kernels, x, w, b, dy), strict=True):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_bits_depend_neither_on_threads_nor_on_other_rows(monkeypatch, dtype):
    monkeypatch.setattr(chunks, "CHUNK", 100)
    monkeypatch.setattr(layer_norm, "CHUNK", 7)
    x, w, b, dy = draw(3, (40, 33), (33,), (33,), (40, 33), dtype=dtype)
    want = both_ways(kernels, x, w, b, dy)
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            for found, expected in zip(both_ways(kernels, x, w, b, dy), want, strict=True):
                assert found.tobytes() == expected.tobytes()
    finally:
        threads.set_num_threads(before)
    monkeypatch.undo()
    for found, expected in zip(both_ways(kernels, x[9:20], w, b, dy[9:20])[:2], want, strict=False):
        assert found.tobytes() == expected[9:20].tobytes()


def test_a_nan_reaches_its_row_and_the_sums(backend):
    x, w, dy = np.arange(12.0).reshape(3, 4), np.ones(4), np.ones((3, 4))
    x[1, 2] = np.nan
    y, dx, dweight, dbias = both_ways(backend, x, w, w, dy)
    for array in (y, dx):
        assert np.isnan(array[1]).all()
        assert np.isfinite(array[::2]).all()
    assert np.isnan(dweight).all()
    np.testing.assert_array_equal(dbias, [3] * 4)


ERRORS = [
    ({"weight": np.ones(5)}, ValueError, "weight has shape (5,); expected (H,) = (4,) from x (3, 4)"),
    ({"bias": np.ones(4, np.float32)}, TypeError, "bias has dtype float32; expected float64 as x"),
    ({"x": np.ones(4)}, ValueError, "x has shape (4,); expected 2 dimensions (M, H)"),
    ({"eps": -1.0}, ValueError, "eps is -1.0; expected a value >= 0"),
]


@pytest.mark.parametrize(("change", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_arguments(change, error, text):
    arguments = {"x": np.ones((3, 4)), "weight": np.ones(4), "bias": np.ones(4)} | change
    with pytest.raises(error, match=re.escape(f"layer_norm_forward: {text}")):
        kernels.layer_norm_forward(**arguments)
