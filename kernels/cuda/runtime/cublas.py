"""Matrix products by cuBLAS, for row-major matrices: our own binding of the few functions that they need.

CuPy's binding refuses to work while a stream is captured, and knows nothing of workspaces. Here every pair of device
and stream has a handle of its own with a workspace of its own, which makes results equal to the bit from run to run,
and may be captured.

Precision goes by the operands: float32 in float32, or rounded to TF32 where `kernels.allow_tf32` says so; uint16
arrays hold bfloat16. Sums are in float32 always.

A row-major matrix is the transposed matrix in cuBLAS' column-major eyes. So out = a b is asked for as
out^T = b^T a^T: the operands change places, and nobody is copied.

Source of the values: NVIDIA, cublas_api.h and library_types.h of CUDA 13; they have not changed since CUDA 11.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from kernels.switches import tf32_allowed

WORKSPACE_BYTES = 32 << 20  # what NVIDIA advises for Hopper

STATUS = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED", 7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH", 11: "CUBLAS_STATUS_MAPPING_ERROR", 13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR", 15: "CUBLAS_STATUS_NOT_SUPPORTED", 16: "CUBLAS_STATUS_LICENSE_ERROR",
}  # fmt: skip
OP_N, OP_T = 0, 1
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77
GEMM_DEFAULT = -1
DISALLOW_REDUCED_PRECISION_REDUCTION = 16  # a math mode: what several blocks add up is added in float32
FLOAT, BFLOAT16 = np.dtype(np.float32), np.dtype(np.uint16)
TYPES = {FLOAT: 0, BFLOAT16: 14}  # CUDA_R_32F, CUDA_R_16BF

RowProduct = Callable[[int, int, int], None]
_Pointer, _Int, _Long, _Size = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong, ctypes.c_size_t
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (ctypes.POINTER(_Pointer),),
    "cublasSetStream_v2": (_Pointer, _Pointer),
    "cublasSetWorkspace_v2": (_Pointer, _Pointer, _Size),
    "cublasSetMathMode": (_Pointer, _Int),
    "cublasGemmEx": (
        _Pointer, _Int, _Int, _Int, _Int, _Int, _Pointer, _Pointer, _Int, _Int, _Pointer, _Int, _Int, _Pointer,
        _Pointer, _Int, _Int, _Int, _Int,
    ),
    "cublasGemmStridedBatchedEx": (
        _Pointer, _Int, _Int, _Int, _Int, _Int, _Pointer, _Pointer, _Int, _Int, _Long, _Pointer, _Int, _Int, _Long,
        _Pointer, _Pointer, _Int, _Int, _Long, _Int, _Int, _Int,
    ),
}  # fmt: skip

_ZERO, _ONE = ctypes.c_float(0.0), ctypes.c_float(1.0)
_AT_ZERO, _AT_ONE = ctypes.addressof(_ZERO), ctypes.addressof(_ONE)


class CublasError(RuntimeError):
    """A call that cuBLAS refused."""


@cache
def _library(pathfinder: Any) -> ctypes.CDLL:
    loaded = pathfinder.load_nvidia_dynamic_lib("cublas")
    library = ctypes.CDLL(loaded.abs_path)
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, _Int
    return library


def _checked(status: int, what: str) -> None:
    if status:
        raise CublasError(f"{what}: {STATUS.get(status, f'status {status}')}")


class _Handle:
    """A cuBLAS handle of one stream of the current device."""

    def __init__(self, cupy: Any, stream: int) -> None:
        from cuda import pathfinder

        library = _library(pathfinder)
        self.gemm, self.gemm_batches = library.cublasGemmEx, library.cublasGemmStridedBatchedEx
        self.handle = ctypes.c_void_p()
        self._workspace = cupy.empty(WORKSPACE_BYTES, np.uint8)
        _checked(library.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate")
        _checked(library.cublasSetStream_v2(self.handle, stream), "cublasSetStream")  # resets the workspace
        _checked(
            library.cublasSetWorkspace_v2(self.handle, self._workspace.data.ptr, WORKSPACE_BYTES), "cublasSetWorkspace"
        )
        _checked(library.cublasSetMathMode(self.handle, DISALLOW_REDUCED_PRECISION_REDUCTION), "cublasSetMathMode")


_handles: dict[tuple[Any, int, int], _Handle] = {}


def handle() -> _Handle:
    """That of the current stream. The first call makes it, which no stream under capture allows: call it before."""
    import cupy

    stream = cupy.cuda.get_current_stream().ptr
    key = cupy, cupy.cuda.get_device_id(), stream
    found = _handles.get(key)
    if found is None:
        found = _handles[key] = _Handle(cupy, stream)
    return found


def work_spaces() -> int:
    """Bytes of the work spaces of all handles."""
    return len(_handles) * WORKSPACE_BYTES


def gemm(
    a: Any, b: Any, out: Any, transpose_a: bool = False, transpose_b: bool = False, accumulate: bool = False
) -> None:
    """out = a b, or out += a b, enqueued on the current stream.

    Args:
        a: (M, K), or (K, M) if `transpose_a`; float32, or uint16 that holds bfloat16. Rows may lie apart.
        b: (K, N), or (N, K) if `transpose_b`; dtype of a.
        out: (M, N) float32, or uint16 where the operands are; nothing that a or b read.
        accumulate: add to out instead of writing it.

    Raises:
        TypeError, ValueError: dtypes or shapes that do not fit.
        CublasError: cuBLAS refused; names the status.
    """
    if a.dtype != b.dtype or a.dtype not in TYPES or out.dtype not in (FLOAT, a.dtype):
        raise TypeError(
            f"gemm: operands of {a.dtype} and {b.dtype} into {out.dtype}; expected float32 or bfloat16 bits"
        )
    M, K = a.shape[::-1] if transpose_a else a.shape
    inner, N = b.shape[::-1] if transpose_b else b.shape
    if inner != K or out.shape != (M, N):
        raise ValueError(f"gemm: ({M}, {K}) times ({inner}, {N}) does not make {out.shape}")
    if M == 0 or N == 0:
        return
    if K == 0:
        if not accumulate:
            out.fill(0)
        return
    mine = handle()
    kind = TYPES[a.dtype]
    status = mine.gemm(
        mine.handle, OP_T if transpose_b else OP_N, OP_T if transpose_a else OP_N, N, M, K, _AT_ONE,
        b.data.ptr, kind, _row(b), a.data.ptr, kind, _row(a), _AT_ONE if accumulate else _AT_ZERO,
        out.data.ptr, TYPES[out.dtype], _row(out),
        _compute_type(kind), GEMM_DEFAULT,
    )  # fmt: skip
    _checked(status, f"cublasGemmEx of ({M}, {K}) and ({K}, {N})")


def gemm_batches(a: Any, b: Any, out: Any, transpose_a: bool = False, transpose_b: bool = False) -> None:
    """out[k] = a[k] b[k] for every k, in one call.

    Args:
        a: (B, M, K), or (B, K, M) if `transpose_a`; dtypes and rows as in `gemm`. Matrices may lie anyhow apart.
        b: (B, K, N), or (B, N, K) if `transpose_b`.
        out: (B, M, N) float32, C-contiguous; nothing that a or b read.

    Raises:
        CublasError: cuBLAS refused; names the status.
    """
    (count, M, N), K = out.shape, a.shape[1 if transpose_a else 2]
    if not out.size or not K:
        out.fill(0)
        return
    mine, kind = handle(), TYPES[a.dtype]
    status = mine.gemm_batches(
        mine.handle, OP_T if transpose_b else OP_N, OP_T if transpose_a else OP_N, N, M, K, _AT_ONE,
        b.data.ptr, kind, _row(b[0]), b.strides[0] // b.itemsize,
        a.data.ptr, kind, _row(a[0]), a.strides[0] // a.itemsize, _AT_ZERO,
        out.data.ptr, TYPES[out.dtype], N, M * N, count, _compute_type(kind), GEMM_DEFAULT,
    )  # fmt: skip
    _checked(status, f"cublasGemmStridedBatchedEx of {count} ({M}, {K}) and ({K}, {N})")


def by_rows(a: Any, b: Any, out: Any, transpose_b: bool = False, accumulate: bool = False) -> RowProduct:
    """`gemm` of changing rows of a and out: what does not change from step to step is looked up once.

    Returns:
        multiply(first_a, first_out, count): out[first_out : first_out + count] becomes, or gets added, the product of
        a[first_a : first_a + count] with b, on the stream that is current now.
    """
    inner, N = b.shape[::-1] if transpose_b else b.shape
    if (a.shape[1], N) != (inner, out.shape[1]) or not a.dtype == b.dtype or not inner:
        raise ValueError(f"by_rows: {a.shape} {a.dtype}, {b.shape} {b.dtype} and {out.shape} do not fit")
    mine, kind, out_kind = handle(), TYPES[a.dtype], TYPES[out.dtype]
    function, it, op = mine.gemm, mine.handle, OP_T if transpose_b else OP_N
    beta, compute = _AT_ONE if accumulate else _AT_ZERO, _compute_type(kind)
    at_a, at_b, at_out, rows = a.data.ptr, b.data.ptr, out.data.ptr, [_row(matrix) for matrix in (a, b, out)]
    row_a, row_b, row_out = rows
    bytes_a, bytes_out = row_a * a.itemsize, row_out * out.itemsize

    def multiply(first_a: int, first_out: int, count: int) -> None:
        status = function(
            it, op, OP_N, N, count, inner, _AT_ONE, at_b, kind, row_b, at_a + first_a * bytes_a, kind, row_a, beta,
            at_out + first_out * bytes_out, out_kind, row_out, compute, GEMM_DEFAULT,
        )  # fmt: skip
        if status:
            _checked(status, f"cublasGemmEx of ({count}, {inner}) and ({inner}, {N})")

    return multiply


def _compute_type(kind: int) -> int:
    return COMPUTE_32F_FAST_TF32 if kind == TYPES[FLOAT] and tf32_allowed() else COMPUTE_32F


def _row(matrix: Any) -> int:
    """Elements from one row to the next; where there is one row, CuPy's stride means nothing."""
    rows, columns = matrix.shape
    row, element = matrix.strides
    size = matrix.itemsize
    if (columns > 1 and element != size) or (rows > 1 and row < columns * size):
        raise ValueError(
            f"gemm: a matrix of shape {matrix.shape} has strides {matrix.strides}; expected rows in a piece"
        )
    return row // size if rows > 1 else columns
