"""Products of batches of matrices: CPU against reference, layouts, bits that depend on nothing beside, bfloat16."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config

import kernels
from kernels import reference, threads
from kernels.cpu import batches
from kernels.reference.precision import round_bf16

DTYPES = [np.float32, np.float64]
# K eps times the sum of magnitudes, of sums in any order; both operands of a product in bfloat16 are rounded alike.
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}


def draw(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_product(found, a, b, dtype):
    want, K = a.astype(np.float64) @ b.astype(np.float64), a.shape[2]
    assert found.dtype == dtype
    assert found.shape == want.shape
    assert (np.abs(found - want) <= (K + 1) * EPS[dtype] * (np.abs(a) @ np.abs(b)).astype(np.float64) + 1e-30).all()


def test_known_values(backend):
    a, b = np.arange(8.0).reshape(2, 2, 2), np.array([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]])
    np.testing.assert_array_equal(backend.bmm(a, b), [[[0, 2], [2, 6]], [[5, 4], [7, 6]]])


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    B=st.integers(0, 4),
    M=st.sampled_from([0, 1, 2, 7, 40]),
    K=st.sampled_from([0, 1, 2, 5, 33, 70]),
    N=st.sampled_from([0, 1, 3, 16, 50]),
    bf16=st.booleans(),
    seed=st.integers(0, 99),
)
def test_cpu_equals_reference(dtype, B, M, K, N, bf16, seed):
    a, b = draw(seed, (B, M, K), (B, K, N), dtype=dtype)
    found, want = kernels.bmm(a, b, bf16), reference.bmm(a, b, bf16)
    assert want.dtype == dtype
    if bf16 and dtype == np.float32:
        a, b = round_bf16(a), round_bf16(b)
    assert_product(found, a, b, dtype)
    assert_product(want, a, b, dtype)


def test_bf16_rounds_the_operands():
    a, b = draw(1, (2, 9, 40), (2, 40, 11), dtype=np.float32)
    assert np.abs(kernels.bmm(a, b, True) - kernels.bmm(a, b)).max() > 1e-3
    assert kernels.bmm(a, b, True).tobytes() == kernels.bmm(round_bf16(a), round_bf16(b), True).tobytes()
    doubles = a.astype(np.float64), b.astype(np.float64)
    assert kernels.bmm(*doubles, True).tobytes() == kernels.bmm(*doubles).tobytes()


LAYOUTS = {
    "C": np.array,
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
    "time-major": lambda x: np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1),
    "batch last": lambda x: np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1),
    "cut": lambda x: np.pad(x, ((1, 0), (2, 1), (3, 2)))[1:, 2:-1, 3:-2],
    "cut and transposed": lambda x: np.pad(x.swapaxes(1, 2), ((0, 1), (2, 1), (0, 2)))[:-1, 2:-1, :-2].swapaxes(1, 2),
    "every second item": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second column": lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "upside down": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "right to left": lambda x: np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1],
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_every_layout_has_the_same_bits(left, right, bf16):
    for shape in ((3, 5, 7, 6), (2, 1, 9, 1), (1, 4, 1, 20)):
        B, M, K, N = shape
        a, b = draw(2, (B, M, K), (B, K, N), dtype=np.float32)
        found = kernels.bmm(LAYOUTS[left](a), LAYOUTS[right](b), bf16)
        assert found.tobytes() == kernels.bmm(a, b, bf16).tobytes()


def test_one_matrix_for_all():
    a, b = draw(3, (4, 5, 6), (6, 7))
    everywhere = np.broadcast_to(b, (4, 6, 7))
    np.testing.assert_array_equal(kernels.bmm(a, everywhere), kernels.bmm(a, everywhere.copy()))


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")
def test_what_may_not_be_written_compiles_nothing_anew():
    a, b = draw(5, (4, 5, 6), (4, 6, 7), dtype=np.float32)
    kernels.bmm(a, b)
    compiled = batches._multiply.signatures
    left, right = np.broadcast_to(a[:1], a.shape), np.broadcast_to(b[0], b.shape)
    assert not left.flags.writeable
    for pair in ((left, b), (a, right), (left, right)):
        np.testing.assert_array_equal(kernels.bmm(*pair), kernels.bmm(*(each.copy() for each in pair)))
    assert batches._multiply.signatures == compiled


def test_rows_that_share_memory():
    windows = np.lib.stride_tricks.sliding_window_view(draw(6, (2, 12))[0], 7, axis=1)  # (2, 6, 7)
    (b,) = draw(7, (2, 7, 5))
    np.testing.assert_array_equal(kernels.bmm(windows, b), kernels.bmm(windows.copy(), b))
    alike = np.broadcast_to(windows[:, :1], windows.shape)
    np.testing.assert_array_equal(kernels.bmm(alike, b), kernels.bmm(alike.copy(), b))


@pytest.mark.parametrize("layout", ["transposed", "time-major", "cut and transposed"])
def test_what_lies_well_is_not_copied(monkeypatch, layout):
    a, b = (LAYOUTS[layout](x) for x in draw(4, (3, 5, 7), (3, 7, 6)))
    for x in (a, b):
        assert np.shares_memory(batches._lying(x).flat, x)
    assert not np.shares_memory(batches._lying(LAYOUTS["every second column"](a)).flat, a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("M", [3, 150])
@pytest.mark.parametrize("K", [50, 51, 1020])
def test_bits_depend_on_nothing_beside(monkeypatch, dtype, bf16, M, K):
    """Not on threads, tasks, the batch, other rows and columns, nor on zeros behind the last k."""
    monkeypatch.setattr(batches, "TASK_WORK", 20_000)
    a, b = draw(5, (4, M, K), (4, K, 37), dtype=dtype)
    want = kernels.bmm(a, b, bf16)
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            assert kernels.bmm(a, b, bf16).tobytes() == want.tobytes()
            assert kernels.bmm(LAYOUTS["transposed"](a), b, bf16).tobytes() == want.tobytes()
    finally:
        threads.set_num_threads(before)
    monkeypatch.undo()
    assert kernels.bmm(a, b, bf16).tobytes() == want.tobytes()
    for item in range(4):
        assert kernels.matmul(a[item], b[item], bf16).tobytes() == want[item].tobytes()
    np.testing.assert_array_equal(kernels.bmm(a[:2, :2], b[:2], bf16), want[:2, :2])
    np.testing.assert_array_equal(kernels.bmm(a, b[:, :, :5], bf16), want[:, :, :5])
    # Only the left operand is zero there, as the weights of an attention are.
    padded = np.pad(a, ((0, 0), (0, 0), (0, 9))), np.pad(b, ((0, 0), (0, 9), (0, 0)), constant_values=3)
    np.testing.assert_array_equal(kernels.bmm(*padded, bf16), want)


@pytest.mark.filterwarnings("ignore:(invalid|divide|overflow):RuntimeWarning")  # of NumPy, without the compiler
@pytest.mark.parametrize("bf16", [False, True])
def test_a_nan_and_an_infinity_come_through(bf16):
    a, b = np.ones((2, 3, 4), np.float32), np.ones((2, 4, 5), np.float32)
    a[0, 1, 2], b[1, 3, 4] = np.nan, np.inf
    y = kernels.bmm(a, b, bf16)
    assert np.isnan(y[0, 1]).all()
    assert (y[1, :, 4] == np.inf).all()
    assert np.isfinite(y).sum() == 30 - 5 - 3


@pytest.mark.parametrize(
    ("b", "text"),
    [
        (np.zeros((2, 5, 6)), "bmm: b has shape (2, 5, 6); expected (B, K, N) = (2, 4, 6) from a (2, 3, 4)"),
        (np.zeros((3, 4, 6)), "bmm: b has shape (3, 4, 6); expected (B, K, N) = (2, 4, 6) from a (2, 3, 4)"),
        (np.zeros((4, 6)), "bmm: b has shape (4, 6); expected 3 dimensions (B, K, N)"),
    ],
)
def test_arguments(b, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        kernels.bmm(np.zeros((2, 3, 4)), b)
