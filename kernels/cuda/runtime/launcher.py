"""Launches the kernels of the .cu files on the current device and CuPy's current stream.

    module("losses/losses").sum_losses(geometry.one_block(), (losses, factor, np.int32(M), loss))

Arguments are CuPy arrays (C-contiguous, passed as addresses), None (the null pointer) and NumPy scalars, passed by
value with the width of their type: bare Python numbers are refused, since they would be passed as 8 bytes. Launch
dimensions come from `kernels.cuda.runtime.geometry`.

A cooperative launch needs all its blocks on the device at once. `fits` says whether they are, so that a caller can take
another way; without that question a launch that does not fit is an error, never a hang.

What a kernel finds wrong it cannot raise. It writes a code into the device's error word (`error_word`), and the host
asks for it where it waits for the device anyway (`check`).
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from kernels.cuda.runtime.compiler import cubin
from kernels.cuda.runtime.geometry import Launch
from kernels.cuda.runtime.switches import switches

NULL = np.uint64(0)
BARE = (int, float, bool)
DEFAULT_SHARED = 48 << 10  # bytes of dynamic shared memory that a kernel may have without asking

ERRORS: dict[int, tuple[type[Exception], str]] = {  # by the codes of device.cuh
    1: (RuntimeError, "a recurrent kernel waited in vain for a block that never ran; what it computed is void"),
    2: (IndexError, "a kernel was given an id or a target that is out of range"),
}


class Device:
    """What is kept of one device: its properties, the modules loaded there, and its error word."""

    def __init__(self, cupy: Any) -> None:
        device = cupy.cuda.Device()
        attributes = device.attributes
        self.cupy = cupy
        self.capability: str = device.compute_capability
        self.multiprocessors: int = attributes["MultiProcessorCount"]
        self.shared_limit: int = attributes["MaxSharedMemoryPerBlockOptin"]
        self.modules: dict[tuple[Any, ...], Module] = {}
        self.error = cupy.zeros(1, np.uint32)
        self.watched = False  # whether a kernel may have written to `error` since somebody looked


_devices: dict[tuple[Any, int], Device] = {}


def current_device() -> Device:
    """Of the device that CuPy launches on at present."""
    import cupy

    key = cupy, cupy.cuda.get_device_id()
    if key not in _devices:
        _devices[key] = Device(cupy)
    return _devices[key]


class Kernel:
    """One kernel of a module: call it with a launch and its arguments."""

    def __init__(self, module: "Module", name: str) -> None:
        self._module, self._name = module, name
        self._raw: dict[bool, Any] = {}  # CuPy decides by module whether launches are cooperative
        self._shared = {False: DEFAULT_SHARED, True: DEFAULT_SHARED}  # what each may have so far
        self._fitting: dict[Launch, bool] = {}

    def __call__(self, launch: Launch, args: tuple[Any, ...]) -> None:
        """Enqueue the kernel on the current stream.

        Raises:
            TypeError: a number without a NumPy type.
            RuntimeError: the launch does not fit the device.
        """
        for value in args:
            if type(value) in BARE:
                raise TypeError(f"{self._name}: {value!r} has no NumPy type; it would be passed as 8 bytes")
        if (launch.cooperative or launch.shared_bytes > DEFAULT_SHARED) and not self.fits(launch):
            raise RuntimeError(f"{self._name}: {launch} does not fit the device")
        raw = self._prepared(launch)
        args = tuple(NULL if value is None else value for value in args)
        raw(launch.grid, launch.block, args, shared_mem=launch.shared_bytes)

    def fits(self, launch: Launch) -> bool:
        """Whether the device has the shared memory, and for a cooperative launch, room for all blocks at once."""
        if launch not in self._fitting:
            self._fitting[launch] = self._fits(launch)
        return self._fitting[launch]

    def _fits(self, launch: Launch) -> bool:
        device = self._module.device
        if launch.shared_bytes > device.shared_limit:
            return False
        if not launch.cooperative:
            return True
        function, threads = self._prepared(launch).kernel.ptr, math.prod(launch.block)
        occupancy = device.cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
        return math.prod(launch.grid) <= device.multiprocessors * occupancy(function, threads, launch.shared_bytes)

    def _prepared(self, launch: Launch) -> Any:
        """CuPy's kernel, allowed to have the launch's shared memory."""
        raw = self._raw.get(launch.cooperative)
        if raw is None:
            raw = self._raw[launch.cooperative] = self._module.load(launch.cooperative).get_function(self._name)
        if launch.shared_bytes > self._shared[launch.cooperative]:
            raw.max_dynamic_shared_size_bytes = self._shared[launch.cooperative] = launch.shared_bytes
        return raw


class Module:
    """The kernels of one .cu file as attributes."""

    def __init__(self, device: Device, source: Path, options: tuple[str, ...], folder: Path) -> None:
        self.device, self._made_of = device, (source, device.capability, options, folder)
        self._loaded: dict[bool, Any] = {}

    def load(self, cooperative: bool) -> Any:
        """CuPy's module, whose kernels are launched cooperatively or not."""
        if cooperative not in self._loaded:
            path = str(cubin(*self._made_of))
            self._loaded[cooperative] = self.device.cupy.RawModule(path=path, enable_cooperative_groups=cooperative)
        return self._loaded[cooperative]

    def __getattr__(self, name: str) -> Kernel:
        if name.startswith("__"):
            raise AttributeError(name)
        kernel = Kernel(self, name)
        setattr(self, name, kernel)
        return kernel


def module(name: str | Path, options: tuple[str, ...] = ()) -> Module:
    """The kernels of a file by its room and its name without ".cu", or of the file at a path.

    Args:
        name: "updates/adam", or the path of a .cu file elsewhere.
        options: of NVRTC beside those that every kernel is compiled with.
    """
    device = current_device()
    key = switches.sources, name, options  # a Path is slow to make
    found = device.modules.get(key)
    if found is None:
        source = name if isinstance(name, Path) else switches.sources / f"{name}.cu"
        found = device.modules[key] = Module(device, source, options, switches.sources)
    return found


def error_word() -> Any:
    """(1,) uint32, the argument `error` of kernels that have one; 0 as long as all went well."""
    device = current_device()
    device.watched = True
    return device.error


def check() -> None:
    """Waits for the kernels that have an error word, and raises what they found.

    Raises:
        RuntimeError: a block of a cooperative launch was lost.
        IndexError: an id or a target out of range.
    """
    device = current_device()
    if not device.watched:
        return
    device.watched = False
    code = int(device.error.get()[0])
    if code:
        device.error.fill(0)
        kind, text = ERRORS.get(code, (RuntimeError, f"a kernel reported error {code}"))
        raise kind(text)
