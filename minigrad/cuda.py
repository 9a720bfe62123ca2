"""``torch.cuda``: whether there is a GPU, and what goes on in its memory. Nothing here raises where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernels import devices
from kernels.devices import CaptureError as CaptureError
from minigrad.device import device, resolve, use
from minigrad.graphs import CUDAGraph as CUDAGraph
from minigrad.graphs import graph as graph
from minigrad.missing import for_module as _for_module


def is_available() -> bool:
    """Whether tensors can live on a GPU."""
    return devices.missing() is None


def device_count() -> int:
    """The number of usable GPUs."""
    return devices.count()


def current_device() -> int:
    """The number of the GPU that ``"cuda"`` stands for; RuntimeError where there is none."""
    index = resolve("cuda").index
    assert index is not None
    return index


def get_device_name(device: Any = None) -> str:
    """What the GPU is called; RuntimeError where there is none."""
    return devices.name(_index(device))


def _index(where: Any) -> int:
    index = current_device() if where is None else device(where).index
    return current_device() if index is None else index


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all it was given."""
    if use.index is not None:
        devices.synchronize()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes of the GPU's memory that nobody has taken, and all of them; RuntimeError where there is no GPU."""
    resolve("cuda" if device is None else device)
    return devices.memory_info()


def memory_allocated(device: Any = None) -> int:
    """Bytes that arrays on the GPU occupy now."""
    return int(devices.memory_pool().used_bytes()) if use.index is not None else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes that CuPy has taken from the GPU, those included that arrays have given back."""
    return int(devices.memory_pool().total_bytes()) if use.index is not None else 0


def work_spaces_reserved(device: Any = None) -> int:
    """Bytes of them in which cuBLAS works: 32 MiB for each stream, taken when it first multiplies there."""
    return devices.work_spaces() if use.index is not None else 0


# CuPy keeps what arrays give back and takes more only where that does not do: unless ``empty_cache`` is called, what
# it has taken is the most that it ever needed.
max_memory_reserved = memory_reserved
max_memory_allocated = memory_reserved


def empty_cache() -> None:
    """Give memory that no array occupies back to the GPU."""
    if use.index is not None:
        devices.memory_pool().free_all_blocks()


def manual_seed_all(seed: int) -> None:
    """Nothing to seed: minigrad has one counter-based stream for all devices (``minigrad.manual_seed``)."""


manual_seed = manual_seed_all

if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
