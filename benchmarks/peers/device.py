"""Peers on a GPU, all in this process: they share the device's context and memory, and take turns.

Without a GPU CuPy's stand-in of tests/cuda_sim takes its place, and PyTorch works on the processor beside it. The clock
is the host's, until the device is idle, since a user waits for launches too; a sample is as many calls in a row as take
so long that the waiting at its end does not count.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cupy
import numpy as np
from cupy.cuda import nvrtc

import kernels
from peers.problem import Task
from peers.worker import VARIANTS, Variant, build

SIMULATED = "standin" in Path(cupy.__file__).parts
PLACES = {"minigrad": "cuda", "ablated": "cuda", "pytorch": "cpu" if SIMULATED else "cuda"}
PROPERTIES = ("multiProcessorCount", "totalGlobalMem", "l2CacheSize", "sharedMemPerBlockOptin", "cooperativeLaunch")
CLOCKS = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu,ecc.mode.current"
SAMPLE_S, MOST_IN_A_ROW = 0.01, 200


def name() -> str:
    """What the driver calls the device."""
    if SIMULATED:
        return "simulator"
    found = cupy.cuda.runtime.getDeviceProperties(0)["name"]
    return found.decode() if isinstance(found, bytes) else str(found)


def facts() -> dict[str, Any]:
    """What figures depend on beside the name: versions, properties, the clocks of this moment."""
    found: dict[str, Any] = {"nvrtc": list(nvrtc.getVersion()), "PyTorch": why_no_torch() or "is here"}
    if SIMULATED:
        return found
    if why_no_torch() is None:
        import torch

        found |= {"torch's CUDA": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    known = cupy.cuda.runtime.getDeviceProperties(0)
    found |= {name: known[name] for name in PROPERTIES if name in known}
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={CLOCKS}", "--format=csv,noheader", "--id=0"]
        output = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
        found |= dict(zip(CLOCKS.split(","), map(str.strip, output.split(",")), strict=False))
    return found


@functools.cache
def why_no_torch() -> str | None:
    """What is missing where PyTorch cannot compute on the device."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed"
    try:
        import torch

        return None if SIMULATED or torch.cuda.is_available() else "PyTorch sees no GPU"
    except Exception as error:
        return f"PyTorch cannot be imported: {' '.join(str(error).split())}"[:300]


def synchronize() -> None:
    """Wait for everything, ours and PyTorch's; raises what the device has to say."""
    if not SIMULATED:
        cupy.cuda.runtime.deviceSynchronize()


def free_memory() -> None:
    """Give back what both libraries keep in their pools."""
    cupy.get_default_memory_pool().free_all_blocks()
    if not SIMULATED and why_no_torch() is None:
        import torch

        torch.cuda.empty_cache()


def recover() -> None:
    """After an error: raises where nothing else would run either."""
    synchronize()
    free_memory()


def reserved_megabytes(library: str) -> float:
    """Device memory (10**6 bytes) that a library's pool holds."""
    if library == "pytorch" and not SIMULATED:
        import torch

        return float(torch.cuda.memory_reserved() / 1e6)
    return float(cupy.get_default_memory_pool().total_bytes() / 1e6)


def seconds(function: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Of one of so many calls in a row, and what the last returned."""
    synchronize()
    start = time.perf_counter()
    for _ in range(times):
        result = function()
    synchronize()
    return (time.perf_counter() - start) / times, result


def in_a_row(function: Callable[[], Any]) -> int:
    """Calls of a function, no longer new, that make a sample; one in the simulator, whose times mean nothing."""
    return 1 if SIMULATED else int(np.clip(SAMPLE_S / seconds(function, 2)[0], 1, MOST_IN_A_ROW))


def typical_us(function: Callable[[], Any]) -> float:
    """Median microseconds of a function alone."""
    function()
    times = in_a_row(function)
    return 1e6 * median(seconds(function, times)[0] for _ in range(1 if SIMULATED else 7))


@functools.cache
def matmul_rate(bf16: bool, repeats: int) -> float:
    """The best of several large square products, in GFLOP/s, converting to bfloat16 included."""
    size = 32 if SIMULATED else 8192
    a, b = (cupy.asarray(np.random.default_rng(seed).standard_normal((size, size), np.float32)) for seed in (0, 1))
    call = partial(kernels.linear_forward, a, b, None, bf16)
    call()
    return 2 * size**3 / min(seconds(call, 1)[0] for _ in range(repeats)) / 1e9


# --- with the face of a worker ----------------------------------------------------------------------------------------
_shared: dict[str, tuple[Task, Any]] = {}  # library -> the task and the peer whose model its variants share


class Here:
    """A variant, with the face of `peers.worker.Worker`.

    Variants of one library share a model, since the paper's would not fit many times; after "build" one has its own,
    with the first weights of the task.
    """

    def __init__(self, name: str, task: Any) -> None:
        self.name, self._task, self._variant, self._peer = name, task, VARIANTS[name], None
        self._times: dict[str, int] = {}
        self._memory: float | None = None

    def call(self, method: str, *arguments: Any, times: int = 1) -> tuple[float, Any]:
        """As that of a worker; ``times=0`` is as many calls in a row as make a sample."""
        own = {"build": self._build, "peak_memory": lambda: self._memory, "matmul_rate": matmul_rate}
        if method in own:
            return 0.0, own[method](*arguments)
        try:
            function = self._function(method, arguments)
            if self._memory is None:
                free_memory()
                found = seconds(function, 1)
                self._memory = reserved_megabytes(self._variant.peer)
                return found
            if times == 0 and method not in self._times:
                self._times[method] = in_a_row(function)
            return seconds(function, times or self._times[method])
        except Exception:
            recover()
            raise

    def profile(self, method: str, *arguments: Any) -> list[dict[str, Any]]:
        """The kernels of a call."""
        return profile(self._function(method, arguments))

    def _function(self, method: str, arguments: Sequence[Any]) -> Callable[[], Any]:
        self._peer = self._peer or self._made(share=True)
        return partial(getattr(self._peer, method), *arguments)

    def _build(self, task: Any) -> None:
        self._task, self._peer = task, None
        free_memory()
        self._peer = self._made(share=False)

    def _made(self, share: bool) -> Any:
        peer, precision, options = self._variant
        if peer == "pytorch" and (reason := why_no_torch()):
            raise RuntimeError(reason)
        options = {"device": PLACES[peer], **options}
        if share and isinstance(self._task, Task) and options["device"] == PLACES[peer]:
            options["like"] = shared(peer, self._task)
        return build(Variant(peer, precision, options), 1, self._task)


def shared(library: str, task: Task) -> Any:
    """The peer of a task in float32; that of another task goes."""
    if library not in _shared or _shared[library][0] != task:
        _shared.pop(library, None)
        free_memory()
        _shared[library] = task, build(Variant(library, "fp32", {"device": PLACES[library]}), 1, task)
    return _shared[library][1]


@contextmanager
def open_here(names: Sequence[str], threads: int, task: Any) -> Iterator[dict[str, Here]]:
    """A contestant per variant."""
    yield {name: Here(name, task) for name in names}


def kernels_of(names: Sequence[str], task: Any, method: str, *arguments: Any) -> dict[str, Any]:
    """A row of what ran in a call of each variant; asked last, since a profiler may slow what comes after it."""
    with open_here(names, 1, task) as workers:
        return {"kernels": {name: worker.profile(method, *arguments) for name, worker in workers.items()}}


def reference() -> str:
    """Whom the others are held against: PyTorch, or where there is none ours on the processor."""
    return "minigrad-cpu" if why_no_torch() else "pytorch-packed"


def profile(function: Callable[[], Any], most: int = 12) -> list[dict[str, Any]]:
    """The kernels of one call, ours and PyTorch's alike, the longest first: name, launches, microseconds in all.

    Empty where no profiler can tell, that is without a GPU or without PyTorch.
    """
    if SIMULATED or why_no_torch():
        return []
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorder

    function()
    synchronize()
    with recorder(activities=[ProfilerActivity.CUDA]) as recorded:
        function()
        synchronize()
    events = [event for event in recorded.key_averages() if event.self_device_time_total > 0]
    events.sort(key=lambda event: -event.self_device_time_total)
    return [
        {"name": event.key[:120], "launches": event.count, "us": float(event.self_device_time_total)}
        for event in events[:most]
    ]
