"""Times by events on the device, and on the host's clock beside them.

A sample is several calls in a row between two events, long enough that what an event costs does not matter. What the
host needs to launch a call counts where the device waits for it: that is what a user waits for too. The races are those
of `racing.race`: times of one round are compared with each other only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cupy
import numpy as np
import racing
from racing import Call, quartiles

from gpu import device

OURS = racing.OURS
MOST_IN_A_ROW, WARM_UP = 200, 2


class Timed:
    """What a race calls, with the face of `peers.worker.Worker`.

    Args:
        library: "pytorch" for events of PyTorch's streams, else CuPy's.
        find: name of a method -> the method.
        sample_ms: as many calls in a row make a sample as take so long.

    Attributes:
        walls: seconds of each call on the host's clock, until the device is idle.
    """

    def __init__(self, library: str, find: Callable[[str], Callable[..., Any]], sample_ms: float = 4.0) -> None:
        self.library, self._find, self._sample_ms = library, find, sample_ms
        self._times: dict[str, int] = {}
        self.walls: list[float] = []

    def call(self, method: str, *arguments: Any, times: int = 0) -> tuple[float, Any]:
        """(seconds of one call, result); the first call of a method warms up, and finds how many make a sample."""
        try:
            if method in self._times:
                return self._sample(method, arguments, times or self._times[method])
            found = self._sample(method, arguments, 1)
            self._times[method] = 1
            return found
        except Exception:
            device.synchronize()  # raises where nothing else would run either
            device.free_memory()
            raise

    def warm_up(self, method: str, *arguments: Any) -> None:
        """Before a race; not in the simulator, whose times mean nothing."""
        if device.SIMULATED:
            return
        self.call(method, *arguments, times=WARM_UP)
        seconds, _ = self.call(method, *arguments, times=2)
        self._times[method] = int(np.clip(self._sample_ms / 1e3 / max(seconds, 1e-9), 1, MOST_IN_A_ROW))

    def _sample(self, method: str, arguments: Sequence[Any], times: int) -> tuple[float, Any]:
        device.synchronize()
        start = time.perf_counter()
        elapsed, result = self._between_events(self._find(method), arguments, times)
        self.walls.append((time.perf_counter() - start) / times)
        return (self.walls[-1] if elapsed is None else elapsed / times), result

    def _between_events(self, function: Any, arguments: Sequence[Any], times: int) -> tuple[float | None, Any]:
        """Seconds on the device, None where there is none; and the last result."""
        if device.SIMULATED:
            return None, [function(*arguments) for _ in range(times)][-1]
        theirs = self.library == "pytorch"
        stream = device.torch().cuda.current_stream() if theirs else cupy.cuda.get_current_stream()
        make: Any = (lambda: device.torch().cuda.Event(enable_timing=True)) if theirs else cupy.cuda.Event
        start, stop = make(), make()
        start.record(stream)
        for _ in range(times):
            result = function(*arguments)
        stop.record(stream)
        stop.synchronize()
        ms = start.elapsed_time(stop) if theirs else cupy.cuda.get_elapsed_time(start, stop)
        return float(ms) / 1e3, result


def race(contestants: dict[str, Any], calls: Sequence[Call], rounds: int = 7) -> dict[str, Any]:
    """`racing.race` with the host's clock beside the device's, and the memory of a first call; two rounds in the
    simulator."""
    left_out: dict[str, str] = {}
    memory: dict[str, float] = {}
    for name, contestant in contestants.items():
        with racing.spared(name, left_out):
            call = partial(contestant.call, calls[0].method, *calls[0].arguments)
            memory[name] = device.peak_megabytes(contestant.library, call)
            contestant.warm_up(calls[0].method, *calls[0].arguments)
    able = {name: contestant for name, contestant in contestants.items() if name not in left_out}
    if not able:
        return {"rounds": 0, "variants": {}, "ratios": {}, "left_out": left_out}
    rounds = 2 if device.SIMULATED else rounds
    found = racing.race(able, [call._replace(times=0) for call in calls], rounds)
    racing.leave_out(found, left_out)
    for name, figures in found["variants"].items():
        figures["peak_memory_mb"] = memory[name]
        figures["wall_us"] = quartiles(np.array(able[name].walls[-rounds:]) / calls[0].units * 1e6)
    return found


def timed(library: str, function: Callable[[], Any]) -> Timed:
    """A contestant of one function."""
    return Timed(library, lambda method: function)


def median(function: Callable[[], Any], library: str = OURS, rounds: int = 7) -> dict[str, Any]:
    """One function alone: {"us": median and middle half}."""
    found = race({library: timed(library, function)}, [Call("call", (), 1)], rounds)
    if library in found["left_out"]:
        raise RuntimeError(found["left_out"][library])
    return {"us": found["variants"][library]["us"]}


def profile(function: Callable[[], Any], most: int = 25) -> list[dict[str, Any]]:
    """The kernels of one call, ours and PyTorch's alike, the longest first: name, launches, microseconds in all.

    Empty where no profiler can tell, that is without a GPU or without PyTorch.
    """
    if device.SIMULATED or device.torch() is None:
        return []
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorder

    function()
    device.synchronize()
    with recorder(activities=[ProfilerActivity.CUDA]) as recorded:
        function()
        device.synchronize()
    kernels = [event for event in recorded.key_averages() if event.self_device_time_total > 0]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    return [
        {"name": event.key[:120], "launches": event.count, "us": float(event.self_device_time_total)}
        for event in kernels[:most]
    ]
