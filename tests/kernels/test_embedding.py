"""Embedding: rows by id, and the row-wise gradient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference

IDS = np.array([[4, 1, 4], [0, 1, 4]])


def test_forward(backend, rng):
    weight = rng.standard_normal((5, 3))
    expected = [[weight[4], weight[1], weight[4]], [weight[0], weight[1], weight[4]]]
    np.testing.assert_array_equal(backend.embedding_forward(weight, IDS), expected)
    assert backend.embedding_forward(weight, np.zeros((0, 2), int)).shape == (0, 2, 3)


@pytest.mark.parametrize(("padding_idx", "expected_rows"), [(None, [0, 1, 4]), (1, [0, 4]), (3, [0, 1, 4])])
def test_backward(backend, rng, padding_idx, expected_rows):
    dy = rng.standard_normal((2, 3, 3))
    sums = {0: dy[1, 0], 1: dy[0, 1] + dy[1, 1], 4: dy[0, 0] + dy[0, 2] + dy[1, 2]}
    rows, values = backend.embedding_backward(dy, IDS, padding_idx)
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(values, [sums[row] for row in expected_rows], atol=1e-15)


def test_gradient(backend, rng, check_gradients):
    weight, dy = rng.standard_normal((5, 3)), rng.standard_normal((2, 3, 3))
    dweight = np.zeros_like(weight)
    rows, values = backend.embedding_backward(dy, IDS)
    dweight[rows] = values

    def loss(inputs):
        return float((backend.embedding_forward(inputs["weight"], IDS) * dy).sum())

    check_gradients(loss, {"weight": weight}, {"weight": dweight})


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@given(count=st.integers(0, 40), E=st.integers(1, 20), seed=st.integers(0, 99), padding_idx=st.sampled_from([None, 0]))
def test_cpu_equals_reference_to_the_bit(dtype, count, E, seed, padding_idx):
    """Both add the gradients of a row in the order of ids."""
    rng = np.random.default_rng(seed)
    ids, dy = rng.integers(0, 6, count), rng.standard_normal((count, E)).astype(dtype)
    found, expected = (backend.embedding_backward(dy, ids, padding_idx) for backend in (kernels, reference))
    for array, twin in zip(found, expected, strict=True):
        assert array.dtype == twin.dtype
        np.testing.assert_array_equal(array, twin)


def test_non_contiguous_and_other_integers(rng):
    dy = rng.standard_normal((3, 3, 2)).T
    expected = reference.embedding_backward(dy, IDS)
    for ids in (IDS.astype(np.uint8), np.asfortranarray(IDS)):
        for array, twin in zip(kernels.embedding_backward(dy, ids), expected, strict=True):
            np.testing.assert_array_equal(array, twin)


def test_nan_stays_in_its_row(backend, rng):
    dy = rng.standard_normal((2, 3, 3))
    dy[0, 1, 2] = np.nan
    _, values = backend.embedding_backward(dy, IDS)
    np.testing.assert_array_equal(np.isnan(values), [[False] * 3, [False, False, True], [False] * 3])
