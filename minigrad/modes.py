"""Settings that every thread has for itself, the ``with`` blocks that change them, and these blocks as decorators.

Contract: PyTorch's. A new thread starts with the default. A block restores what it found, in the thread that entered
it; where blocks end in another order than they began (generators), the last one restores what the first one found,
which in PyTorch is lost. A decorated generator or coroutine has the
setting inside its body only: whoever resumes it has their own again at each ``yield`` and ``await``.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, ClassVar, Self

from minigrad.naming import described


class ThreadSetting(threading.local):
    """One setting of each thread.

    Attributes:
        value: the setting now.
    """

    def __init__(self, default: Any) -> None:
        self.value = default
        self._found: list[tuple[object, Any]] = []  # by each open block, the setting before it

    def enter(self, block: object, value: Any) -> None:
        """Change the setting until ``leave(block)``."""
        self._found.append((block, self.value))
        self.value = value

    def leave(self, block: object) -> None:
        """Undo the last ``enter(block)`` of this thread, if there is one; later blocks that are open go on."""
        for position in reversed(range(len(self._found))):
            if self._found[position][0] is block:
                _, found = self._found.pop(position)
                if position == len(self._found):
                    self.value = found
                else:
                    self._found[position] = self._found[position][0], found
                return


class Mode:
    """Context manager and decorator: the setting is ``value`` inside. May be entered again, by any thread."""

    setting: ClassVar[ThreadSetting]
    value: bool

    def __enter__(self) -> Any:
        self.setting.enter(self, self.value)

    def __exit__(self, *exception: object) -> None:
        self.setting.leave(self)

    def __call__(self, function: Any) -> Any:
        """``function`` with the setting inside: also a method, a generator function or a coroutine function."""
        return decorated(self, function)


class BareMode(Mode):
    """A mode without arguments: as a decorator it may come without brackets."""

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        return made if function is None else made(function)


class _Steps:
    """A generator, coroutine or asynchronous step, each of whose resumptions runs in ``mode``."""

    def __init__(self, mode: Mode, steps: Any) -> None:
        self._mode, self._steps = mode, steps

    def __iter__(self) -> Self:
        return self

    __await__ = __iter__

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        with self._mode:
            return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        with self._mode:
            return self._steps.throw(*error)

    def close(self) -> None:
        with self._mode:
            self._steps.close()


def decorated(mode: Mode, function: Any) -> Any:
    """``function`` whose body runs in ``mode``.

    Raises:
        TypeError: a class, or what cannot be called.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorated(mode, function.__func__))
    if inspect.isclass(function) or not callable(function):
        name = type(mode).__name__
        raise TypeError(f"{name}: got {described(function)} to decorate; expected a function or a method")
    return functools.wraps(function)(_wrapper_for(function)(mode, function))


def _wrapper_for(function: Callable) -> Callable[[Mode, Callable], Callable]:
    """What wraps functions of this kind."""
    plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    body = function if plain else type(function).__call__  # of a callable object
    if inspect.isgeneratorfunction(body):
        return _generator
    if inspect.iscoroutinefunction(body):
        return _coroutine
    return _async_generator if inspect.isasyncgenfunction(body) else _function


def _function(mode: Mode, function: Callable) -> Callable:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return function(*args, **kwargs)

    return wrapped


def _generator(mode: Mode, function: Callable) -> Callable:
    def wrapped(*args: Any, **kwargs: Any) -> Generator:
        return (yield from _Steps(mode, function(*args, **kwargs)))

    return wrapped


def _coroutine(mode: Mode, function: Callable) -> Callable:
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        return await _Steps(mode, function(*args, **kwargs))

    return wrapped


def _async_generator(mode: Mode, function: Callable) -> Callable:
    async def wrapped(*args: Any, **kwargs: Any) -> AsyncGenerator:
        inner = function(*args, **kwargs)
        step = inner.asend(None)
        while True:
            try:
                value = await _Steps(mode, step)
            except StopAsyncIteration:
                return
            try:
                step = inner.asend((yield value))
            except GeneratorExit:
                await _Steps(mode, inner.aclose())
                raise
            except BaseException as error:
                step = inner.athrow(error)

    return wrapped
