"""Gradients on their way and at their end: dense or row-wise, added up, seen by hooks, kept by leaves.

Accumulation never writes into an array that somebody else may hold: a gradient comes with the word whether it is owned.
Threads may walk at the same time, through graphs that share leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np

from kernels import ProcessLock, as_array
from minigrad.deferred import DeferredGradient, PartGradient
from minigrad.hooks import Hooks

sharing = ProcessLock()  # what walks of several threads may meet at: a leaf's gradient, a node's context


class SparseGradient:
    """A gradient that lists only some rows, as the tape and its leaves know it: ``minigrad.rows.RowGradient``."""

    __slots__ = ()
    is_sparse = True
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        raise NotImplementedError

    def astype(self, dtype: Any) -> Self:
        """Itself if it has that dtype, else converted."""
        raise NotImplementedError

    def clone(self) -> Self:
        """A copy with memory of its own."""
        raise NotImplementedError

    def dense_array(self) -> np.ndarray:
        """All rows, memory of its own."""
        raise NotImplementedError

    def append(self, other: Any, owned: bool) -> None:
        """self += other, of its class; ``owned``: nobody else holds the arrays of ``other``."""
        raise NotImplementedError

    def add_to(self, dense: np.ndarray) -> None:
        """dense += self, in place."""
        raise NotImplementedError


Gradient = np.ndarray | SparseGradient
OnItsWay = Gradient | DeferredGradient | PartGradient


class Leaf(Protocol):
    """What the tape knows of a tensor that the user made."""

    hooks: GradientHooks | None

    def accumulate_grad(self, grad: Gradient | PartGradient, owned: bool) -> None:
        """Add to its gradient; ``owned``: nobody else holds the array."""


class GradientHooks:
    """What is done with the gradient of one tensor when it is complete: functions change it, then the tensor keeps it.

    Attributes:
        functions: each takes the gradient and returns it, or another one of its shape and dtype.
        keeper: a weak reference to the tensor, if its ``.grad`` is wanted although it is no leaf.
    """

    def __init__(self) -> None:
        self.functions = Hooks()
        self.keeper: Callable[[], Leaf | None] | None = None

    def run(self, grad: Gradient, owned: bool) -> Gradient:
        """The gradient to go on with. The functions may keep what they see, or change it: nobody else holds it."""
        grad = grad if owned else _copied(grad)
        for function in self.functions:
            grad = function(grad)
        tensor = None if self.keeper is None else self.keeper()
        if tensor is not None:
            with sharing.held:
                tensor.accumulate_grad(grad, False)
        return grad


def _copied(grad: Gradient) -> Gradient:
    return grad.clone() if isinstance(grad, SparseGradient) else grad.copy()


class Leaves:
    """Where gradients of leaves go: added to ``.grad`` or, of leaves that are asked for by id, into a list each.

    Deferred terms of a leaf wait for each other. Its hooks see what a walk gives it once, so with hooks all its terms
    are added up until the last one has come.
    """

    def __init__(self, asked: dict[int, list] | None) -> None:
        self._asked = asked
        self._to_come: dict[int, int] = {}  # by the id of a leaf, which an edge yet to come holds
        self._waiting: dict[int, DeferredGradient] = {}
        self._terms: dict[int, tuple[Gradient, bool]] = {}

    def expect(self, leaf: Leaf | None) -> None:
        """Count a term that will come, or None in its place."""
        if leaf is not None:
            self._to_come[id(leaf)] = self._to_come.get(id(leaf), 0) + 1

    def deliver(self, leaf: Leaf | None, grad: OnItsWay | None, owned: bool) -> None:
        """Take a term that was expected; ``owned``: nobody else holds its array."""
        if leaf is None or not (self._asked is None or id(leaf) in self._asked):
            return
        key = id(leaf)
        self._to_come[key] -= 1
        last = not self._to_come[key]
        if (waiting := self._waiting.pop(key, None)) is not None:
            if isinstance(grad, DeferredGradient) and waiting.append(grad):
                grad = waiting
            else:
                self._take(leaf, waiting.computed(), True)
        if isinstance(grad, DeferredGradient):
            if not last and grad.may_wait:
                self._waiting[key] = grad
                return
            grad, owned = grad.computed(), True
        if grad is not None:
            self._take(leaf, grad, owned)
        if last and key in self._terms:
            assert leaf.hooks is not None
            self._hand_over(leaf, leaf.hooks.run(*self._terms.pop(key)), False)

    def _take(self, leaf: Leaf, grad: Gradient | PartGradient, owned: bool) -> None:
        """Keep a term for the hooks, or hand it over where there are none."""
        if leaf.hooks is None:
            self._hand_over(leaf, grad, owned)
            return
        key, term = id(leaf), (grad.computed(), True) if isinstance(grad, PartGradient) else (grad, owned)
        self._terms[key] = _joined(self._terms[key], term[0]) if key in self._terms else term

    def _hand_over(self, leaf: Leaf, grad: Gradient | PartGradient, owned: bool) -> None:
        if self._asked is None:
            with sharing.held:  # or a sum of two threads would lose one
                leaf.accumulate_grad(grad, owned)
        else:
            self._asked[id(leaf)].append(grad.computed() if isinstance(grad, PartGradient) else grad)


def _joined(held: tuple[Gradient, bool], grad: Gradient) -> tuple[Gradient, bool]:
    """The sum of what is held, and whether it is owned, and a further term; row-wise only if both are."""
    total, owned = held
    if not isinstance(total, SparseGradient) and not isinstance(grad, SparseGradient):
        return summed((total, owned), grad)
    if isinstance(total, SparseGradient) and isinstance(grad, SparseGradient):
        total = total if owned else total.clone()
        total.append(grad, False)
        return total, True
    rows, dense = (total, grad) if isinstance(total, SparseGradient) else (grad, total)
    assert isinstance(rows, SparseGradient)
    total_of_both = dense.copy()  # type: ignore[union-attr]
    rows.add_to(total_of_both)
    return total_of_both, True


def summed(held: tuple[np.ndarray, bool], grad: np.ndarray | PartGradient) -> tuple[np.ndarray, bool]:
    """The sum, which the caller owns: the array that is held, if it is owned."""
    array, owned = held
    if isinstance(grad, PartGradient):
        array = array if owned and array.ndim else as_array(array).copy()
        grad.add_to(array)
        return array, True
    if owned and array.ndim:
        np.add(array, grad, out=array)
        return array, True
    return as_array(array + grad), True
