"""The processor that kernels are compiled for, and the tile of a matrix product that fills its registers."""

from typing import NamedTuple

from llvmlite import binding
from numba.core import codegen

from kernels.cpu import tile_data
from kernels.cpu.jit import config


class Shape(NamedTuple):
    """How a tile fills the registers: vectors of so many bytes, rows * vectors of them as sums."""

    vector_bytes: int
    rows: int
    vectors: int
    square: int  # side of the blocks that are transposed in registers while packing; divides rows
    has_fma: bool
    has_bf16: bool
    has_matrix_unit: bool
    has_half: bool  # float16 becomes float32 in one instruction


def target_features() -> dict[str, bool]:
    """Features of the processor that Numba compiles for: this one's, or those that its settings name.

    The matrix unit is one that may be used; without the compiler it is played in NumPy, by anyone.
    """
    listed = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    features = {name[1:]: name.startswith("+") for name in listed.split(",") if name}
    if features.get("amx-bf16") and not (tile_data.ALLOWED or config.DISABLE_JIT):
        features["amx-bf16"] = False
    return features


def choose_shape(features: dict[str, bool], triple: str) -> Shape:
    """The tile for a processor.

    AVX-512 has 32 registers of 64 bytes, AVX2 has 16 of 32, NEON 32 of 16; any other gets vectors of 16 bytes, which
    LLVM maps to what there is. Rows and vectors were chosen by measurement: 8 x 2 is within 3 % of the best shape on
    AVX-512, and 4 x 3 of the best on AVX2.
    """
    if features.get("avx512f"):
        has_bf16 = features.get("avx512bf16", False)
        return Shape(64, 8, 2, 8, True, has_bf16, has_bf16 and features.get("amx-bf16", False), True)
    if features.get("avx2") and features.get("fma"):
        return Shape(32, 4, 3, 4, True, False, False, features.get("f16c", False))
    if triple.startswith(("aarch64", "arm64")):
        return Shape(16, 8, 2, 4, True, False, False, True)
    return Shape(16, 4, 2, 4, False, False, False, False)


SHAPE = choose_shape(target_features(), binding.get_default_triple())
