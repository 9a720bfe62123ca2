"""Cross-entropy: known values, the gradient by differences, CPU against reference and PyTorch, extreme logits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference

TARGETS = np.array([2, -100, 0, 4, 4])


def test_known_values(backend):
    losses, cache = backend.cross_entropy_forward(np.zeros((2, 4)), np.array([1, 3]))
    np.testing.assert_allclose(losses, [math.log(4)] * 2)
    dlogits = backend.cross_entropy_backward(np.array([1.0, 2.0]), cache)
    np.testing.assert_allclose(dlogits, [[0.25, -0.75, 0.25, 0.25], [0.5, 0.5, 0.5, -1.5]])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_gradient(backend, rng, check_gradients, label_smoothing):
    logits, dlosses = rng.standard_normal((5, 6)), rng.standard_normal(5)

    def loss(inputs):
        losses, _ = backend.cross_entropy_forward(inputs["logits"], TARGETS, label_smoothing=label_smoothing)
        return float(losses @ dlosses)

    _, cache = backend.cross_entropy_forward(logits, TARGETS, label_smoothing=label_smoothing)
    dlogits = backend.cross_entropy_backward(dlosses, cache)
    check_gradients(loss, {"logits": logits}, {"logits": dlogits})
    with pytest.raises(AssertionError):
        check_gradients(loss, {"logits": logits}, {"logits": 1.001 * dlogits})


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)], ids=["float64", "float32"])
@given(
    M=st.integers(0, 6),
    V=st.integers(1, 70),
    seed=st.integers(0, 99),
    label_smoothing=st.sampled_from([0.0, 0.3]),
    scale=st.sampled_from([1.0, 30.0]),
)
def test_cpu_equals_reference(dtype, tolerance, M, V, seed, label_smoothing, scale):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.standard_normal((M, V))).astype(dtype)
    targets = rng.integers(-1, V, M)
    dlosses = rng.standard_normal(M).astype(dtype)
    results = []
    for backend in (kernels, reference):
        losses, cache = backend.cross_entropy_forward(logits, targets, -1, label_smoothing)
        results.append((losses, backend.cross_entropy_backward(dlosses, cache)))
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_equals_torch(backend, rng, label_smoothing):
    torch = pytest.importorskip("torch")
    logits, dlosses = rng.standard_normal((5, 6)), rng.standard_normal(5)
    leaf = torch.from_numpy(logits).clone().requires_grad_()
    twin = torch.nn.functional.cross_entropy(
        leaf, torch.from_numpy(TARGETS), reduction="none", label_smoothing=label_smoothing
    )
    twin.backward(torch.from_numpy(dlosses))
    losses, cache = backend.cross_entropy_forward(logits, TARGETS, label_smoothing=label_smoothing)
    np.testing.assert_allclose(losses, twin.detach().numpy(), atol=1e-13)
    np.testing.assert_allclose(backend.cross_entropy_backward(dlosses, cache), leaf.grad.numpy(), atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_large_logits(backend, dtype):
    """Next to 1e4 the small differences between logits still count."""
    row = np.array([0.0, 1.0, 2.0, 3.0], dtype)
    plain, _ = backend.cross_entropy_forward(row[None], np.array([1]))
    for offset in (1e4, -1e4):
        losses, cache = backend.cross_entropy_forward(row[None] + dtype(offset), np.array([1]))
        np.testing.assert_allclose(losses, plain, rtol=1e-6)
        dlogits = backend.cross_entropy_backward(np.ones(1, dtype), cache)
        np.testing.assert_allclose(dlogits, [np.exp(row) / np.exp(row).sum() - np.eye(4)[1]], atol=1e-6)
    losses, cache = backend.cross_entropy_forward(np.array([[1e4, -1e4]], dtype), np.array([1]))
    np.testing.assert_array_equal(losses, [2e4])
    np.testing.assert_array_equal(backend.cross_entropy_backward(np.ones(1, dtype), cache), [[1, -1]])


def test_nan_and_masked_classes(backend):
    """A NaN spoils its own row only; a class at -inf has probability 0; an ignored row stays zero."""
    logits = np.array([[np.nan, 0, 1], [-np.inf, 0, 0], [np.nan, 0, 0]])
    losses, cache = backend.cross_entropy_forward(logits, np.array([1, 1, -100]))
    np.testing.assert_allclose(losses, [np.nan, math.log(2), 0])
    dlogits = backend.cross_entropy_backward(np.ones(3), cache)
    np.testing.assert_allclose(dlogits, [[np.nan] * 3, [0, -0.5, 0.5], [0] * 3])


def test_logits_stay_unchanged(backend, rng):
    logits, dlosses = rng.standard_normal((5, 6)), rng.standard_normal(5)
    before = logits.copy()
    _, cache = backend.cross_entropy_forward(logits, TARGETS)
    first, second = (backend.cross_entropy_backward(dlosses, cache) for _ in range(2))
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, logits)


def test_non_contiguous_logits(rng):
    logits, dlosses = rng.standard_normal((6, 5)).T, rng.standard_normal(10)[::2]
    found, cache = kernels.cross_entropy_forward(logits, TARGETS.astype(np.int32))
    expected, twin = reference.cross_entropy_forward(logits, TARGETS)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(
        kernels.cross_entropy_backward(dlosses, cache), reference.cross_entropy_backward(dlosses, twin), atol=1e-14
    )
