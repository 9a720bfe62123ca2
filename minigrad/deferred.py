"""Tensors whose memory may lag behind, and never does when anybody looks.

An optimiser may put off the update of rows that had no gradient, if it can do it later to the same bits. It then owns
the tensor until it has caught up: every read of ``array`` (by an op, ``numpy()``, a state dict, a copy, a save) first
has the owner settle all of it. Two readers know the rows they need and ask for those alone: the embedding, and the
owner itself. Nobody else can reach the memory: ``_held`` is private to this file and its owners.

What was handed out earlier cannot be called back. So before an owner puts anything off it asks ``is_shared``: as long
as someone holds the array, or a view of it, the memory is kept up to date at every step.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np

import kernels
from minigrad.device import device, device_of, use
from minigrad.tape import Edge
from minigrad.tensor import Tensor


class Owner(Protocol):
    """Who has put off updates of a tensor's memory."""

    def settle_for(self, tensor: Tensor) -> None:
        """Catch up with all of it: ``tensor`` is about to be read or replaced."""

    def settle_rows(self, ids: np.ndarray) -> None:
        """Catch up with the rows ``ids`` (integers of any shape, not checked)."""


class Deferred(Tensor):
    """A tensor whose ``array`` is brought up to date when it is read. See the head of this file.

    Attributes:
        owner: who has put off updates of it, None if it is up to date.
    """

    __slots__ = ("_held", "owner")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.owner: Owner | None = None
        super().__init__(data, requires_grad=requires_grad)

    @property
    def array(self) -> np.ndarray:
        if (owner := self.owner) is not None:  # read once, here and below: another thread may settle it meanwhile
            owner.settle_for(self)
        return self._held

    @array.setter
    def array(self, value: np.ndarray) -> None:
        if (owner := self.owner) is not None:
            owner.settle_for(self)
        self._held = value

    def array_with_rows(self, ids: np.ndarray) -> np.ndarray:
        """The memory, of which only the rows ``ids`` are sure to be up to date; for reading those."""
        if (owner := self.owner) is not None:
            owner.settle_rows(ids)
        return self._held

    def lagging_array(self) -> np.ndarray:
        """The memory as it is; for the owner."""
        return self._held

    def is_shared(self) -> bool:
        """Whether anybody else holds the array or a view of it, or it is itself a view of something."""
        return sys.getrefcount(self._held) > _ALONE or not self._held.flags.owndata

    # What does not depend on the values is known without catching up.
    @property
    def shape(self) -> tuple[int, ...]:
        return self._held.shape

    @property
    def dtype(self) -> np.dtype:
        return self._held.dtype

    @property
    def ndim(self) -> int:
        return self._held.ndim

    @property
    def device(self) -> device:
        return device_of(self._held)

    @property
    def is_cuda(self) -> bool:
        return use.started and kernels.on_device(self._held)

    def dim(self) -> int:
        return self._held.ndim

    def numel(self) -> int:
        return self._held.size

    nelement = numel

    def element_size(self) -> int:
        return self._held.itemsize

    def is_contiguous(self) -> bool:
        return self._held.flags.c_contiguous

    def edge(self) -> Edge:
        leaf = self if self._node is None and self.requires_grad else None
        return Edge(self._node, self._index, leaf, self._held.shape, self._held.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Deferred:
        copied = Deferred(self.array.copy(), self.requires_grad)
        memo[id(self)] = copied
        return copied


def _references_of_one_holder() -> int:
    """What ``is_shared`` counts where the tensor's slot is the only reference: that one and the call's own."""
    tensor = Deferred(np.zeros(1))
    return sys.getrefcount(tensor._held)


_ALONE = _references_of_one_holder()
