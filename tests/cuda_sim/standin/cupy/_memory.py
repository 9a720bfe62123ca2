"""Memory of the stand-in: aligned and guarded on both sides, counted as CuPy's pool counts it."""

from __future__ import annotations

import operator
import weakref
from typing import Any

import numpy as np

GUARD, GUARD_BYTE, ALIGNMENT = 256, 0xA5, 256
# What was done that makes the host wait for the device, newest last; tests empty and read it.
synchronisations: list[str] = []


class Pool:
    """What CuPy's memory pool tells of itself."""

    def __init__(self) -> None:
        self.used = self.held = 0

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.held

    def free_bytes(self) -> int:
        return self.held - self.used

    def free_all_blocks(self, stream: Any = None) -> None:
        self.held = self.used

    def n_free_blocks(self) -> int:
        return int(self.held > self.used)

    def _take(self, size: int) -> None:
        self.used += size
        self.held = max(self.held, self.used)

    def _give(self, size: int) -> None:
        self.used -= size


pool = Pool()
# Set while a stream records: then only launches may happen. CuPy's own operations would allocate.
capturing = False


# Allocations by address, with their sizes.
live: dict[int, int] = {}


def _free(address: int, held: int) -> None:
    pool._give(held)
    live.pop(address, None)


def refuse_under_capture(what: str) -> None:
    if capturing:
        raise RuntimeError(f"{what} while a stream is being captured")


class Memory(np.ndarray):
    """The bytes of one allocation with a guard on both sides; whatever is a view of it lies on the device."""


def allocate(shape: Any, dtype: Any, poison: bool = True) -> np.ndarray:
    """An aligned NumPy array between two guards; 0xFF everywhere, which is NaN as a float."""
    refuse_under_capture("an allocation")
    dtype = np.dtype(dtype)
    shape = (int(shape),) if np.ndim(shape) == 0 else tuple(operator.index(n) for n in shape)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + 2 * GUARD + ALIGNMENT, np.uint8).view(Memory)
    start = GUARD + (-(raw.ctypes.data + GUARD)) % ALIGNMENT
    raw[:start], raw[start + size :] = GUARD_BYTE, GUARD_BYTE
    if poison:
        raw[start : start + size] = 0xFF
    held = max(512, -(-size // 512) * 512) if size else 0
    pool._take(held)
    live[raw.ctypes.data + start] = size
    weakref.finalize(raw, _free, raw.ctypes.data + start, held)
    return raw[start : start + size].view(np.ndarray).view(dtype).reshape(shape)


def memory_of(a: Any) -> Memory | None:
    """The allocation a NumPy array lies in; None for memory of the host."""
    while isinstance(a, np.ndarray):
        if isinstance(a, Memory) and a.dtype == np.uint8 and not isinstance(a.base, Memory):
            return a
        a = a.base
    return None


def extent(raw: Memory) -> tuple[int, int]:
    """The address and the size of an allocation between its guards."""
    address = raw.ctypes.data + GUARD + (-(raw.ctypes.data + GUARD)) % ALIGNMENT
    return address, raw.size - 2 * GUARD - ALIGNMENT


def check_guards(array: Any) -> None:
    """Nothing was written beside the allocation of an array."""
    raw = memory_of(array._a)
    assert raw is not None
    start = GUARD + (-(raw.ctypes.data + GUARD)) % ALIGNMENT
    end = raw.size - (GUARD + ALIGNMENT - (start - GUARD))
    bytes_ = raw.view(np.ndarray)
    if (bytes_[:start] != GUARD_BYTE).any() or (bytes_[end:] != GUARD_BYTE).any():
        raise AssertionError("a kernel wrote outside a buffer")
