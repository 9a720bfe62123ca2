"""cupy.cuda.driver of the stand-in: what an H200 would say of a launch."""

from __future__ import annotations

import math

MULTIPROCESSORS, SHARED_LIMIT = 132, 227 << 10
_SHARED, _RESERVED, _THREADS, _REGISTERS = 228 << 10, 1 << 10, 2048, 65536


class CUDADriverError(RuntimeError):
    """A call that the driver refuses."""


def occupancyMaxActiveBlocksPerMultiprocessor(func: int, blockSize: int, dynamicSMemSize: int) -> int:
    """The blocks that a multiprocessor holds at once, if every thread takes 255 registers."""
    by_registers = max(1, _REGISTERS // (256 * blockSize))
    return min(_THREADS // blockSize, _SHARED // (dynamicSMemSize + _RESERVED), by_registers)


def fits(grid: tuple[int, ...], block: tuple[int, ...], shared_bytes: int) -> bool:
    """Whether a cooperative launch would start."""
    blocks = MULTIPROCESSORS * occupancyMaxActiveBlocksPerMultiprocessor(0, math.prod(block), shared_bytes)
    return math.prod(grid) <= blocks
