"""Memory of the stand-in: aligned and guarded on both sides, counted as CuPy's pool counts it."""

from __future__ import annotations

import operator
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    def malloc(self, size: int) -> Any:
        raise NotImplementedError("the stand-in's pools serve using_allocator")

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


@contextmanager
def not_capturing() -> Iterator[None]:
    """Inside, operations are done: to learn what their results look like."""
    global capturing
    former, capturing = capturing, False
    try:
        yield
    finally:
        capturing = former


class Memory(np.ndarray):
    """The bytes of one allocation with a guard on both sides; whatever is a view of it lies on the device."""


class MemoryPool(Pool):
    """A pool of the caller's own: it keeps what is given back, and gives it away again for the same size."""

    def __init__(self, allocator: Any = None) -> None:
        super().__init__()
        self._free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self._made: list[weakref.ref[np.ndarray]] = []

    def _lease(self, size: int) -> Memory:
        """The bytes of a block, which comes back when nobody refers to them any more."""
        block = self._free[size].pop() if self._free[size] else self._block(size)
        lease = np.frombuffer(memoryview(block), np.uint8).view(Memory)
        _blocks[id(lease)] = block
        self._take(size)
        weakref.finalize(lease, self._back, id(lease), size)
        return lease

    def _block(self, size: int) -> np.ndarray:
        block = np.empty(size, np.uint8)
        self._made.append(weakref.ref(block))
        address, room = extent(block)
        live[address] = room
        weakref.finalize(block, live.pop, address, None)
        return block

    def poison(self) -> None:
        """Overwrite all its memory, in use or not, as if others had worked there: 0xFF, which is NaN as a float."""
        for block in (made() for made in self._made):
            if block is not None:
                address, size = extent(block)
                start = address - block.ctypes.data
                block[start : start + size] = 0xFF

    def _back(self, name: int, size: int) -> None:
        self._free[size].append(_blocks.pop(name))
        self._give(size)


_blocks: dict[int, np.ndarray] = {}  # by the id of the lease
allocator: MemoryPool | None = None


def block_of(a: np.ndarray) -> np.ndarray:
    """What stays when the arrays in an allocation are gone: the pool's block, or else the allocation itself."""
    memory = memory_of(a)
    assert memory is not None
    return _blocks.get(id(memory), memory)


@contextmanager
def allocating(source: MemoryPool | None) -> Iterator[None]:
    global allocator
    former, allocator = allocator, source
    try:
        yield
    finally:
        allocator = former


def using_allocator(malloc: Callable[[int], Any]) -> Any:
    """`with using_allocator(pool.malloc):` arrays made inside lie in the pool."""
    source = getattr(malloc, "__self__", None)
    assert isinstance(source, Pool)
    return allocating(source if isinstance(source, MemoryPool) else None)


def allocate(shape: Any, dtype: Any, poison: bool = True) -> np.ndarray:
    """An aligned NumPy array between two guards; 0xFF everywhere, which is NaN as a float."""
    if allocator is None:
        refuse_under_capture("an allocation")
    dtype = np.dtype(dtype)
    shape = (int(shape),) if np.ndim(shape) == 0 else tuple(operator.index(n) for n in shape)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    whole = size + 2 * GUARD + ALIGNMENT
    raw = np.empty(whole, np.uint8).view(Memory) if allocator is None else allocator._lease(whole)
    start = GUARD + (-(raw.ctypes.data + GUARD)) % ALIGNMENT
    raw[:start], raw[start + size :] = GUARD_BYTE, GUARD_BYTE
    if poison:
        raw[start : start + size] = 0xFF
    if allocator is None:
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


def extent(raw: np.ndarray) -> tuple[int, int]:
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
