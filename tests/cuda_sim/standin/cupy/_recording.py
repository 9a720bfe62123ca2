"""CuPy's own operations under capture: their results get memory at once, what fills it is recorded.

As on a device, that works only where the memory comes from a pool of the caller's own (`MemoryPool`), which outlives
the graph. Nodes know their operands by place, not as arrays: an array that is dropped during the capture gives its
memory back to the pool, the next one may lie there, and a replay that reads the wrong one of them gets wrong numbers.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _memory

Place = Callable[[], np.ndarray]


def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that returns a new array or a view, and changes nothing."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not _memory.capturing or kwargs.get("out") is not None:
            return in_place(function)(*args, **kwargs)
        with _memory.not_capturing():
            result = function(*args, **kwargs)
        _record_results(function, args, kwargs, result)
        return result

    return wrapper


def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that changes one of its arguments; under capture it is not done at all."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not _memory.capturing:
            return function(*args, **kwargs)
        _require_pool(function)
        again = _again(function, args, kwargs)
        _node(again, (args, kwargs))
        return kwargs.get("out")

    return wrapper


def _record_results(function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> None:
    """A node that computes the new arrays among the results once more; views need none."""
    single = not isinstance(result, (list, tuple))
    given = {id(_memory.memory_of(a._a)) for a in _arrays((args, kwargs))}
    new = [
        (number, place_of(array._a))
        for number, array in enumerate([result] if single else result)
        if hasattr(array, "_a") and id(_memory.memory_of(array._a)) not in given
    ]
    if not new:
        return
    _require_pool(function)
    again = _again(function, args, kwargs)

    def fill() -> None:
        values = again()
        for number, place in new:
            place()[...] = (values if single else values[number])._a

    _node(fill, (args, kwargs, result))


def _require_pool(function: Callable[..., Any]) -> None:
    if _memory.allocator is None:
        raise RuntimeError(f"{function.__name__} while a stream is being captured, without a memory pool of its own")


def _again(function: Callable[..., Any], args: Any, kwargs: Any) -> Callable[[], Any]:
    """The call once more, on what lies at the places of its arguments by then."""
    arguments = _placed((args, kwargs))

    def call() -> Any:
        again_args, again_kwargs = arguments()
        with _memory.allocating(None):
            return function(*again_args, **again_kwargs)

    return call


def _placed(value: Any) -> Callable[[], Any]:
    if hasattr(value, "_a"):
        place, wrap = place_of(value._a), type(value)._wrap
        return lambda: wrap(place())
    if isinstance(value, (list, tuple)):
        parts, kind = [_placed(part) for part in value], type(value)
        return lambda: kind(part() for part in parts)
    if isinstance(value, dict):
        items = {key: _placed(part) for key, part in value.items()}
        return lambda: {key: part() for key, part in items.items()}
    return lambda: value


def place_of(a: np.ndarray) -> Place:
    """Where an array lies, without keeping it alive; its block is the pool's, or must be kept by somebody else."""
    block = _memory.block_of(a)
    offset, reference = a.ctypes.data - block.ctypes.data, weakref.ref(block)
    shape, dtype, strides = a.shape, a.dtype, a.strides

    def place() -> np.ndarray:
        still = reference()
        assert still is not None  # a graph looks before it starts
        return np.ndarray(shape, dtype, buffer=still.data, offset=offset, strides=strides)

    return place


def _arrays(value: Any) -> list[Any]:
    if hasattr(value, "_a"):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [array for part in parts for array in _arrays(part)]


def _node(work: Callable[[], Any], touched: Any) -> None:
    from .cuda._streams import enqueue

    enqueue(lambda _: work(), _arrays(touched))
