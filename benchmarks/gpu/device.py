"""The device that is measured: a GPU through CuPy, or CuPy's stand-in of tests/cuda_sim on the processor.

PyTorch, where it is installed, works on the same GPU, or on the processor beside the stand-in.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cupy

SIMULATED = "standin" in Path(cupy.__file__).parts
HAS_TORCH = importlib.util.find_spec("torch") is not None
TORCH_DEVICE = "cpu" if SIMULATED else "cuda"


def name() -> str:
    """What the driver calls the device."""
    if SIMULATED:
        return "simulator"
    found = cupy.cuda.runtime.getDeviceProperties(0)["name"]
    return found.decode() if isinstance(found, bytes) else str(found)


def torch() -> Any:
    """PyTorch if it can compute on the device, else None."""
    return _torch()[0]


def why_no_torch() -> str | None:
    """What is missing where ``torch()`` is None."""
    return _torch()[1]


@functools.cache
def _torch() -> tuple[Any, str | None]:
    """The module, or why there is none."""
    if not HAS_TORCH:
        return None, "PyTorch is not installed"
    try:
        import torch

        usable = SIMULATED or torch.cuda.is_available()
    except Exception as error:
        return None, f"PyTorch cannot be imported: {' '.join(str(error).split())}"[:300]
    return (torch, None) if usable else (None, "PyTorch sees no GPU")


def synchronize() -> None:
    """Wait for everything, ours and PyTorch's; raises what the device has to say."""
    if not SIMULATED:
        cupy.cuda.runtime.deviceSynchronize()


def free_memory() -> None:
    """Give back what both libraries keep in their pools."""
    if SIMULATED:
        return
    cupy.get_default_memory_pool().free_all_blocks()
    if (peer := torch()) is not None:
        peer.cuda.empty_cache()


def peak_megabytes(library: str, call: Callable[[], Any]) -> float:
    """Device memory (10**6 bytes) that a library's pool grows to in a call, beginning with what has to stay."""
    if SIMULATED:
        return 0.0
    free_memory()
    call()
    synchronize()
    if library == "pytorch":
        return float(torch().cuda.memory_reserved() / 1e6)
    return float(cupy.get_default_memory_pool().total_bytes() / 1e6)


def multiprocessors() -> int:
    """Of the GPU; those of an H200 for the simulator."""
    return 132 if SIMULATED else int(cupy.cuda.runtime.getDeviceProperties(0)["multiProcessorCount"])
