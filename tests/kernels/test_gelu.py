"""GELU: values by libm, gradients by differences, CPU against reference, NaN and the far ends."""

import math

import numpy as np
import pytest

import kernels
from kernels import reference, threads
from kernels.cpu import gelu

FORMS = pytest.mark.parametrize("approximate", [False, True], ids=["exact", "tanh"])


def by_libm(x, approximate):
    """Of one float, in other words."""
    if approximate:
        return x / (1 + math.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * math.erfc(-x / math.sqrt(2)) / 2


@FORMS
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_values(backend, approximate, dtype, tolerance):
    x = np.linspace(-9, 9, 3003).astype(dtype).reshape(3, 1001)
    y = backend.gelu_forward(x, approximate)
    assert (y.dtype, y.shape) == (dtype, x.shape)
    exact = np.vectorize(by_libm)(x.astype(np.float64), approximate)
    np.testing.assert_allclose(y, exact, rtol=tolerance, atol=2 * tolerance)


@FORMS
def test_gradient(backend, check_gradients, approximate):
    rng = np.random.default_rng(0)
    x, dy = 2 * rng.standard_normal((5, 7)), rng.standard_normal((5, 7))
    grads = {"x": backend.gelu_backward(dy, x, approximate)}

    def loss(inputs):
        return float((backend.gelu_forward(inputs["x"], approximate) * dy).sum())

    check_gradients(loss, {"x": x}, grads)
    with pytest.raises(AssertionError):
        check_gradients(loss, {"x": x}, {"x": 1.001 * grads["x"]})


@FORMS
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (37, 65)])
def test_cpu_equals_reference(monkeypatch, approximate, dtype, tolerance, shape):
    """On several threads and pieces, too."""
    monkeypatch.setattr(gelu, "CHUNK", 100)
    rng = np.random.default_rng(1)
    x, dy = (np.asarray(3 * rng.standard_normal(shape)).astype(dtype) for _ in range(2))
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(2)
        found = [kernels.gelu_forward(x, approximate), kernels.gelu_backward(dy, x, approximate)]
    finally:
        threads.set_num_threads(before)
    wanted = [reference.gelu_forward(x, approximate), reference.gelu_backward(dy, x, approximate)]
    for got, want in zip(found, wanted, strict=True):
        assert (got.dtype, got.shape) == (dtype, shape)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-7), (np.float64, 4e-15)])
def test_the_error_function(backend, dtype, tolerance):
    x = np.array([0, 1e-30, -1e-4, 0.3, -1, 2.5, 5, -7, np.inf, -np.inf, np.nan], dtype).reshape(1, -1)
    y = backend.erf(x)
    assert (y.dtype, y.shape) == (dtype, x.shape)
    np.testing.assert_allclose(y, np.vectorize(math.erf)(x.astype(np.float64)), rtol=tolerance)


@FORMS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:invalid:RuntimeWarning")
def test_the_ends_and_nan(backend, approximate, dtype):
    x = np.array([np.nan, np.inf, 50, -50, 0], dtype)
    y, dx = backend.gelu_forward(x, approximate), backend.gelu_backward(np.ones_like(x), x, approximate)
    np.testing.assert_allclose(y, [np.nan, np.inf, 50, 0, 0], atol=1e-13)
    np.testing.assert_allclose(dx[[0, 2, 3, 4]], [np.nan, 1, 0, 0.5], rtol=1e-6, atol=1e-13)
