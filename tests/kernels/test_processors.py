"""The product on every kind of processor that this machine can play, and without the compiler.

Numba compiles for the processor that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name. A fresh interpreter with those set
runs the tests of tiles, panels and products again. Other processors' code is at least looked at: `test_tile_code.py`.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import codegen

from kernels.cpu import processor, tiles

TESTS = [f"tests/kernels/test_{name}.py" for name in ("tiles", "panels", "gemm", "matrix_unit")]
AVX2 = "+cx16,+sahf,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe"
HOST = codegen.get_host_cpu_features().split(",")


def without(*features):
    """The features of this machine, less some."""
    return ",".join(f"-{name[1:]}" if name[1:] in features else name for name in HOST)


# What the host must have, its name and features as LLVM spells them, and the tile that these lead to.
PROCESSORS = {
    "portable": ([], "x86-64", "+cx8,+sse,+sse2", (16, 4, 2, 4, False, False, False, False)),
    "avx2": (["+avx2", "+fma"], "haswell", AVX2, (32, 4, 3, 4, True, False, False, True)),
    "avx512": (
        ["+avx512f", "+avx512bf16"], "skylake-avx512", without("avx512bf16"), (64, 8, 2, 8, True, False, False, True),
    ),
    "avx512bf16": (
        ["+avx512bf16", "+amx-bf16"], "cooperlake", without("amx-bf16"), (64, 8, 2, 8, True, True, False, True),
    ),
}  # fmt: skip

SHAPE = "from kernels.cpu import tiles; print(tuple(tiles.SHAPE))"

WITHOUT_COMPILER = """
import numpy as np
import kernels
from kernels import reference
from kernels.cpu import gemm
from kernels.packing import pack_lengths

rng = np.random.default_rng(0)
for shape in ((9, 7, 40), (1, 3, 1), (17, 515, 5)):
    for dtype, bf16, tolerance in ((np.float32, False, 1e-4), (np.float64, False, 1e-12), (np.float32, True, 1e-1)):
        a, b = rng.standard_normal(shape[:2]).astype(dtype), rng.standard_normal(shape[1:]).astype(dtype)
        for left, right in ((False, False), (True, True)):
            packed = gemm.prepack(np.ascontiguousarray(b.T) if right else b, right, bf16)
            matrix = np.ascontiguousarray(a.T) if left else a
            found = gemm.multiply(matrix, left, packed, np.ones(shape[::2], dtype), True)
            scale = np.abs(a) @ np.abs(b) + 1
            assert (np.abs(found - (a @ b + 1)) <= tolerance * scale).all()

T, N, I, H = 3, 5, 4, 6
packing = pack_lengths(np.array([3, 1, 0, 2, 3]))
shapes = ((packing.num_tokens, I), (N, H), (N, H), (4 * H, I), (4 * H, H), 4 * H)
x, h0, c0, w_ih, w_hh, bias = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
for bf16, tolerance in ((False, 1e-5), (True, 2e-2)):
    results = []
    for backend in (kernels, reference):
        y, h_n, c_n, cache = backend.lstm_forward(x, h0, c0, w_ih, w_hh, bias, packing, bf16)
        results.append([y, h_n, c_n, *backend.lstm_backward(y, h_n, None, cache)])
    for found, expected in zip(*results):
        np.testing.assert_allclose(found, expected, atol=tolerance * max(1, np.abs(expected).max()), rtol=0)
print("equal")
"""


def python(*arguments, **environment):
    """What a fresh interpreter at the root of the packages prints, under other settings."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, *arguments], cwd=root, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="an x86 machine plays only x86 processors")
@pytest.mark.parametrize("name", PROCESSORS)
def test_products_as_another_processor(name):
    needed, cpu_name, features, shape = PROCESSORS[name]
    if not set(needed) <= set(HOST):
        pytest.skip(f"this processor lacks one of {' '.join(needed)}")
    if tuple(tiles.SHAPE) == shape:
        pytest.skip("this is the tile of this processor, on which these tests run anyway")
    settings = {"NUMBA_CPU_NAME": cpu_name, "NUMBA_CPU_FEATURES": features, "NUMBA_DISABLE_JIT": "0"}
    assert python("-c", SHAPE, **settings) == str(shape)
    report = python("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS, **settings)
    assert " passed" in report
    assert "failed" not in report


@pytest.mark.parametrize("features", ["+avx2,+fma", "+avx512f,+avx512bf16,+amx-bf16"], ids=["avx2", "matrix-unit"])
def test_products_without_the_compiler(features):
    assert python("-c", WITHOUT_COMPILER, NUMBA_DISABLE_JIT="1", NUMBA_CPU_FEATURES=features) == "equal"


def test_a_matrix_unit_needs_leave(monkeypatch):
    monkeypatch.setattr(processor.config, "CPU_FEATURES", "+avx512f,+avx512bf16,+amx-bf16")
    for allowed in (False, True):
        monkeypatch.setattr(processor.tile_data, "ALLOWED", allowed)
        assert processor.target_features()["amx-bf16"] == allowed


def test_features_are_those_that_numba_compiles_for(monkeypatch):
    for listed, expected in (("", {}), ("+avx2,-fma", {"avx2": True, "fma": False})):
        monkeypatch.setattr(processor.config, "CPU_FEATURES", listed)
        assert processor.target_features() == expected
    monkeypatch.setattr(processor.config, "CPU_FEATURES", None)
    monkeypatch.setattr(processor.tile_data, "ALLOWED", True)
    assert processor.target_features() == {name[1:]: name.startswith("+") for name in HOST if name}
