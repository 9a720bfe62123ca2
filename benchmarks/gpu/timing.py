"""Times of calls that take turns: events on the device where there is one, and the host's clock beside them.

A sample is several calls in a row between two events, long enough that what an event costs does not matter. What the
host needs to launch a call counts where the device waits for it: that is what a user waits for too. Times of one round
are compared with each other only, so a device whose clock sinks slows all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import cupy
import numpy as np
from racing import quartiles

from gpu import device

OURS = "minigrad"
MOST_IN_A_ROW = 200


class Call(NamedTuple):
    """A contestant: what it calls, and whose events time it ("ours" or "peer")."""

    function: Callable[[], Any]
    clock: str = "ours"


class Sample(NamedTuple):
    """Microseconds of one call: between events, and on the host's clock until the device is idle."""

    device: float
    wall: float


def sample(call: Call, times: int) -> Sample:
    """So many calls in a row."""
    device.synchronize()
    start = time.perf_counter()
    elapsed = _between_events(call, times)
    wall = (time.perf_counter() - start) * 1e6 / times
    return Sample(wall if elapsed is None else elapsed / times, wall)


def _between_events(call: Call, times: int) -> float | None:
    """Microseconds on the device; None where there is none."""
    if device.SIMULATED:
        for _ in range(times):
            call.function()
        return None
    make: Any = cupy.cuda.Event if call.clock == "ours" else lambda: device.torch().cuda.Event(enable_timing=True)
    stream = cupy.cuda.get_current_stream() if call.clock == "ours" else device.torch().cuda.current_stream()
    start, stop = make(), make()
    start.record(stream)
    for _ in range(times):
        call.function()
    stop.record(stream)
    stop.synchronize()
    if call.clock == "ours":
        return float(cupy.cuda.get_elapsed_time(start, stop)) * 1e3
    return float(start.elapsed_time(stop)) * 1e3


def race(calls: dict[str, Call], rounds: int = 7, sample_ms: float = 4.0) -> dict[str, Any]:
    """Medians and middle halves of microseconds per call, and every other's time over ours of the same round; a peer
    that fails is left out, and why stands under "left_out"."""
    if device.SIMULATED:
        rounds, sample_ms = 2, 0.0
    times, left_out = each_peer(calls, lambda call: _times(call, sample_ms))
    names, samples = list(times), {name: list[Sample]() for name in times}
    for turn in range(rounds if names else 0):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            samples[name].append(sample(calls[name], times[name]))
    found: dict[str, Any] = {"rounds": rounds if names else 0, "us": {}, "wall_us": {}, "ratios": {}}
    found["left_out"] = left_out
    of_device = {name: np.array([s.device for s in samples[name]]) for name in names}
    for name in names:
        found["us"][name] = quartiles(of_device[name])
        found["wall_us"][name] = quartiles(np.array([s.wall for s in samples[name]]))
        if OURS in names and name != OURS:
            found["ratios"][name] = quartiles(of_device[name] / of_device[OURS])
    return found


def each_peer(calls: dict[str, Call], ask: Callable[[Call], Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What each contestant gives, and why a peer gives nothing; an error of ours is raised."""
    found, left_out = {}, {}
    for name, call in calls.items():
        try:
            found[name] = ask(call)
        except Exception as error:
            if call.clock == "ours":
                raise
            device.synchronize()  # raises where nothing else would run either
            device.free_memory()
            left_out[name] = one_line(error)
    return found, left_out


def one_line(error: BaseException) -> str:
    """Type and message of an exception, cut."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def _times(call: Call, sample_ms: float) -> int:
    """How many calls make a sample of so many milliseconds; warms up by the way."""
    for _ in range(3 if sample_ms else 1):
        call.function()
    if not sample_ms:
        return 1
    return int(np.clip(sample_ms * 1e3 / max(sample(call, 2).device, 1e-3), 1, MOST_IN_A_ROW))


def median(call: Call, rounds: int = 7, sample_ms: float = 4.0) -> dict[str, Any]:
    """One contestant alone."""
    found = race({OURS: call}, rounds, sample_ms)
    return {"us": found["us"][OURS], "wall_us": found["wall_us"][OURS]}


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
