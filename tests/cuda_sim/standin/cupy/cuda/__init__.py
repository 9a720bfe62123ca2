"""cupy.cuda of the stand-in: one device that works off everything at once, on the processor."""

from __future__ import annotations

from typing import Any

from .._memory import MemoryPool, using_allocator
from . import driver, nvrtc, runtime
from ._streams import Event, Graph, Stream, get_current_stream, get_elapsed_time


def is_available() -> bool:
    return True


def get_device_id() -> int:
    return 0


class Device:
    """An H200 by its numbers."""

    def __init__(self, device: Any = None) -> None:
        self.id = 0 if device is None else int(getattr(device, "id", device))
        if self.id != 0:
            raise runtime.CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    compute_capability = "90"
    attributes = {  # noqa: RUF012
        "MultiProcessorCount": driver.MULTIPROCESSORS,
        "MaxSharedMemoryPerBlock": 48 << 10,
        "MaxSharedMemoryPerBlockOptin": driver.SHARED_LIMIT,
        "CooperativeLaunch": 1,
        "WarpSize": 32,
        "L2CacheSize": 60 << 20,
        "ClockRate": 1_980_000,
    }

    @property
    def mem_info(self) -> tuple[int, int]:
        return runtime.memGetInfo()

    def use(self) -> None:
        pass

    def synchronize(self) -> None:
        runtime.deviceSynchronize()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass
