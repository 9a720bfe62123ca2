"""Rows in another order, whole or in parts: every dtype, to the bit, against the reference and against an equation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference
from kernels.cpu import rows as cpu_rows
from kernels.threads import get_num_threads, set_num_threads

DTYPES = [np.float32, np.float64, np.float16, np.int64, np.int32, np.uint8, np.bool_]


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)


def some_rows(count, among, seed=0):
    """(count,) rows, some of them -1."""
    return np.random.default_rng(seed).integers(-1, among, count)


def same(found, expected):
    """Shape, dtype and bits."""
    return (found.shape, found.dtype, found.tobytes()) == (expected.shape, expected.dtype, expected.tobytes())


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_the_equation(backend, dtype):
    x, rows = numbers((4, 6), dtype), np.array([2, -1, 0, -1, 2])
    parts = backend.split_rows(x, rows, 3, 1.0)
    assert len(parts) == 3
    for place, part in enumerate(parts):
        expected = [x[r, 2 * place : 2 * place + 2] if r >= 0 else np.ones(2, dtype) for r in rows]
        assert same(part, np.array(expected))
    joined = backend.join_rows(parts, np.array([4, -1, 1]))
    assert same(joined, np.array([x[2], np.zeros(6, dtype), np.ones(6, dtype)]))


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    size=st.tuples(st.integers(0, 9), st.integers(0, 5)),
    num_parts=st.integers(1, 4),
    count=st.none() | st.integers(0, 12),
    seed=st.integers(0, 99),
)
def test_cpu_equals_reference_to_the_bit(dtype, size, num_parts, count, seed):
    R, F = size
    x = numbers((R, num_parts * F), dtype, seed)
    rows = None if count is None else some_rows(count, R, seed)
    found, expected = (backend.split_rows(x, rows, num_parts, 7) for backend in (kernels, reference))
    assert all(same(*pair) for pair in zip(found, expected, strict=True))
    parts = [numbers((R, F), dtype, seed + place) for place in range(num_parts)]
    assert same(kernels.join_rows(parts, rows), reference.join_rows(parts, rows))


@pytest.mark.parametrize("threads", [1, 3])
def test_several_pieces(threads):
    """More rows than one task moves, on more threads than one."""
    x, before = numbers((900, 3 * 200), np.float32), get_num_threads()
    rows = some_rows(1000, 900)
    try:
        set_num_threads(threads)
        found, joined = kernels.split_rows(x, rows, 3), kernels.join_rows([x, x + 1], rows)
    finally:
        set_num_threads(before)
    assert all(same(*pair) for pair in zip(found, reference.split_rows(x, rows, 3), strict=True))
    assert same(joined, reference.join_rows([x, x + 1], rows))


def test_bits_stay_and_arguments_too(backend):
    """Signs of zero and what a NaN carries are moved as well; no result shares memory with an argument."""
    bits = np.array([[0x80000000, 0x7F800001, 0xFFC12345]], np.uint32)
    x, before = bits.view(np.float32), bits.copy()
    (y,) = backend.split_rows(x, None)
    joined = backend.join_rows([x], None)
    y[...] = joined[...] = np.where(True, joined, y)
    np.testing.assert_array_equal(joined.view(np.uint32), before)
    joined[...] = y[...] = 1
    np.testing.assert_array_equal(bits, before)


def test_columns_of_something_larger(rng):
    """Arrays that do not lie in order are read as what they are."""
    whole, rows = rng.standard_normal((5, 12)), np.array([4, 0, -1])
    for x in (whole[:, 3:9], whole.T[:5, :4], whole[::-1, ::2]):
        assert all(
            same(*pair) for pair in zip(kernels.split_rows(x, rows, 2), reference.split_rows(x, rows, 2), strict=True)
        )
        assert same(kernels.join_rows([x, x], rows), reference.join_rows([x, x], rows))


def test_joining_is_the_gradient_of_splitting(backend, rng, check_gradients):
    rows, places = np.array([3, -1, 0, 1]), np.array([2, 3, -1, 0])
    dparts = [rng.standard_normal((4, 2)) for _ in range(3)]

    def loss(inputs):
        parts = backend.split_rows(inputs["x"], rows, 3, 5.0)
        return float(sum((part * dy).sum() for part, dy in zip(parts, dparts, strict=True)))

    check_gradients(loss, {"x": rng.standard_normal((4, 6))}, {"x": backend.join_rows(dparts, places)})


def test_the_comparison_sees_a_wrong_row(monkeypatch):
    """A kernel that reads the row after the one it is told is found."""
    x, rows, right = numbers((5, 4), np.float32), np.array([1, -1, 3]), cpu_rows._move
    monkeypatch.setattr(
        cpu_rows, "_move", lambda x, column, rows, *others: right(x, column, rows + (rows >= 0), *others)
    )
    assert not same(kernels.split_rows(x, rows)[0], reference.split_rows(x, rows)[0])
    assert not same(kernels.join_rows([x], rows), reference.join_rows([x], rows))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x, r: kernels.split_rows(x, r, 4),
            ValueError,
            "x has shape (3, 6); expected columns for num_parts = 4",
        ),
        (lambda x, r: kernels.split_rows(x, r, 0), ValueError, "num_parts is 0"),
        (lambda x, r: kernels.split_rows(x[0], r), ValueError, "x has shape (6,)"),
        (lambda x, r: kernels.split_rows(x, r + 1), IndexError, "rows holds 3; expected below R = 3"),
        (lambda x, r: kernels.split_rows(x, r[None]), ValueError, "rows has shape (1, 3); expected 1 dimension"),
        (lambda x, r: kernels.split_rows(x, r.astype(float)), TypeError, "rows has dtype float64; expected an integer"),
        (lambda x, r: kernels.join_rows([], r), ValueError, "parts is empty"),
        (lambda x, r: kernels.join_rows([x, x[:2]], r), ValueError, "parts[1] has shape (2, 6)"),
        (
            lambda x, r: kernels.join_rows([x, x.astype(int)], r),
            TypeError,
            "parts[1] has dtype int64; expected float64",
        ),
        (lambda x, r: kernels.join_rows([x], r + 1), IndexError, "rows holds 3; expected below R = 3"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(np.zeros((3, 6)), np.arange(3))
    assert message in str(caught.value)
