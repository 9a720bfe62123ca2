"""A command in this process, within bounds of time and memory."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from verdict import Outcome

import minigrad

LIMIT = 10.0  # seconds for a command in this process
SPARE_MEMORY = 2 << 30  # bytes that it may take beside what this process has
_SIGNALS = (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Hang(BaseException):
    """Time is over. No program catches it by mistake."""


def run_here(command: str, arguments: Sequence[str], stdin: bytes = b"", limit: float = LIMIT) -> Outcome:
    """A command in this process, with files for its standard streams, stopped after ``limit`` seconds."""
    main = importlib.import_module(f"seq2seq.{command}").main
    streams = [os.fdopen(os.memfd_create("stream"), "w+", encoding="utf-8") for _ in range(2)]
    former = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            code, hung = _ended(lambda: main(list(arguments)), limit)
    finally:
        sys.stdin = former
    return Outcome(code, _close(streams), hung)


def _ended(call: Callable[[], int], limit: float) -> tuple[int | None, bool]:
    """The exit code, None where there is none, and whether time was over; a traceback goes to standard error."""
    try:
        with _bounded(limit):
            return call(), False
    except SystemExit as end:
        return (end.code if isinstance(end.code, int) else int(end.code is not None)), False
    except BaseException as error:  # Hang among them: whatever a program can raise
        traceback.print_exc()
        return None, isinstance(error, Hang)


def _close(streams: Sequence[io.TextIOWrapper]) -> str:
    """The text of the last stream."""
    streams[-1].flush()
    streams[-1].buffer.seek(0)
    text = streams[-1].buffer.read().decode("utf-8", "replace")
    for stream in streams:
        stream.close()
    return text


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Bounds inside; what a command sets for its process is put back after it."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    former = {number: signal.getsignal(number) for number in _SIGNALS}
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE_MEMORY, limits[1]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for number, handler in former.items():
            signal.signal(number, handler)
        minigrad.set_num_threads(1)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Hang
