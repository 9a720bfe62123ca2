"""LSTM and GRU with products in bfloat16: the CPU kernels against the reference, and both against float32."""

import numpy as np
import pytest

import kernels
from kernels import reference

SIZES = pytest.mark.parametrize(("T", "N", "I", "H"), [(4, 3, 5, 7), (9, 12, 24, 40), (25, 8, 64, 128)])

# Both backends round the same numbers, but their float32 states differ in the last bits. One that lies between two
# bfloat16 may be rounded to the other neighbour, 2^-8 of it away, and that changes every number computed from it. So
# a single element may be off by 2^-8 of the largest; all of an array together (as lengths of vectors) by much less.
ELEMENT, WHOLE = 2.0**-8, 2.0**-10
# Rounding of both operands, 2^-9 each at most, carried through up to 25 steps forward and backward.
ROUNDING = 2.0**-6


def sample(layer, rng, T, N, I, H, dtype=np.float32):  # noqa: E741
    """Inputs with weights of the size that PyTorch's initialisation gives, gradients of all outputs, and lengths."""
    inputs = layer.sample(rng, T, N, I, H, dtype)
    for name in ("weight_ih", "weight_hh"):
        inputs[name] /= dtype(np.sqrt(H))
    return inputs, layer.sample_gradients(rng, inputs), rng.integers(0, T + 1, N)


def run(layer, backend, inputs, grad_outputs, lengths, bf16):
    """All outputs and gradients by name."""
    outputs, cache = layer.forward(backend, inputs, lengths, bf16)
    grads = layer.backward(backend, grad_outputs, cache)
    return outputs | {f"d{name}": grad for name, grad in grads.items()}


def distance(found, expected):
    """Of two arrays, as a share of the length of the second."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def assert_near(found, expected):
    for name, value in expected.items():
        assert found[name].dtype == value.dtype == np.float32, name
        assert np.abs(found[name] - value).max() <= ELEMENT * np.abs(value).max(), name
        assert distance(found[name], value) <= WHOLE, name


@SIZES
def test_equals_reference(layer, rng, T, N, I, H):  # noqa: E741
    for _ in range(3):
        arguments = sample(layer, rng, T, N, I, H)
        found, expected, exact = (
            run(layer, backend, *arguments, bf16)
            for backend, bf16 in ((kernels, True), (reference, True), (reference, False))
        )
        assert_near(found, expected)
        with pytest.raises(AssertionError):  # the check can fail: float32 is too far from bfloat16 to pass
            assert_near(exact, expected)


def test_one_step_is_rounded_exactly(layer, rng):
    """All operands are inputs here, so both backends round the same bits; only the order of sums is left."""
    inputs, _, _ = sample(layer, rng, 1, 12, 24, 40)
    found, expected, exact = (
        layer.forward(backend, inputs, None, bf16)[0].values()
        for backend, bf16 in ((kernels, True), (reference, True), (reference, False))
    )
    for output, value, without in zip(found, expected, exact, strict=True):
        np.testing.assert_allclose(output, value, atol=2e-6, rtol=0)
        assert np.abs(without - value).max() > 1e-4


@SIZES
def test_is_near_float32(layer, backend, rng, T, N, I, H):  # noqa: E741
    arguments = sample(layer, rng, T, N, I, H)
    rounded, exact = (run(layer, backend, *arguments, bf16) for bf16 in (True, False))
    for name, value in exact.items():
        assert 0 < distance(rounded[name], value) <= ROUNDING, name


def test_float64_ignores_it(layer, backend, rng):
    arguments = sample(layer, rng, 5, 4, 3, 6, np.float64)
    rounded, exact = (run(layer, backend, *arguments, bf16) for bf16 in (True, False))
    for name, value in exact.items():
        assert rounded[name].dtype == np.float64
        assert rounded[name].tobytes() == value.tobytes(), name


def test_gradients_of_numbers_that_bfloat16_holds(layer, check_gradients):
    """With inputs that need no rounding, and states of one step, the float64 gradient is theirs up to sums' rounding.

    Weights and inputs are multiples of 1/16; what is rounded then is only the incoming gradient of the gates.
    """
    rng = np.random.default_rng(5)
    inputs = layer.sample(rng, 1, 4, 6, 5, np.float64)
    inputs = {name: np.round(16 * array) / 16 for name, array in inputs.items()}
    weights = {name: rng.standard_normal(shape.shape) for name, shape in layer.forward(reference, inputs)[0].items()}

    def loss(arrays):
        outputs, _ = layer.forward(reference, arrays)
        return sum(float((outputs[name] * weight).sum()) for name, weight in weights.items())

    exact = layer.backward(reference, weights, layer.forward(reference, inputs)[1])
    check_gradients(loss, inputs, exact)
    single = {name: array.astype(np.float32) for name, array in inputs.items()}
    found = run(layer, kernels, single, {name: w.astype(np.float32) for name, w in weights.items()}, None, True)
    for name, grad in exact.items():
        assert distance(found[f"d{name}"], grad) <= 2.0**-8, name


def test_rows_stand_alone(layer, rng):
    """A row's bits are those of its sentence alone, whatever its neighbours."""
    inputs, grad_outputs, _ = sample(layer, rng, 5, 4, 8, 16)
    lengths = np.array([3, 0, 5, 2])
    found = run(layer, kernels, inputs, grad_outputs, lengths, True)
    for n, length in enumerate(lengths):
        alone = {
            name: array[:length, n : n + 1] if name == "x" else array[n : n + 1] if name in ("h0", "c0") else array
            for name, array in inputs.items()
        }
        outputs, _ = layer.forward(kernels, alone, None, True)
        np.testing.assert_array_equal(outputs["y"], found["y"][:length, n : n + 1])
        np.testing.assert_array_equal(outputs["h_n"], found["h_n"][n : n + 1])


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nan_and_infinity_are_not_swallowed(layer, backend, rng, poison):
    for name in layer.inputs:
        inputs, grad_outputs, _ = sample(layer, rng, 3, 2, 3, 4)
        inputs[name].flat[inputs[name].size // 2] = poison
        with np.errstate(invalid="ignore"):
            found = run(layer, backend, inputs, grad_outputs, None, True)
        assert any(np.isnan(array).any() for array in found.values()) or not np.isnan(poison), name
    inputs, grad_outputs, _ = sample(layer, rng, 3, 2, 3, 4)
    grad_outputs["y"][2, 1, 0] = poison
    with np.errstate(invalid="ignore"):
        found = run(layer, backend, inputs, grad_outputs, None, True)
    assert not np.isfinite(found["dweight_hh"]).all()
    assert not np.isfinite(found["dx"][:, 1]).any()
    assert np.isfinite(found["dx"][:, 0]).all()
