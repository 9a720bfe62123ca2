"""cupy.cuda.runtime of the stand-in."""

from __future__ import annotations

from typing import Any

from .._memory import pool, refuse_under_capture, synchronisations

streamCaptureModeGlobal, streamCaptureModeThreadLocal, streamCaptureModeRelaxed = 0, 1, 2  # noqa: N816
TOTAL_MEMORY = 139 << 30


class CUDARuntimeError(RuntimeError):
    """An error of the device."""


def getDeviceCount() -> int:
    return 1


def getDevice() -> int:
    return 0


def setDevice(device: int) -> None:
    if device != 0:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")


def getDeviceProperties(device: int) -> dict[str, Any]:
    setDevice(device)
    return {"name": b"Simulated H200", "totalGlobalMem": TOTAL_MEMORY, "multiProcessorCount": 132, "major": 9}


def deviceSynchronize() -> None:
    refuse_under_capture("deviceSynchronize()")
    synchronisations.append("synchronize")


def memGetInfo() -> tuple[int, int]:
    return TOTAL_MEMORY - pool.held, TOTAL_MEMORY


def driverGetVersion() -> int:
    return 13000


def runtimeGetVersion() -> int:
    return 13000
