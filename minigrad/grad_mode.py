"""Whether operations are recorded: one switch, as context managers and decorators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_enabled = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded at the moment."""
    return _enabled


class set_grad_enabled:  # noqa: N801  (PyTorch's name)
    """Switch recording on or off, at once; as a context manager it restores the former setting at the end."""

    def __init__(self, mode: bool) -> None:
        global _enabled
        self.mode = mode
        self.previous = _enabled
        _enabled = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        global _enabled
        _enabled = self.previous


class _GradMode:
    """Context manager and decorator: recording is ``mode`` inside."""

    mode: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        global _enabled
        self._previous.append(_enabled)
        _enabled = self.mode

    def __exit__(self, *exception: object) -> None:
        global _enabled
        _enabled = self._previous.pop()

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_GradMode):  # noqa: N801  (PyTorch's name)
    """Inside, nothing is recorded: ``with no_grad():`` or ``@no_grad()``."""

    mode = False


class enable_grad(_GradMode):  # noqa: N801
    """Inside, operations are recorded again."""

    mode = True


inference_mode = no_grad
