"""Where arrays lie: NumPy's in the memory of the host, CuPy's in that of a GPU.

Code that is written for both goes through NumPy's protocols: `np.exp(x)`, `np.where(...)` give an array of the kind of
their arguments, and what has no argument yet takes `like=`. Nothing here imports CuPy before it is asked for an array
on a GPU. Numbers come back to the host in `to_host` and nowhere else.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

_KINDS: dict[type, bool] = {}  # by type: ops ask often
_BEFORE: list[Callable[[], None]] = []  # a number leaves a GPU
_AFTER: list[Callable[[], None]] = []


def watch_fetches(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Let a backend for GPUs be called before `to_host` fetches an array there, and after; either may raise."""
    _BEFORE.append(before)
    _AFTER.append(after)


def on_device(x: Any) -> bool:
    """Whether x is an array on a GPU."""
    kind = type(x)
    known = _KINDS.get(kind)
    if known is None:
        known = kind.__name__ == "ndarray" and kind.__module__.partition(".")[0] == "cupy"
        _KINDS[kind] = known
    return known


def is_array(x: Any) -> bool:
    """Whether x is an array, wherever it lies."""
    return isinstance(x, np.ndarray) or on_device(x)


def shares_memory(x: Any, others: Iterable[Any]) -> bool:
    """Whether an array shows memory of one of the others, which may be no arrays; of anything else False."""
    for other in others:
        if other is x:
            return is_array(x)
    if getattr(x, "base", None) is None:  # it has memory of its own
        return False
    return any(np.may_share_memory(x, other) for other in others if type(other) is type(x))


def device_of(x: Any) -> int | None:
    """The number of the GPU that an array lies on; None for the host."""
    return x.device.id if on_device(x) else None


def to_host(x: Any) -> np.ndarray:
    """The array itself if it is NumPy's, else a copy; waits for all that the GPU has been given to do.

    Raises:
        IndexError, RuntimeError: a kernel met an id out of range, or failed, since the last time.
        CaptureError: a CUDA graph is being captured.
    """
    if not on_device(x):
        return x
    for look in _BEFORE:
        look()
    host = x.get()
    for look in _AFTER:
        look()
    return host


def to_device(x: Any) -> Any:
    """The array itself if it lies on the GPU in use, else a copy of it there."""
    import cupy

    return cupy.asarray(x)


def zeros_on_device(shape: tuple[int, ...], dtype: Any) -> Any:
    """Zeros on the GPU in use."""
    import cupy

    return cupy.zeros(shape, dtype)


def like(values: Any, x: Any) -> Any:
    """An array of `values` (an array or numbers) where the array x lies."""
    if type(x) is np.ndarray:
        return values if type(values) is np.ndarray else np.asarray(to_host(values))
    return values if on_device(values) else to_device(values)


def as_array(x: Any) -> Any:
    """x, which NumPy gives as a number where it has no dimensions, as an array."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def add_at(target: Any, index: Any, values: Any) -> None:
    """target[index] += values in place, an element that the index names several times getting all of them.

    The sums of an element run in the order of `values`, on a GPU too, where additions at a time of their own choosing
    would make two equal calls differ.

    Args:
        target: any shape, updated.
        index: an index of target; its arrays lie where target lies.
        values: of the shape of target[index], or broadcast to it.
    """
    if not on_device(target):
        np.add.at(target, index, values)
        return
    if not values.size:
        return
    flat = target.flatten()
    places = np.arange(target.size, like=target).reshape(target.shape)[index]
    values = np.broadcast_to(values, places.shape).reshape(-1)
    places = places.reshape(-1)
    order = np.argsort(places, kind="stable")
    _, group, counts = np.unique(places, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    turns = np.arange(places.size, like=target) - starts[group.reshape(-1)[order]]
    for turn in range(int(to_host(counts.max()))):  # each names an element once at most
        chosen = order[turns == turn]
        flat[places[chosen]] += values[chosen]
    target[...] = flat.reshape(target.shape)
