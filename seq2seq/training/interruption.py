"""What Ctrl-C, a termination signal and the end of the terminal do to a training: it stops after the step under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class StopSignals:
    """Inside, the signals call ``stop``; a second Ctrl-C interrupts.

    The end of the terminal changes nothing for a process that was started to ignore it, as ``nohup`` does.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.former: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self.former[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.stop()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)
