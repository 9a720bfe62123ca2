"""Streams, events and graphs of the stand-in.

Work is done at once, in the order in which it is given. While a stream is being captured nothing is done: launches are
recorded, and a graph does them at each `launch`, on the memory that they were given. Memory that is gone by then is an
error, as it would be wrong numbers on a device.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from .. import _memory
from .._memory import extent, live, memory_of, refuse_under_capture, synchronisations

Work = Callable[[list[Any]], None]
_addresses = itertools.count(0x1000, 0x100)
_stack: list[Stream] = []
_capture: Capture | None = None


class Capture:
    """What a stream has recorded."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.nodes: list[tuple[Work, dict[int, int]]] = []


def enqueue(work: Work, arrays: Sequence[Any]) -> None:
    """Do it, or record it."""
    if _capture is None or get_current_stream() is not _capture.stream:
        work(list(arrays))
        return
    # Addresses, which keep nothing alive: that is the business of whoever captures.
    memory = [memory_of(array._a) for array in arrays]
    _capture.nodes.append((work, dict(extent(found) for found in memory if found is not None)))


def capturing_stream() -> int | None:
    """The address of the stream that is being captured."""
    return None if _capture is None else _capture.stream.ptr


class Stream:
    """A queue; `with stream:` makes it the current one."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.is_non_blocking = non_blocking
        self.ptr = 0 if null else next(_addresses)

    def __enter__(self) -> Stream:
        _stack.append(self)
        _look()
        return self

    def __exit__(self, *_: object) -> None:
        _stack.pop()
        _look()

    def use(self) -> Stream:
        _stack[-1:] = [self]
        _look()
        return self

    done = True

    def synchronize(self) -> None:
        refuse_under_capture("Stream.synchronize()")
        synchronisations.append("synchronize")

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        pass

    def is_capturing(self) -> bool:
        return _capture is not None and _capture.stream is self

    def begin_capture(self, mode: int | None = None) -> None:
        global _capture
        if self.ptr == 0 or _capture is not None:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing")
        _capture = Capture(self)
        _look()

    def end_capture(self) -> Graph:
        global _capture
        if _capture is None or _capture.stream is not self:
            raise RuntimeError("cudaErrorIllegalState: the stream is not being captured")
        graph = Graph(_capture)
        _capture = None
        _look()
        return graph


Stream.null = Stream(null=True)


def _look() -> None:
    """Operations go to the current stream: are they recorded?"""
    _memory.capturing = _capture is not None and get_current_stream() is _capture.stream


def get_current_stream(device_id: int = -1) -> Stream:
    return _stack[-1] if _stack else Stream.null


class Graph:
    """What a capture recorded, to be done any number of times."""

    def __init__(self, capture: Capture) -> None:
        self._nodes = capture.nodes

    def upload(self, stream: Stream | None = None) -> None:
        pass

    def launch(self, stream: Stream | None = None) -> None:
        refuse_under_capture("Graph.launch()")
        for work, memory in self._nodes:
            if any(live.get(address, 0) < size for address, size in memory.items()):
                raise RuntimeError("a graph was launched whose memory has been freed")
            work([])


class Event:
    """A point in time."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._time = 0.0

    done = True

    def record(self, stream: Stream | None = None) -> None:
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        refuse_under_capture("Event.synchronize()")
        synchronisations.append("synchronize")


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds."""
    return (end._time - start._time) * 1e3
