"""Is there a GPU that CuPy can use, and what does it say of itself? Importing this asks nothing."""

import importlib
import importlib.util
from types import ModuleType
from typing import Any


class CaptureError(RuntimeError):
    """A step to be captured in a CUDA graph holds what no graph can repeat: see `kernels.cuda.runtime.capture`."""


def missing() -> str | None:
    """What stands in the way of a GPU, as a clause; None if nothing does."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        found = importlib.util.find_spec("cupy") is not None
        return f"CuPy cannot be imported ({error})" if found else "CuPy is not installed"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own kinds: no driver, one that is too old, no device
        return f"CuPy finds no GPU ({str(error).splitlines()[0]})"
    return None if count else "CuPy finds no GPU"


def count() -> int:
    """The number of GPUs, 0 without CuPy or without a driver; never raises."""
    return 0 if missing() else int(_cupy().cuda.runtime.getDeviceCount())


def select(index: int) -> None:
    """Let arrays be made on this GPU from now on."""
    _cupy().cuda.Device(index).use()


def current() -> int:
    """The number of the GPU on which arrays are made."""
    return int(_cupy().cuda.runtime.getDevice())


def synchronize() -> None:
    """Wait for all that the GPU has been given to do."""
    _cupy().cuda.Device().synchronize()


def name(index: int) -> str:
    """What the GPU is called."""
    given = _cupy().cuda.runtime.getDeviceProperties(index)["name"]
    return given.decode() if isinstance(given, bytes) else str(given)


def memory_info() -> tuple[int, int]:
    """Bytes of the GPU's memory that nobody has taken, and all of them."""
    free, total = _cupy().cuda.runtime.memGetInfo()
    return int(free), int(total)


def memory_pool() -> Any:
    """CuPy's pool: `used_bytes()`, `total_bytes()`, `free_all_blocks()`."""
    return _cupy().get_default_memory_pool()


def work_spaces() -> int:
    """Bytes of the pool in which cuBLAS works, some for each stream that multiplies."""
    from kernels.cuda.runtime import cublas

    return cublas.work_spaces()


def _cupy() -> ModuleType:
    return importlib.import_module("cupy")
