"""Column sums: first row to last, as the bits show, on any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import get_num_threads, set_num_threads
from kernels.cpu.sums import CHUNK, column_sums

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


def first_row_to_last(matrix):
    total = np.zeros(matrix.shape[1], matrix.dtype)
    for row in matrix:
        total += row
    return total


@DTYPES
@given(
    rows=st.integers(0, 40),
    columns=st.integers(0, 20) | st.integers(CHUNK - 1, CHUNK + 1) | st.integers(2 * CHUNK, 2 * CHUNK + 9),
    seed=st.integers(0, 99),
)
def test_order_and_bits(dtype, rows, columns, seed):
    matrix = np.random.default_rng(seed).standard_normal((rows, columns)).astype(dtype)
    expected = first_row_to_last(matrix)
    for threads in (1, 2, 3, 5):
        set_num_threads(threads)
        found = column_sums(matrix)
        assert found.dtype == dtype
        assert found.tobytes() == expected.tobytes()


def test_another_order_has_other_bits():
    """The proof that the test above can fail."""
    matrix = np.random.default_rng(0).standard_normal((40, 300)).astype(np.float32)
    assert column_sums(matrix).tobytes() != first_row_to_last(matrix[::-1]).tobytes()
    assert column_sums(matrix).tobytes() != matrix.astype(np.float64).sum(axis=0).astype(np.float32).tobytes()


@DTYPES
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_column(dtype, poison):
    matrix = np.ones((9, 300), dtype)
    matrix[4, 270] = poison
    found = column_sums(matrix)
    np.testing.assert_array_equal(found[270], poison)
    np.testing.assert_array_equal(np.delete(found, 270), 9)
