"""Hooks: functions that a user has called at some event, in order, and the handles that take them away again."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from minigrad.naming import described

_ids = itertools.count()


class Hooks:
    """Functions in the order in which they are called. One that is added or removed meanwhile counts the next time."""

    def __init__(self) -> None:
        self._by_id: dict[int, Any] = {}

    def add(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Put ``hook`` behind the others, or with ``prepend`` before them."""
        handle = RemovableHandle(self)
        entry = {handle.id: hook}
        self._by_id = {**entry, **self._by_id} if prepend else {**self._by_id, **entry}
        return handle

    def discard(self, number: int) -> None:
        """Drop the hook of a handle, if it is there."""
        self._by_id = {other: hook for other, hook in self._by_id.items() if other != number}

    def __iter__(self) -> Iterator[Any]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)


class RemovableHandle:
    """Takes a hook away again: by ``remove()``, or at the end of a ``with`` block. It keeps nothing alive.

    Attributes:
        id: a number that no other handle has.
    """

    def __init__(self, hooks: Hooks) -> None:
        self.id = next(_ids)
        self._hooks = weakref.ref(hooks)

    def remove(self) -> None:
        """Take the hook away; nothing happens if it is gone."""
        if (hooks := self._hooks()) is not None:
            hooks.discard(self.id)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def check_hook(owner: str, hook: Any) -> None:
    """Raise TypeError unless it can be called."""
    if not callable(hook):
        raise TypeError(f"{owner}: hook is {described(hook)}; expected a function")


def name_of(hook: Callable) -> str:
    """How messages call a hook."""
    return getattr(hook, "__qualname__", type(hook).__name__)
