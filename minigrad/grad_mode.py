"""Whether operations are recorded: one switch for each thread, as context managers and decorators."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from minigrad.modes import BareMode, Mode, ThreadSetting

_recording = ThreadSetting(True)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded at the moment."""
    return _recording.value


def _switch(owner: str, mode: Any) -> bool:
    if not isinstance(mode, bool | np.bool_):
        raise TypeError(f"{owner}: mode is {mode!r}; expected True or False")
    return bool(mode)


class set_grad_enabled(Mode):  # noqa: N801  (PyTorch's name)
    """Switch recording on or off, at once; as a context manager it restores the former setting at the end.

    As a decorator it changes nothing but the function.
    """

    setting = _recording

    def __init__(self, mode: bool) -> None:
        self.value = _switch("set_grad_enabled", mode)
        self._former, self._thread = self.setting.value, threading.get_ident()
        self.setting.value = self.value

    def __enter__(self) -> None:
        self._take_back()  # so that the end of the block restores what was before the call
        super().__enter__()

    def __call__(self, function: Any) -> Any:
        self._take_back()
        return super().__call__(function)

    def _take_back(self) -> None:
        """Undo the switch that the call has made, once, where it was made."""
        if threading.get_ident() == self._thread:
            self.setting.value, self._thread = self._former, 0


class no_grad(BareMode):  # noqa: N801  (PyTorch's name)
    """Inside, nothing is recorded: ``with no_grad():``, ``@no_grad()`` or ``@no_grad``."""

    setting, value = _recording, False


class enable_grad(BareMode):  # noqa: N801
    """Inside, operations are recorded again."""

    setting, value = _recording, True


class inference_mode(Mode):  # noqa: N801
    """``no_grad``, or with False ``enable_grad``: tensors made inside are no others than those made outside."""

    setting = _recording

    def __new__(cls, mode: Any = True) -> Any:
        """As a decorator it may come without brackets."""
        made = super().__new__(cls)
        if not callable(mode):
            made.value = not _switch("inference_mode", mode)
            return made
        made.value = False
        return made(mode)
