"""Every kernel compiles for real GPUs, without one: a spill is an error, registers and shared memory have a budget."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import SIMULATOR_FOLDER

from kernels.cuda import SOURCE_FOLDER
from kernels.cuda.runtime import geometry

SHARED_LIMIT = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10}  # bytes that a block may have
KERNELS = sorted(SOURCE_FOLDER.rglob("*.cu"))
# What a kernel may use, in the eights that a GPU gives: more is a change that somebody should have meant. A thread has
# 255 and no more.
REGISTERS = {
    "lstm_forward_bf16_512": 224,
    "lstm_forward_tf32_256": 232,
    "lstm_forward_marked_bf16_512": 232,
    "lstm_forward_wide_bf16_768": 232,
    "lstm_forward_wide_tf32_512": 224,
    "lstm_forward_wide_bf16_1024": 255,
    "lstm_backward_bf16_512": 216,
    "lstm_backward_tf32_256": 224,
    "lstm_backward_wide_bf16_256": 224,
    "lstm_backward_wide_tf32_256": 232,
    "lstm_backward_wide_tf32_512": 255,
    "lstm_backward_wide_bf16_768": 255,
    "lstm_backward_wide_bf16_1024": 255,
}
OTHER_RECURRENT, OTHERS = 168, 64
SHARED_BYTES = {
    "softmax_cross_entropy": geometry.softmax_cross_entropy(1, 1024).shared_bytes,
    "sum_of_squares": geometry.sum_of_squares(1).shared_bytes,
    "sum_of_squares_one": geometry.sum_of_squares(1).shared_bytes,
    "clip_coefficient": geometry.clip_coefficient().shared_bytes,
    "count_targets": geometry.one_block().shared_bytes,
    "sum_losses": geometry.one_block().shared_bytes,
    "embedding_sort": geometry.embedding_sort(geometry.MAX_SORTED).shared_bytes,
    "embedding_sort_runs": geometry.embedding_sort_runs(1).shared_bytes,
    "embedding_count_rows": geometry.embedding_count_rows(1).shared_bytes,
    "embedding_write_rows": geometry.embedding_write_rows(1).shared_bytes,
    "rank_words": geometry.rank_words(1).shared_bytes,
    "argmax_rows": geometry.argmax_rows(1).shared_bytes,
    "beam_select": geometry.beam_select(1, 64).shared_bytes,
    "compact_slots": geometry.compact_slots().shared_bytes,
    "column_sums": geometry.column_sums(1).shared_bytes,
}
PTXAS = ("-v", "--warn-on-spills", "-Werror")


def nvrtc_library() -> Path | None:
    """The one of the wheel nvidia-cuda-nvrtc, wherever its version puts it."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    return next((path for folder in folders for path in sorted(folder.rglob("libnvrtc.so.*"))), None)


def nvrtc(library: Path, source: Path, options: list[str]) -> tuple[int, str]:
    """The compiler of the product. The return code and the log."""
    for builtins in library.parent.glob("libnvrtc-builtins.so*"):
        ctypes.CDLL(str(builtins))  # NVRTC opens it by name, and then finds the one already loaded
    calls, program, size = ctypes.CDLL(str(library)), ctypes.c_void_p(), ctypes.c_size_t()
    words = [word.encode() for word in options]
    assert (
        calls.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None) == 0
    )
    code = calls.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
    calls.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    calls.nvrtcGetProgramLog(program, log)
    calls.nvrtcDestroyProgram(ctypes.byref(program))
    return code, log.value.decode()


def nvcc(source: Path, options: list[str], folder: Path) -> tuple[int, str]:
    """The return code and the log."""
    words = ["nvcc", "-cubin", *options, str(source), "-o", str(folder / "out.cubin")]
    result = subprocess.run(words, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def compiled(source: Path, arch: str, folder: Path) -> tuple[int, str]:
    """The return code and the log, by NVRTC where it is installed, else by nvcc: ptxas is the same in both."""
    library = nvrtc_library()
    options = [f"-arch={arch}", "-std=c++17", f"-I{SOURCE_FOLDER}"]
    if library is not None:
        return nvrtc(library, source, [*options, *(f"--ptxas-options={word}" for word in PTXAS)])
    if shutil.which("nvcc") is None:
        pytest.skip("neither NVRTC (the wheel nvidia-cuda-nvrtc) nor nvcc on PATH")
    return nvcc(source, [*options, f"-Xptxas={','.join(PTXAS)}"], folder)


def resources(log: str) -> dict[str, tuple[int, int]]:
    """ptxas -v -> kernel: registers, bytes spilled."""
    found: dict[str, tuple[int, int]] = {}
    kernel, spilled = "", 0
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = match.group(1)
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(match.group(1)) + int(match.group(2))
        elif match := re.search(r"Used (\d+) registers", line):
            found[kernel] = int(match.group(1)), spilled
    return found


def register_budget(kernel: str) -> int:
    return REGISTERS.get(kernel, OTHER_RECURRENT if re.fullmatch(r"lstm_\w+_\d+", kernel) else OTHERS)


def shared_bytes(kernel: str) -> int:
    """The largest launch's; a kernel has no other shared memory."""
    if match := re.fullmatch(r"(lstm_\w+)_(bf16|tf32)_(\d+)", kernel):
        return getattr(geometry, match.group(1))(64, int(match.group(3)), match.group(2)).shared_bytes
    return SHARED_BYTES.get(re.sub(r"_(f32|bf16)$", "", kernel), 0)


@pytest.mark.parametrize("arch", SHARED_LIMIT)
@pytest.mark.parametrize("source", KERNELS, ids=lambda path: path.stem)
def test_a_source_fits(source: Path, arch: str, tmp_path: Path) -> None:
    code, log = compiled(source, arch, tmp_path)
    assert code == 0, log
    found = resources(log)
    assert found
    for kernel, (registers, spilled) in found.items():
        assert spilled == 0, kernel
        assert registers <= register_budget(kernel), kernel
        # The wide forwards need more than sm_80 has: a launch there falls back to a step at a time.
        too_wide = arch == "sm_80" and re.fullmatch(r"lstm_forward_wide_bf16_(768|1024)", kernel)
        assert shared_bytes(kernel) <= SHARED_LIMIT[arch] or too_wide, kernel


def test_a_spill_is_an_error(tmp_path: Path) -> None:
    greedy = tmp_path / "greedy.cu"
    greedy.write_text("""#include "runtime/device.cuh"
        KERNEL(greedy, 1024, 2, float* p, int n) {  // 64 values per thread, 32 registers
          float a[64];
          for (int i = 0; i < 64; i++) a[i] = p[i * n + threadIdx.x];
          for (int j = 0; j < n; j++) for (int i = 0; i < 64; i++) a[i] = a[i] * a[(i + 7) % 64] + p[j];
          for (int i = 0; i < 64; i++) p[i * n + threadIdx.x] = a[i];
        }""")
    code, log = compiled(greedy, "sm_90", tmp_path)
    assert code != 0
    assert resources(log)["greedy"][1] > 0


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on PATH")
def test_the_kernels_of_the_simulator_are_cuda_too(tmp_path: Path) -> None:
    """By nvcc: they take a header that NVRTC has not."""
    source = SIMULATOR_FOLDER / "selftest.cu"
    code, log = nvcc(source, ["-arch=sm_90", "-std=c++17", f"-I{SOURCE_FOLDER}"], tmp_path)
    assert code == 0, log


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="no CuPy: it calls NVRTC for us")
@pytest.mark.skipif(nvrtc_library() is None, reason="no NVRTC: the wheel nvidia-cuda-nvrtc is not installed")
def test_the_compiler_of_the_product(tmp_path: Path) -> None:
    """With the real CuPy: its binding of NVRTC takes the headers as text and gives a cubin."""
    code = (
        "from kernels.cuda.runtime.compiler import SOURCE_FOLDER, cubin\n"
        "for name in ('updates/adam.cu', 'recurrent/lstm_backward.cu'):\n"
        "    for capability in ('80', '90', '100'):\n"
        "        assert cubin(SOURCE_FOLDER / name, capability).read_bytes()[:4] == b'\\x7fELF'\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "minigrad" / "cuda").glob("*.cubin"))) == 6
