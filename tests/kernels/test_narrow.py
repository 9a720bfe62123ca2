"""Weights in int8 and float16: what they stand for, and products of weights beside each other.

Products of one weight are tested with all others: `test_gemm.py`, `test_tile_code.py`.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.cpu.gemm import multiply
from kernels.cpu.product import DEPTH
from kernels.cpu.weights import prepack_as
from kernels.forms import FORMS, int8_rows, rounded


def sample(seed, *shape):
    """Rows of very different sizes."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 3, (shape[0], 1))).astype(np.float32)


@given(st.integers(0, 10**6), st.integers(0, 9), st.integers(0, 40))
def test_int8_is_as_near_as_its_steps(seed, rows, columns):
    """And what it stands for is in int8 again without a change."""
    matrix = sample(seed, rows, columns)
    q, scale = int8_rows(matrix)
    assert (q.dtype, scale.dtype, q.shape, scale.shape) == (np.int8, np.float32, matrix.shape, (rows,))
    assert (np.abs(matrix - rounded(matrix, "int8")) <= 0.5001 * scale[:, None]).all()
    again, scale_again = int8_rows(rounded(matrix, "int8"))
    np.testing.assert_array_equal(again, q)
    np.testing.assert_allclose(scale_again, scale, rtol=2e-7)


def test_rows_that_have_no_usual_scale():
    tiny = np.full((1, 3), 190 * 2.0**-149, np.float32)  # its scale is the smallest number there is
    q, scale = int8_rows(np.concatenate([np.zeros((1, 3), np.float32), tiny]))
    assert scale.tolist() == [1, 2.0**-149]
    assert q.tolist() == [[0, 0, 0], [127, 127, 127]]
    assert np.isnan(int8_rows(np.array([[1, np.nan]], np.float32))[1]).all()


def test_other_forms_and_float64_are_left_alone():
    matrix = sample(0, 3, 4)
    for form in FORMS:
        assert (rounded(matrix.astype(float), form) == matrix).all()
    assert all(rounded(matrix, form) is matrix for form in ("full", "bf16"))


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 9),
    columns=st.integers(1, 60),
    parts=st.tuples(st.integers(0, 40), st.integers(0, 40)) | st.just((DEPTH + 3, 2 * DEPTH + 1)),
    form=st.sampled_from(["int8", "f16"]),
)
def test_two_weights_beside_each_other_keep_their_scales(seed, rows, columns, parts, form):
    weights = [sample(seed + number, columns, part) for number, part in enumerate(parts)]
    x = np.random.default_rng(seed).standard_normal((rows, sum(parts))).astype(np.float32)
    packed = prepack_as(form, np.concatenate(weights, axis=1), parts[0])
    found = multiply(x, False, packed, np.empty((rows, columns), np.float32))
    both = np.concatenate([rounded(weight, form) for weight in weights], axis=1).astype(float).T
    bound = (len(both) + 2) * np.finfo(np.float32).eps * (np.abs(x) @ np.abs(both))
    assert (np.abs(found - x @ both) <= bound).all()


@pytest.mark.parametrize(("form", "most"), [("int8", 0.27), ("f16", 0.51), ("bf16", 0.51), ("full", 1.01)])
def test_their_memory(form, most):
    weight = sample(0, 960, 512)
    assert prepack_as(form, weight).panels.nbytes <= most * weight.nbytes
