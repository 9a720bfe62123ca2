"""Matrix products and the linear layer: known values, CPU against reference, gradients by differences, threads."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference, threads
from kernels.cpu import linear
from kernels.reference.precision import round_bf16

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
WEIGHT, BIAS = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([10.0, 20.0])
# Rounding of a sum of K products of about 1, whatever the order of the sum: K eps, and the terms grow with K.
FLOAT32, FLOAT64 = {"rtol": 1e-5, "atol": 1e-4}, {"rtol": 1e-12, "atol": 1e-12}


def draw(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def test_known_values(backend):
    np.testing.assert_array_equal(backend.linear_forward(X, WEIGHT, BIAS), [[11, 23], [13, 27], [15, 31]])
    np.testing.assert_array_equal(backend.linear_forward(X, WEIGHT, None), [[1, 3], [3, 7], [5, 11]])
    np.testing.assert_array_equal(backend.matmul(X, WEIGHT), [[3, 2], [7, 4], [11, 6]])
    dx, dweight, dbias = backend.linear_backward(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), X, WEIGHT)
    np.testing.assert_array_equal(dx, [[1, 0], [1, 1], [2, 1]])
    np.testing.assert_array_equal(dweight, [[6, 8], [8, 10]])
    np.testing.assert_array_equal(dbias, [2, 2])


@pytest.mark.parametrize("bf16", [False, True])
def test_a_prepacked_layer(backend, bf16):
    """A copy; the same to the bit for many rows, and for few as among many."""
    x, weight, bias = draw(5, (9, 40), (50, 40), (50,), dtype=np.float32)
    for some_bias in (bias, None):
        want, kept = backend.linear_forward(x, weight, some_bias, bf16), weight.copy()
        prepacked = backend.prepack_linear(weight, some_bias, bf16)
        weight[...] = np.nan
        np.testing.assert_array_equal(backend.linear_prepacked(x, prepacked), want)
        if backend is kernels:
            np.testing.assert_array_equal(backend.linear_prepacked(x[:2], prepacked), want[:2])
        weight[...] = kept
    with pytest.raises(ValueError, match=re.escape("x has shape (9, 39); expected (M, I) = (9, 40)")):
        kernels.linear_prepacked(x[:, :39], kernels.prepack_linear(weight, bias))


@pytest.mark.parametrize("rows", [2, 5])
def test_gradient(backend, check_gradients, rows):
    x, weight, bias, dy = draw(0, (rows, 3), (4, 3), (4,), (rows, 4))

    def loss(inputs):
        return float((backend.linear_forward(**inputs) * dy).sum())

    inputs = {"x": x, "weight": weight, "bias": bias}
    grads = dict(zip(inputs, backend.linear_backward(dy, x, weight), strict=True))
    check_gradients(loss, inputs, grads)
    for name in grads:
        with pytest.raises(AssertionError):
            check_gradients(loss, inputs, grads | {name: 1.001 * grads[name]})


def test_only_wanted_gradients_are_computed(backend):
    x, weight, dy = draw(1, (5, 3), (4, 3), (5, 4))
    everything = backend.linear_backward(dy, x, weight)
    for wanted in range(3):
        needs = tuple(position == wanted for position in range(3))
        found = backend.linear_backward(dy, x, weight, needs)
        assert [gradient is not None for gradient in found] == list(needs)
        np.testing.assert_array_equal(found[wanted], everything[wanted])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, FLOAT32), (np.float64, FLOAT64)])
@given(
    M=st.sampled_from([0, 1, 2, 4, 5, 9, 40]),
    K=st.integers(0, 70),
    N=st.integers(0, 70),
    bias=st.booleans(),
    bf16=st.booleans(),
    seed=st.integers(0, 99),
)
def test_cpu_equals_reference(dtype, tolerance, M, K, N, bias, bf16, seed):
    x, weight, dy, b = draw(seed, (M, K), (N, K), (M, N), (N,), dtype=dtype)
    results = []
    for backend in (kernels, reference):
        y = backend.linear_forward(x, weight, b if bias else None, bf16)
        product = backend.matmul(x, np.ascontiguousarray(weight.T))
        results.append((y, product, *backend.linear_backward(dy, x, weight, bf16=bf16)))
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype == dtype
        np.testing.assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize("rows", [1, 2, 4, 30])
def test_bf16_rounds_the_operands_and_nothing_else(rows):
    """Products of numbers that bfloat16 holds are as without it; of others they are those of the rounded numbers."""
    x, weight = draw(2, (rows, 50), (40, 50), dtype=np.float32)
    exact = round_bf16(x).astype(np.float64) @ round_bf16(weight).astype(np.float64).T
    rounded = kernels.linear_forward(x, weight, None, bf16=True)
    np.testing.assert_allclose(rounded, exact, **FLOAT32)
    assert np.abs(rounded - kernels.linear_forward(x, weight, None)).max() > 1e-3
    doubles = x.astype(np.float64), weight.astype(np.float64), None
    np.testing.assert_array_equal(kernels.linear_forward(*doubles, True), kernels.linear_forward(*doubles))


LAYOUTS = {"C": np.array, "F": np.asfortranarray, "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2]}


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_matmul_reads_every_layout(left, right):
    a, b = draw(3, (7, 5), (5, 6))
    np.testing.assert_allclose(kernels.matmul(LAYOUTS[left](a), LAYOUTS[right](b)), a @ b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("rows", [3, 300])
def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch, bf16, rows):
    monkeypatch.setattr(linear, "DOT_WORK", 1000)
    x, weight, dy = draw(4, (rows, 130), (290, 130), (rows, 290), dtype=np.float32)
    results = []
    before = threads.get_num_threads()
    for count in (1, 2, 3):
        threads.set_num_threads(count)
        y = kernels.linear_forward(x, weight, weight[:, 0], bf16)
        results.append((y, *kernels.linear_backward(dy, x, weight, bf16=bf16)))
    threads.set_num_threads(before)
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:(invalid|divide|overflow):RuntimeWarning")  # of NumPy, without the compiler
@pytest.mark.parametrize("rows", [2, 20])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_nan_and_an_infinity_come_through(rows, bf16):
    x, weight = np.ones((rows, 3), np.float32), np.ones((4, 3), np.float32)
    x[0, 1], weight[2, 0] = np.nan, np.inf
    y = kernels.linear_forward(x, weight, None, bf16)
    assert np.isnan(y[0]).all()
    np.testing.assert_array_equal(y[1:], np.tile(np.float32([3, 3, np.inf, 3]), (rows - 1, 1)))


ERRORS = [
    (lambda: kernels.matmul(X, X), ValueError, "matmul: b has shape (3, 2); expected (K, N) = (2, 2) from a (3, 2)"),
    (lambda: kernels.matmul(X, BIAS), ValueError, "matmul: b has shape (2,); expected 2 dimensions (K, N)"),
    (lambda: kernels.matmul(X, WEIGHT.astype(int)), TypeError, "matmul: b has dtype int64; expected float32 or"),
    (lambda: kernels.linear_forward(X[0], WEIGHT, None), ValueError, "x has shape (2,); expected 2 dimensions (M, I)"),
    (
        lambda: kernels.linear_forward(X, X.T, None),
        ValueError,
        "linear_forward: weight has shape (2, 3); expected (O, I) = (2, 2) from x (3, 2)",
    ),
    (lambda: kernels.linear_forward(X, WEIGHT, X[:, 0]), ValueError, "bias has shape (3,); expected (O,) = (2,)"),
    (
        lambda: kernels.linear_forward(X, WEIGHT.astype(np.float32), None),
        TypeError,
        "linear_forward: weight has dtype float32; expected float64 as x",
    ),
    (
        lambda: kernels.linear_backward(X.T, X, WEIGHT),
        ValueError,
        "linear_backward: dy has shape (2, 3); expected (M, O) = (3, 2) from x (3, 2) and weight (2, 2)",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_arguments(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
