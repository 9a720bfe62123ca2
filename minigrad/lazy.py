"""Lazy row updates: parameters whose memory may be behind, and never is when anybody reads it.

An optimiser may postpone the update of rows that had no gradient, if it can make it later to the same bits. Until then
the parameter has updates pending: every read of ``array`` (by an op, ``numpy()``, a state dict, a copy, a save) flushes
them first. Two readers know the rows they need and flush those alone: the embedding, and the optimiser itself. Nobody
else can reach the memory: ``_raw`` is private to this file.

An array that was exposed earlier cannot be called back. So before an optimiser postpones anything it asks
``is_shared``: as long as someone holds the array, or a view of it, every row is updated at every step. That is a
question of references, which Python counts. A count of exposures (``Version.exposed``) would not do: it never goes down
again, and after the first state dict no update would be lazy any more.

By the same door a parameter may be without its memory (``store``): what it was made of in fewer bits waits until
somebody reads it. ``numbers_of`` is for readers that make something else of the numbers, such as panels, and let go of
them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

import kernels
from minigrad.device import device, device_of, use
from minigrad.tape import Edge
from minigrad.tensor import Tensor


class PendingUpdates(Protocol):
    """What an optimiser has postponed for a parameter and its moments."""

    def flush_for(self, tensor: Any) -> None:
        """Update every row: ``tensor``, the parameter or a moment, is about to be read or replaced."""

    def flush_rows(self, ids: np.ndarray) -> None:
        """Update the rows ``ids`` (integers of any shape, not checked)."""


class LazyParameter(Tensor):
    """A parameter, or a moment that an optimiser keeps of one, that is up to date when ``array`` is read.

    Attributes:
        pending: updates that are still to be made, None if there are none.
    """

    __slots__ = ("_raw", "pending")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.pending: PendingUpdates | None = None
        super().__init__(data, requires_grad=requires_grad)

    @property
    def array(self) -> np.ndarray:
        if (pending := self.pending) is not None:  # read once, here and below: another thread may flush meanwhile
            pending.flush_for(self)
        return self._raw

    @array.setter
    def array(self, value: np.ndarray) -> None:
        if (pending := self.pending) is not None:
            pending.flush_for(self)
        self._raw = value

    def array_with_rows(self, ids: np.ndarray) -> np.ndarray:
        """The memory, of which only the rows ``ids`` are sure to be up to date; for reading those."""
        if (pending := self.pending) is not None:
            pending.flush_rows(ids)
        return self._raw

    def store(self, restore: Callable[[], np.ndarray]) -> None:
        """Let go of the memory; ``restore`` makes it, in this shape and dtype, for whoever reads it."""
        shape, dtype = self._raw.shape, self._raw.dtype
        self.pending = _Stored(self, restore)
        self._raw = np.broadcast_to(dtype.type(0), shape)

    def raw_array(self) -> np.ndarray:
        """The memory as it is; for the optimiser."""
        return self._raw

    def is_shared(self) -> bool:
        """Whether anybody else holds the array or a view of it, or it is itself a view of something."""
        return sys.getrefcount(self._raw) > _ALONE or not self._raw.flags.owndata

    # What does not depend on the values is known without a flush.
    @property
    def shape(self) -> tuple[int, ...]:
        return self._raw.shape

    @property
    def dtype(self) -> np.dtype:
        return self._raw.dtype

    @property
    def ndim(self) -> int:
        return self._raw.ndim

    @property
    def device(self) -> device:
        return device_of(self._raw)

    @property
    def is_cuda(self) -> bool:
        return use.started and kernels.on_device(self._raw)

    def dim(self) -> int:
        return self._raw.ndim

    def numel(self) -> int:
        return self._raw.size

    nelement = numel

    def element_size(self) -> int:
        return self._raw.itemsize

    def is_contiguous(self) -> bool:
        return self._raw.flags.c_contiguous

    def edge(self) -> Edge:
        if self._edge is not None:
            return self._edge
        return Edge(None, 0, self if self.requires_grad else None, self._raw.shape, self._raw.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyParameter:
        copied = LazyParameter(self.array.copy(), self.requires_grad)
        memo[id(self)] = copied
        return copied


class _Stored:
    """The pending update of a parameter without its memory: to get it, for good, so that threads may read at a time."""

    def __init__(self, tensor: LazyParameter, restore: Callable[[], np.ndarray]) -> None:
        self._tensor, self.restore = tensor, restore

    def flush_for(self, tensor: LazyParameter) -> None:
        tensor._raw = self.restore()
        tensor.pending = None

    def flush_rows(self, ids: np.ndarray) -> None:
        self.flush_for(self._tensor)


def numbers_of(tensor: Tensor) -> np.ndarray:
    """``tensor.array``, to be read and let go of: of a parameter without memory, memory that it does not keep."""
    pending = tensor.pending if isinstance(tensor, LazyParameter) else None
    return pending.restore() if isinstance(pending, _Stored) else tensor.array


def _references_of_one_holder() -> int:
    """What ``is_shared`` counts where the tensor's slot is the only reference: that one and the call's own."""
    tensor = LazyParameter(np.zeros(1))
    return sys.getrefcount(tensor._raw)


_ALONE = _references_of_one_holder()
