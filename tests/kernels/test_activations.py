"""tanh, sigmoid, exp and erfc of the CPU kernels against libm, in the type they are given."""

import math

import numpy as np
import pytest

from kernels.cpu.activations import erfc, exp, sigmoid, tanh
from kernels.cpu.jit import jit


@jit
def apply_all(x, tanh_out, sigmoid_out, exp_out):
    for k in range(x.shape[0]):
        tanh_out[k] = tanh(x[k])
        sigmoid_out[k] = sigmoid(x[k])
        exp_out[k] = exp(x[k])


@jit
def apply_erfc(x, out):
    for k in range(x.shape[0]):
        out[k] = erfc(x[k])


def evaluate(x):
    outputs = [np.empty_like(x) for _ in range(3)]
    apply_all(x, *outputs)
    return outputs


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 1e-15)], ids=["float32", "float64"])
def test_accuracy(dtype, tolerance):
    x = np.concatenate([np.linspace(-20, 20, 20_001), np.geomspace(1e-30, 1, 500)]).astype(dtype)
    exact = x.astype(np.float64)
    found_tanh, found_sigmoid, found_exp = evaluate(x)
    np.testing.assert_allclose(found_tanh, np.tanh(exact), rtol=0, atol=tolerance)
    np.testing.assert_allclose(found_sigmoid, 1 / (1 + np.exp(-exact)), rtol=0, atol=tolerance)
    np.testing.assert_allclose(found_exp, np.exp(exact), rtol=4e-7 if dtype is np.float32 else 1e-15)
    assert np.abs(found_tanh).max() <= 1
    assert found_sigmoid.min() >= 0
    assert found_sigmoid.max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_special_values(dtype):
    found_tanh, found_sigmoid, found_exp = evaluate(np.array([np.nan, np.inf, -np.inf, 0], dtype))
    np.testing.assert_allclose(found_tanh, [np.nan, 1, -1, 0], atol=3e-7)
    np.testing.assert_allclose(found_sigmoid, [np.nan, 1, 0, 0.5], atol=3e-7)
    np.testing.assert_array_equal(found_exp, [np.nan, np.inf, 0, 1])


def test_exp_over_the_whole_float32_range():
    x = np.linspace(-86.8, 88.7, 20_001).astype(np.float32)
    np.testing.assert_allclose(evaluate(x)[2], np.exp(x.astype(np.float64)), rtol=4e-7)
    np.testing.assert_array_equal(evaluate(np.array([-87, -1e4, 88.8, 1e4], np.float32))[2], [0, 0, np.inf, np.inf])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 5e-7), (np.float64, 1e-15)], ids=["float32", "float64"])
def test_erfc(dtype, tolerance):
    x = np.concatenate([np.linspace(-12, 12, 20_001), np.geomspace(1e-30, 1, 500), [np.nan, np.inf, -np.inf]])
    x, found = x.astype(dtype), np.empty(len(x), dtype)
    apply_erfc(x, found)
    exact = np.array([math.erfc(value) for value in x.astype(np.float64)])
    np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found[x < 3], exact[x < 3], rtol=2 * tolerance)
