"""cuda.pathfinder of the stand-in: finds the cuBLAS that it builds itself."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FLAGS = ["-std=c++17", "-O3", "-shared", "-fPIC", "-ffp-contract=off", "-Wall"]
_kept: list[Any] = []  # functions that the library calls: nobody else holds them
SOURCE = Path(__file__).parents[2] / "cublas.cpp"


@dataclass
class LoadedDL:
    """What is known of a library."""

    abs_path: str | None
    was_already_loaded_from_elsewhere: bool = False


@cache
def load_nvidia_dynamic_lib(libname: str) -> LoadedDL:
    if libname != "cublas":
        raise RuntimeError(f"the stand-in has no library {libname!r}")
    return LoadedDL(str(_built()))


def _built() -> Path:
    from cupy.cuda.nvrtc import harness

    digest = hashlib.sha256(SOURCE.read_bytes() + repr(FLAGS).encode()).hexdigest()[:16]
    library = harness().cache_folder() / f"cublas-{digest}.so"
    if not library.exists():
        partial = library.with_suffix(f".{os.getpid()}")
        subprocess.run(["g++", *FLAGS, str(SOURCE), "-o", str(partial)], check=True)
        partial.replace(library)
    _take_part_in_captures(ctypes.CDLL(str(library)))
    return library


def _take_part_in_captures(library: Any) -> None:
    """A product of a stream that is being captured becomes a node of its graph."""
    from cupy.cuda._streams import capturing_stream, enqueue

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    def on_gemm(stream: int | None, number: int) -> int:
        if capturing_stream() != (stream or 0):
            return 0
        enqueue(lambda arrays: library.standin_replay(number), [])
        return 1

    library.standin_on_gemm(on_gemm)
    _kept.append(on_gemm)
