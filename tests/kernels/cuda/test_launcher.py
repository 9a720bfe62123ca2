"""The launcher: what it passes on, what it refuses, the compiler's cache, and errors that kernels report."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels
from kernels.cuda.runtime import compiler, geometry, launcher

DOUBLE = """#include "runtime/device.cuh"
KERNEL(twice, 32, 1, const float* x, float* y, int n, u32* error) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
#ifdef THRICE
  y[i] = 3 * x[i];
#else
  y[i] = 2 * x[i];
#endif
  if (error && x[i] < 0) *error = 2;
}
KERNEL(meet, 256, 1, u32* counter) {
  if (threadIdx.x == 0) red_release(counter, 1);
  if (threadIdx.x == 0) spin_acquire(counter, gridDim.x * gridDim.y, counter + 1);
}"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "double.cu"
    path.write_text(DOUBLE)
    return path


def twice(cuda: ModuleType, kernel: Any, values: list[float], error: Any = None) -> list[float]:
    x = cuda.asarray(np.array(values, np.float32))
    y = cuda.empty_like(x)
    kernel(geometry.Launch((1,), (32,)), (x, y, np.int32(len(values)), error))
    return y.tolist()


def test_a_kernel_of_this_folder(cuda: ModuleType) -> None:
    x = np.arange(10, dtype=np.float32)
    key, device = cuda.asarray(np.array([3, 4], np.uint64)), cuda.asarray(x)
    numbers = np.uint64(2**31), np.float32(2), np.uint32(7), np.uint64(0), np.uint64(10)
    launcher.module("layers/dropout").dropout(geometry.dropout(10), (device, device, key, *numbers))
    assert device.get().tolist() == kernels.dropout(x, 0.5, 3, 4, 7).tolist()


def test_a_kernel_of_another_folder_and_options(cuda: ModuleType, source: Path) -> None:
    assert twice(cuda, launcher.module(source).twice, [1.0, 2.5]) == [2.0, 5.0]
    assert twice(cuda, launcher.module(source, ("-DTHRICE",)).twice, [1.0, 2.5]) == [3.0, 7.5]
    assert launcher.module(source).twice is launcher.module(source).twice


@pytest.mark.parametrize("number", [3, 2.0, True])
def test_a_number_without_a_type_is_refused(cuda: ModuleType, source: Path, number: Any) -> None:
    x = cuda.zeros(3, np.float32)
    with pytest.raises(TypeError, match="has no NumPy type; it would be passed as 8 bytes"):
        launcher.module(source).twice(geometry.Launch((1,), (32,)), (x, x, number, None))


def test_errors_that_a_kernel_reports(cuda: ModuleType, source: Path) -> None:
    kernel = launcher.module(source).twice
    launcher.check()
    assert twice(cuda, kernel, [1.0, 2.0], launcher.error_word()) == [2.0, 4.0]
    launcher.check()
    twice(cuda, kernel, [1.0, -2.0], launcher.error_word())
    with pytest.raises(IndexError, match="an id or a target that is out of range"):
        launcher.check()
    launcher.check()  # reported once
    launcher.error_word().fill(1)
    with pytest.raises(RuntimeError, match="a block that never ran"):
        launcher.check()


def test_no_host_waits_where_no_kernel_could_report(cuda: ModuleType, source: Path) -> None:
    launcher.check()
    if not cuda.__version__.endswith("standin"):
        pytest.skip("only the stand-in counts")
    from cupy import _memory

    _memory.synchronisations.clear()
    launcher.check()
    assert _memory.synchronisations == []


def test_cooperative_launches(cuda: ModuleType, source: Path) -> None:
    kernel = launcher.module(source).meet
    fitting = geometry.Launch((2, 4), (256,), 100 << 10, cooperative=True)
    counter = cuda.zeros(2, np.uint32)
    assert kernel.fits(fitting)
    kernel(fitting, (counter,))
    assert counter.tolist() == [8, 0]
    for refused in (fitting._replace(grid=(16, 4096)), fitting._replace(shared_bytes=1 << 20)):
        assert not kernel.fits(refused)
        with pytest.raises(RuntimeError, match=r"meet: Launch\(.*\) does not fit the device"):
            kernel(refused, (counter,))
    assert kernel.fits(geometry.Launch((1 << 20,), (256,)))
    assert not kernel.fits(geometry.Launch((1,), (256,), 1 << 20))


def test_the_compiler_says_what_is_wrong(cuda: ModuleType, tmp_path: Path) -> None:
    bad = tmp_path / "bad.cu"
    bad.write_text('#include "runtime/device.cuh"\nKERNEL(bad, 32, 1, int* x) { x[0] = nonsense; }')
    with pytest.raises(RuntimeError, match=r"(?s)bad\.cu: .*nonsense"):
        launcher.module(bad).bad(geometry.Launch((1,), (32,)), (cuda.zeros(1, np.int32),))


def test_cubins_are_kept_by_content(cuda: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capability = cuda.cuda.Device().compute_capability
    first = compiler.cubin(source, capability)
    assert compiler.cubin(source, capability) == first
    assert compiler.cubin(source, capability, ("-DTHRICE",)) != first
    changed = shutil.copytree(compiler.SOURCE_FOLDER, source.parent / "changed")
    assert compiler.cubin(source, capability, folder=changed) == first
    (changed / "updates" / "tensors.cuh").write_text("// another header")
    assert compiler.cubin(source, capability, folder=changed) != first
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compiler.cubin(source, capability) == first
    with pytest.raises(RuntimeError, match="cannot compile for a device of compute capability 50"):
        compiler.cubin(source, "50")


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiler.cache_folder.__wrapped__() == tmp_path / "minigrad" / "cuda"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert tmp_path not in compiler.cache_folder.__wrapped__().parents


def test_launches_under_capture_happen_at_each_replay(cuda: ModuleType, source: Path) -> None:
    kernel, stream = launcher.module(source).twice, cuda.cuda.Stream(non_blocking=True)
    x, y = cuda.ones(3, np.float32), cuda.zeros(3, np.float32)
    arguments = x, y, np.int32(3), None
    kernel(geometry.Launch((1,), (32,)), arguments)  # loads the module
    y.fill(0)
    with stream:
        stream.begin_capture()
        kernel(geometry.Launch((1,), (32,)), arguments)
        graph = stream.end_capture()
    assert y.tolist() == [0, 0, 0]
    for value in (4.0, 5.0):
        x.fill(value)
        graph.launch()
        assert y.tolist() == [2 * value] * 3
