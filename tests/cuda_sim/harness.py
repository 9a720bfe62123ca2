"""Builds a .cu file with g++ against the simulator and calls its kernels as CuPy calls those of a RawModule.

    module = Rig().module("losses/losses.cu")
    module.sum_losses(geometry.one_block(), (losses, factor, np.int32(M), loss), schedule=0)

Arrays are passed as addresses, NumPy scalars by value with their own width; bare Python numbers are refused, since CuPy
would pass them as 8 bytes. Buffers made by `device` and `poisoned` are 256-byte aligned like CuPy's and guarded on both
sides; every call checks the guards of its arguments.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernels.cuda import SOURCE_FOLDER
from kernels.cuda.runtime.geometry import Launch

SIMULATOR_FOLDER = Path(__file__).parent
# Fibers jump between stacks, which a fortified longjmp takes for an attack.
FLAGS = [
    "-std=c++17", "-O1", "-shared", "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off", "-U_FORTIFY_SOURCE",
    "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-clobbered",
]  # fmt: skip
# Say "-g -fsanitize=address,undefined" to look for overruns; Python then needs LD_PRELOAD=libasan.so.
EXTRA_FLAGS = os.environ.get("CUDA_SIM_FLAGS", "").split()
FAIR = (0, 1)
UNFAIR = tuple(range(2, 18))
SCHEDULES = FAIR + UNFAIR
GUARD, GUARD_BYTE = 256, 0x5A  # a large positive number in every type: who reads it goes wrong
MACHINE = "runtime/device.cuh"  # the only source that may name PTX and intrinsics
OUT_OF_RANGE = 2  # what the error word says, see device.cuh

Arrays = tuple[np.ndarray, ...]


class SimulationError(RuntimeError):
    """The simulator stopped the launch: deadlock, misaligned access, barrier with exited threads, ..."""


class CLaunch(ctypes.Structure):
    """Mirrors `Launch` of simulator.hpp."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("coresident", ctypes.c_int),
        ("order", ctypes.c_int),
        ("arguments", ctypes.c_uint),
    )


@functools.cache
def cache_folder() -> Path:
    """Where libraries are kept between runs, or for this process only where nothing can be kept: never in the tree."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "minigrad" / "cuda_sim"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp())
    return folder if folder.is_absolute() and os.access(folder, os.W_OK) else Path(tempfile.mkdtemp())


def sources() -> dict[str, str]:
    """The text of every .cu and .cuh file by its path in `SOURCE_FOLDER`."""
    paths = sorted(path for path in SOURCE_FOLDER.rglob("*.cu*") if path.is_file())
    return {path.relative_to(SOURCE_FOLDER).as_posix(): path.read_text() for path in paths}


def build(source: Path, folder: Path = SOURCE_FOLDER) -> Path:
    """Compile a .cu file to a shared library, once per content of what it can include from the rooms of a folder.

    A library of other sources than the product's lies beside them, and goes with them. It is run once or twice, so
    that to compile it quickly counts more than what the optimiser gains.
    """
    headers = [*sorted(SIMULATOR_FOLDER.glob("*.[hc]pp")), *sorted(folder.rglob("*.cuh"))]
    place, options = (cache_folder(), []) if folder == SOURCE_FOLDER else (folder, ["-O0"])
    return _compiled([source, *headers], command(source, folder, options), place, f"{source.stem}-{{}}.so")


def command(source: Path, folder: Path, options: Sequence[str]) -> list[str]:
    """How g++ is called to make a shared library of a .cu file, which includes what lies in a folder."""
    folders = [f"-I{place}" for place in (folder, SIMULATOR_FOLDER)]
    parsed = ["-include", str(header([word for word in options if word.startswith("-O")]).with_suffix(""))]
    words = ["g++", *FLAGS, *EXTRA_FLAGS, *options, *parsed, *folders]
    return [*words, "-x", "c++", str(source), "-x", "none", str(scheduler())]


def header(levels: Sequence[str]) -> Path:
    """simulator.hpp, which takes longer to parse than most kernels to compile, parsed once for an -O of its own."""
    source = SIMULATOR_FOLDER / "simulator.hpp"
    words = ["g++", *FLAGS, *EXTRA_FLAGS, *levels, "-w", "-x", "c++-header", str(source)]
    return _compiled([source], words, cache_folder(), "".join(["simulator", *levels, "-{}.hpp.gch"]))


def scheduler() -> Path:
    """The object file of simulator.cpp: the same in every library, it is compiled once."""
    source = SIMULATOR_FOLDER / "simulator.cpp"
    words = ["g++", *FLAGS, *EXTRA_FLAGS, "-O2", "-fvisibility=hidden", "-c", str(source)]
    return _compiled([source, SIMULATOR_FOLDER / "simulator.hpp"], words, cache_folder(), "simulator-{}.o")


def _compiled(sources: Sequence[Path], words: Sequence[str], folder: Path, name: str) -> Path:
    """What a command makes of sources, which is told to it with -o, made once per content."""
    texts = [path.read_bytes() for path in sources]
    digest = hashlib.sha256(b"\0".join(texts) + repr((FLAGS, EXTRA_FLAGS)).encode()).hexdigest()[:16]
    result = folder / name.format(digest)
    if not result.exists():
        partial = result.with_suffix(f".{os.getpid()}")  # two processes may make the same one
        subprocess.run([*words, "-o", str(partial)], check=True)
        partial.replace(result)
    return result


class Module:
    """The kernels of a .cu file as methods: kernel(launch, arguments, schedule)."""

    def __init__(self, source: Path, folder: Path = SOURCE_FOLDER) -> None:
        self._library = ctypes.CDLL(str(build(source, folder)))
        self._library.sim_error.restype = ctypes.c_char_p

    def __getattr__(self, name: str) -> Callable[..., None]:
        function = getattr(self._library, f"sim_{name}")

        def kernel(launch: Launch, args: Sequence[Any], schedule: int = 0) -> None:
            values = [argument(a) for a in args]
            pointers = (ctypes.c_void_p * len(values))(
                *[ctypes.cast(ctypes.pointer(v), ctypes.c_void_p) for v in values]
            )
            grid, block = (tuple(size) + (1,) * (3 - len(size)) for size in (launch.grid, launch.block))
            how = CLaunch(grid, block, launch.shared_bytes, launch.cooperative, schedule, len(values))
            if function(ctypes.byref(how), pointers):
                raise SimulationError(f"{name}: {self._library.sim_error().decode()}")
            for a in args:
                check_guards(a)

        setattr(self, name, kernel)
        return kernel


@dataclass(frozen=True)
class Rig:
    """Where a test takes its kernels from, and the schedules that it runs them under."""

    folder: Path = SOURCE_FOLDER
    schedules: tuple[int, ...] = SCHEDULES  # for the main shape of a kernel
    few: tuple[int, ...] = (0, 2, 3)  # for its other shapes

    def module(self, name: str) -> Module:
        return Module(self.folder / name, self.folder)

    def same_bits(self, run: Callable[[int], Arrays], main: bool = True) -> Arrays:
        """run(schedule) -> arrays, for every schedule; they must agree bit by bit. Returns the first."""
        first, *others = self.schedules if main else self.few
        results = run(first)
        for schedule in others:
            for k, (a, b) in enumerate(zip(results, run(schedule), strict=True)):
                assert a.tobytes() == b.tobytes(), f"result {k} differs between schedules {first} and {schedule}"
        return results


def argument(a: Any) -> Any:
    """What ctypes passes for a kernel's argument."""
    if a is None:
        return ctypes.c_void_p(0)
    if isinstance(a, np.ndarray):
        assert a.flags.c_contiguous
        return ctypes.c_void_p(a.ctypes.data)
    if isinstance(a, np.generic):
        return np.ctypeslib.as_ctypes_type(a.dtype)(a.item())
    raise TypeError(f"{a!r}: give a kernel's numbers a NumPy type, CuPy would pass 8 bytes")


def guarded(shape: Any, dtype: Any) -> np.ndarray:
    """An aligned array between two guards, contents arbitrary."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.full(size + 2 * GUARD + 256, GUARD_BYTE, np.uint8)
    start = GUARD + (-(raw.ctypes.data + GUARD)) % 256
    return raw[start : start + size].view(dtype).reshape(shape)


def device(array: Any, dtype: Any = None) -> np.ndarray:
    """A guarded, aligned copy of an input."""
    array = np.asarray(array, dtype)
    out = guarded(array.shape, array.dtype)
    out[...] = array
    return out


def poisoned(shape: Any, dtype: Any) -> np.ndarray:
    """A guarded output of 0xFF bytes: NaN as float, NOT_YET as bf16, -1 as int."""
    out = guarded(shape, dtype)
    out.reshape(-1).view(np.uint8)[:] = 0xFF
    return out


def no_error() -> np.ndarray:
    """A device's error word."""
    return device(np.zeros(1, np.uint32))


def check_guards(array: Any) -> None:
    """Nothing was written beside a buffer of `guarded`."""
    raw = array
    while isinstance(raw, np.ndarray) and raw.base is not None:
        raw = raw.base
    if not isinstance(raw, np.ndarray) or raw.dtype != np.uint8 or raw is array or array.size == 0:
        return
    start = array.ctypes.data - raw.ctypes.data
    outside = np.concatenate([raw[:start], raw[start + array.nbytes :]])
    assert (outside == GUARD_BYTE).all(), "the kernel wrote outside a buffer"


def assert_written(*arrays: np.ndarray) -> None:
    """No element of these outputs still holds its poison, and none is NaN or infinite."""
    for array in arrays:
        words = array.view(f"u{array.dtype.itemsize}")
        missing = np.argwhere(words == np.iinfo(words.dtype).max)
        assert len(missing) == 0, f"{len(missing)} elements never written, the first at {missing[0]}"
        assert array.dtype.kind != "f" or np.isfinite(array).all(), "NaN or infinity in an output"


def assert_close(got: Any, want: Any, tolerance: float, what: str = "") -> None:
    """The relative error of the whole array, in the Euclidean norm."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    assert np.isfinite(got).all(), f"{what}: not finite"
    error = np.linalg.norm(got - want) / max(float(np.linalg.norm(want)), 1e-30)
    assert error <= tolerance, f"{what}: relative error {error:.2e} > {tolerance:.0e}"


if __name__ == "__main__":  # for tests to come
    for kernels_of_a_source in sorted(SOURCE_FOLDER.rglob("*.cu")):
        build(kernels_of_a_source)
