"""Adam against PyTorch and by hand, and the sum of squares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference

SETTINGS = {"lr": 0.02, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.3}


@pytest.mark.parametrize("decoupled", [False, True], ids=["adam", "adamw"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_equals_torch(backend, rng, dtype, decoupled):
    """A large eps and five steps: where eps and the bias corrections stand shows."""
    torch = pytest.importorskip("torch")
    param = rng.standard_normal((7, 5)).astype(dtype)
    m, v = np.zeros_like(param), np.zeros_like(param)
    twin = torch.nn.Parameter(torch.from_numpy(param.copy()))
    s = SETTINGS
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimiser = kind([twin], s["lr"], (s["beta1"], s["beta2"]), s["eps"], s["weight_decay"])
    for step in range(1, 6):
        grad = rng.standard_normal((7, 5)).astype(dtype)
        backend.adam_step_all([param], [grad], [m], [v], kernels.adam_scalars(step, **SETTINGS, decoupled=decoupled))
        twin.grad = torch.from_numpy(grad)
        optimiser.step()
    tolerance = 1e-6 if dtype is np.float32 else 1e-13
    for found, expected in (
        (param, twin.detach()),
        (m, optimiser.state[twin]["exp_avg"]),
        (v, optimiser.state[twin]["exp_avg_sq"]),
    ):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected.numpy(), rtol=tolerance, atol=tolerance)


def test_first_step_by_hand(backend):
    """With zero moments the corrections cancel: the step is lr * sign(grad), up to eps."""
    param, grad = np.array([1.0, 2.0]), np.array([0.5, -4.0])
    m, v = np.zeros(2), np.zeros(2)
    backend.adam_step_all([param], [grad], [m], [v], kernels.adam_scalars(1, 0.1, 0.9, 0.999, 0.0, 0.0, False))
    np.testing.assert_allclose(param, [0.9, 2.1])
    np.testing.assert_allclose(m, [0.05, -0.4])
    np.testing.assert_allclose(v, [0.00025, 0.016])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)], ids=["float64", "float32"])
@given(size=st.integers(0, 70), step=st.integers(1, 10_000), seed=st.integers(0, 99), decoupled=st.booleans())
def test_adam_cpu_equals_reference(dtype, tolerance, size, step, seed, decoupled):
    rng = np.random.default_rng(seed)
    start = [rng.standard_normal(size).astype(dtype) for _ in range(4)]
    start[3] **= 2
    found, expected = ([array.copy() for array in start] for _ in range(2))
    scalars = kernels.adam_scalars(step, **SETTINGS, decoupled=decoupled)
    kernels.adam_step_all(*([array] for array in found), scalars)
    reference.adam_step_all(*([array] for array in expected), scalars)
    np.testing.assert_array_equal(found[1], start[1])
    for array, twin in zip(found, expected, strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, twin, rtol=tolerance, atol=tolerance)


def test_adam_updates_non_contiguous_arrays_in_place(rng):
    arrays = [rng.standard_normal((4, 6)) ** 2 for _ in range(4)]
    expected = [array.copy() for array in arrays]
    views = [np.asfortranarray(array) for array in arrays]
    scalars = kernels.adam_scalars(3, **SETTINGS, decoupled=False)
    kernels.adam_step_all(*([view] for view in views), scalars)
    reference.adam_step_all(*([array] for array in expected), scalars)
    for view, twin in zip(views, expected, strict=True):
        np.testing.assert_allclose(view, twin, atol=1e-14)


def test_adam_keeps_a_nan_where_it_is(backend):
    param, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    scalars = kernels.adam_scalars(1, **SETTINGS, decoupled=True)
    backend.adam_step_all([param], [np.array([0, np.nan, 1.0])], [m], [v], scalars)
    np.testing.assert_array_equal(np.isnan(param), [False, True, False])


@given(size=st.integers(0, 3000), seed=st.integers(0, 99))
def test_sum_of_squares(size, seed):
    x = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    expected = sum(float(value) ** 2 for value in x)
    for backend in (kernels, reference):
        total = backend.sum_of_squares(x)
        assert isinstance(total, float)
        assert total == pytest.approx(expected, rel=1e-13)
        assert total == backend.sum_of_squares(x)


def test_sum_of_squares_of_large_and_broken_values(backend):
    assert backend.sum_of_squares(np.full((2, 3), 1e30, np.float32)) == pytest.approx(6e60, rel=1e-6)
    assert np.isnan(backend.sum_of_squares(np.array([1, np.nan])))
    assert backend.sum_of_squares(np.array([1, -np.inf])) == np.inf
    assert backend.sum_of_squares(np.arange(12.0).reshape(3, 4).T[::2]) == 220
