"""RawModule and its kernels: what NVRTC's stand-in built is a shared library that runs on the simulator.

Stricter than CuPy where CuPy would go on with wrong numbers: arguments have to be C-contiguous, numbers need a NumPy
type, a grid that is too large for a cooperative launch is an error, and guards beside every array are checked.
"""

from __future__ import annotations

import ctypes
import os
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ._arrays import ndarray
from ._memory import check_guards
from .cuda import driver
from .cuda._streams import enqueue
from .cuda.nvrtc import harness

# The order in which the simulator runs threads: 0 is the cheapest. Tests may set it.
schedule = int(os.environ.get("CUDA_SIM_SCHEDULE", "0"))
DEFAULT_SHARED = 48 << 10


class RawModule:
    """A module loaded from a file."""

    def __init__(
        self, code: Any = None, *, path: str, options: tuple[str, ...] = (), enable_cooperative_groups: bool = False
    ) -> None:
        if code is not None or options:
            raise NotImplementedError("the stand-in loads modules by path")
        self.file_path, self.enable_cooperative_groups = path, enable_cooperative_groups
        self._library: Any = None

    def get_function(self, name: str) -> RawKernel:
        if self._library is None:
            self._library = ctypes.CDLL(self.file_path)
            self._library.sim_error.restype = ctypes.c_char_p
        try:
            return RawKernel(self, self._library, name)
        except AttributeError:
            raise driver.CUDADriverError("CUDA_ERROR_NOT_FOUND: named symbol not found") from None


class RawKernel:
    """A kernel of a module."""

    def __init__(self, module: RawModule, library: Any, name: str) -> None:
        self.name, self.enable_cooperative_groups = name, module.enable_cooperative_groups
        self._function, self._library = getattr(library, f"sim_{name}"), library
        self.max_dynamic_shared_size_bytes = DEFAULT_SHARED
        self.kernel = SimpleNamespace(ptr=ctypes.cast(self._function, ctypes.c_void_p).value)

    def __call__(self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0) -> None:
        grid, block = (tuple(map(int, size)) + (1,) * (3 - len(size)) for size in (grid, block))
        if min(*grid, *block) < 1 or np.prod(block) > 1024 or max(grid[1:]) > 65535:
            raise driver.CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        if shared_mem > min(self.max_dynamic_shared_size_bytes, driver.SHARED_LIMIT):
            raise driver.CUDADriverError("CUDA_ERROR_INVALID_VALUE: more shared memory than the kernel may have")
        if self.enable_cooperative_groups and not driver.fits(grid, block, shared_mem):
            raise driver.CUDADriverError("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE: too many blocks")
        values = [self._argument(value) for value in args]
        arrays = [value for value in args if isinstance(value, ndarray)]
        enqueue(partial(self._run, grid, block, shared_mem, values), arrays)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, ndarray):
            if not value.flags.c_contiguous:
                raise ValueError(f"{self.name}: an argument of shape {value.shape} is not C-contiguous")
            return ctypes.c_void_p(value._a.ctypes.data)
        if isinstance(value, np.generic):
            return np.ctypeslib.as_ctypes_type(value.dtype)(value.item())
        raise TypeError(f"{self.name}: {value!r}: give a kernel's numbers a NumPy type")

    def _run(self, grid: tuple, block: tuple, shared_mem: int, values: list, arrays: list[ndarray]) -> None:
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.cast(ctypes.pointer(v), ctypes.c_void_p) for v in values])
        cooperative = self.enable_cooperative_groups
        how = harness().CLaunch(grid, block, shared_mem, cooperative, schedule, len(values))
        if self._function(ctypes.byref(how), pointers):
            raise RuntimeError(f"{self.name}: {self._library.sim_error().decode()}")
        for array in arrays:
            check_guards(array)
