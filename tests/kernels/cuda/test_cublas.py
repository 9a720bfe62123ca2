"""The binding of cuBLAS against NumPy's products."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels
from kernels.cuda.recurrent.pack import bf16_bits, bf16_values
from kernels.cuda.runtime import cublas

SHAPES = [(1, 1, 1), (3, 5, 7), (1, 9, 4), (6, 1, 3), (33, 20, 65)]  # M, K, N
TRANSPOSED = list(itertools.product([False, True], repeat=2))


def operands(rng: np.random.Generator, M: int, K: int, N: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((M, K)).astype(np.float32), rng.standard_normal((K, N)).astype(np.float32)


def on_device(cuda: ModuleType, matrix: np.ndarray, transpose: bool) -> Any:
    return cuda.asarray(np.ascontiguousarray(matrix.T if transpose else matrix))


def tolerance(a: np.ndarray, b: np.ndarray, rounding: float = 0.0) -> np.ndarray:
    """Of sums in float32 in any order, K roundings of the sum of magnitudes, and of operands that are rounded first."""
    return (a.shape[1] * 2.0**-24 + 2 * rounding + rounding**2) * (np.abs(a) @ np.abs(b)) + 1e-30


@pytest.mark.parametrize("transposed", TRANSPOSED)
@pytest.mark.parametrize("shape", SHAPES)
def test_float32(cuda: ModuleType, rng: np.random.Generator, shape: tuple, transposed: tuple) -> None:
    a, b = operands(rng, *shape)
    out = cuda.empty((shape[0], shape[2]), np.float32)
    arguments = on_device(cuda, a, transposed[0]), on_device(cuda, b, transposed[1]), out, *transposed
    cublas.gemm(*arguments)
    want = a.astype(np.float64) @ b
    assert (np.abs(out.get() - want) <= tolerance(a, b)).all()
    cublas.gemm(*arguments, accumulate=True)
    assert (np.abs(out.get() - 2 * want) <= 3 * tolerance(a, b)).all()


@pytest.mark.parametrize("out_dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("transposed", TRANSPOSED)
def test_bfloat16(cuda: ModuleType, rng: np.random.Generator, transposed: tuple, out_dtype: Any) -> None:
    a, b = (bf16_bits(matrix) for matrix in operands(rng, 17, 24, 9))
    out = cuda.empty((17, 9), out_dtype)
    cublas.gemm(on_device(cuda, a, transposed[0]), on_device(cuda, b, transposed[1]), out, *transposed)
    a, b = bf16_values(a), bf16_values(b)
    want = a.astype(np.float64) @ b
    got = out.get() if out_dtype == np.float32 else bf16_values(out.get())
    rounding = 0.0 if out_dtype == np.float32 else 2.0**-8
    assert (np.abs(got - want) <= tolerance(a, b) + rounding * np.abs(want)).all()


def test_tf32_is_a_switch(cuda: ModuleType, rng: np.random.Generator) -> None:
    a, b = operands(rng, 40, 64, 32)
    device, out = [cuda.asarray(matrix) for matrix in (a, b)], cuda.empty((40, 32), np.float32)
    want = a.astype(np.float64) @ b
    errors = []
    assert not kernels.tf32_allowed()
    for flag in (False, True):
        try:
            kernels.allow_tf32(flag)
            assert kernels.tf32_allowed() == flag
            cublas.gemm(*device, out)
        finally:
            kernels.allow_tf32(False)
        error = np.abs(out.get() - want)
        assert (error <= tolerance(a, b, 2.0**-10 if flag else 0.0)).all()
        errors.append(error.max())
    assert errors[1] >= errors[0]  # cuBLAS may; the stand-in does
    assert errors[1] > 10 * errors[0] or not cuda.__version__.endswith("standin")


def test_rows_that_lie_apart(cuda: ModuleType, rng: np.random.Generator) -> None:
    a, b = operands(rng, 6, 10, 8)
    device, wide = cuda.asarray(a), cuda.zeros((6, 20), np.float32)
    cublas.gemm(device[:, 2:7], cuda.asarray(b)[:5], wide[:, 3:11])
    np.testing.assert_allclose(wide.get()[:, 3:11], a[:, 2:7] @ b[:5], rtol=1e-5, atol=1e-5)
    assert not wide.get()[:, :3].any()
    assert not wide.get()[:, 11:].any()


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 4, 0), (3, 0, 4)])
def test_nothing_to_multiply(cuda: ModuleType, shape: tuple) -> None:
    M, K, N = shape
    out = cuda.ones((M, N), np.float32)
    cublas.gemm(cuda.ones((M, K), np.float32), cuda.ones((K, N), np.float32), out, accumulate=True)
    assert (out.get() == 1).all()
    cublas.gemm(cuda.ones((M, K), np.float32), cuda.ones((K, N), np.float32), out)
    assert (out.get() == 0).all()


def test_a_nan_is_not_swallowed(cuda: ModuleType) -> None:
    a, out = cuda.ones((2, 3), np.float32), cuda.full((2, 2), np.nan, np.float32)
    cublas.gemm(a, cuda.ones((3, 2), np.float32), out)  # what was there is not read
    assert (out.get() == 3).all()
    a[0, 1] = np.nan
    cublas.gemm(a, cuda.zeros((3, 2), np.float32), out)
    assert np.isnan(out.get()).tolist() == [[True, True], [False, False]]


def test_what_does_not_fit(cuda: ModuleType) -> None:
    a, b, out = (cuda.ones(shape, np.float32) for shape in ((2, 3), (3, 4), (2, 4)))
    with pytest.raises(ValueError, match=r"\(2, 3\) times \(4, 3\) does not make \(2, 4\)"):
        cublas.gemm(a, b, out, transpose_b=True)
    with pytest.raises(TypeError, match="operands of float32 and uint16 into float32"):
        cublas.gemm(a, b.astype(np.uint16), out)
    with pytest.raises(ValueError, match="expected rows in a piece"):
        cublas.gemm(a, cuda.ones((4, 3), np.float32).T, out)


def test_a_status_becomes_an_error_with_its_name() -> None:
    cublas._checked(0, "fine")
    with pytest.raises(cublas.CublasError, match="cublasGemmEx: CUBLAS_STATUS_NOT_SUPPORTED"):
        cublas._checked(15, "cublasGemmEx")
    with pytest.raises(cublas.CublasError, match="status 99"):
        cublas._checked(99, "cublasCreate")


def test_products_under_capture_happen_at_each_replay(cuda: ModuleType, rng: np.random.Generator) -> None:
    a, b = operands(rng, 4, 5, 6)
    device, other, out = cuda.asarray(a), cuda.asarray(b), cuda.zeros((4, 6), np.float32)
    stream = cuda.cuda.Stream(non_blocking=True)
    with stream:
        cublas.handle()
        stream.begin_capture()
        cublas.gemm(device, other, out)
        graph = stream.end_capture()
    assert not out.get().any()
    for factor in (1, 2):
        device[...] = cuda.asarray(factor * a)
        graph.launch()
        np.testing.assert_allclose(out.get(), factor * a @ b, rtol=1e-5, atol=1e-5)


def test_two_runs_are_equal_to_the_bit(cuda: ModuleType, rng: np.random.Generator) -> None:
    a, b = (cuda.asarray(matrix) for matrix in operands(rng, 50, 300, 40))
    results = [cuda.empty((50, 40), np.float32) for _ in range(3)]
    for out in results:
        cublas.gemm(a, b, out)
    assert len({out.tobytes() for out in results}) == 1
