"""The tape: what a recorded call leaves behind, and the walk back through it.

The walk is iterative, linear in the number of recorded calls, and in a fixed order. It counts for every node how many
recorded uses its outputs have, and visits a node when all of them have delivered their gradient. Gradients are popped
as they are used and saved arrays are dropped node by node, so memory falls while the walk goes on. Accumulation never
writes into an array that an op may still hold: the first gradient is kept as it is, the second makes a new array which
the walk owns, later ones are added in place. A row-wise gradient reaches leaves as it is; a node gets it dense.
Threads may walk at the same time, through graphs that share leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels import as_array, is_array
from minigrad.broadcasting import stretches_to, unbroadcast
from minigrad.deferred import DeferredGradient, PartGradient
from minigrad.leaves import GradientHooks, Leaf, Leaves, OnItsWay, SparseGradient, sharing, summed
from minigrad.naming import described


class Version:
    """How often the memory behind some tensors was changed in place; ``recorded`` once such a change is on the tape.

    ``exposed`` counts how often the memory was given to someone whose changes go unnoticed: ``numpy()``, ``data``.
    """

    value = exposed = 0  # of the class, since one is made for every result: most are never changed
    recorded = False


class Edge:
    """Where the gradient of a tensor goes: to output number ``output`` of ``node``, or to the leaf."""

    __slots__ = ("dtype", "leaf", "node", "output", "shape")  # made for every result: a NamedTuple takes twice as long

    def __init__(
        self, node: Node | None, output: int, leaf: Leaf | None, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self.node, self.output, self.leaf, self.shape, self.dtype = node, output, leaf, shape, dtype

    def hooks(self) -> GradientHooks:
        """Of a result: the hooks on its gradient, made if there are none."""
        assert self.node is not None
        if self.node.hooks is None:
            self.node.hooks = {}
        return self.node.hooks.setdefault(self.output, GradientHooks())

    def keeper(self) -> Any:
        """Which tensor keeps the gradient of a result, as a weak reference; None if none does."""
        hooks = self.node.hooks.get(self.output) if self.node is not None and self.node.hooks else None
        return None if hooks is None else hooks.keeper


class Node:
    """A recorded call. ``edges[i]`` belongs to positional argument i; None where no gradient is wanted."""

    __slots__ = ("__weakref__", "ctx", "edges", "function", "hooks", "num_outputs", "versions")

    def __init__(
        self, function: Any, ctx: Any, edges: list[Edge | None], num_outputs: int, versions: list[tuple[Version, int]]
    ) -> None:
        self.function = function  # the Function class whose forward was called
        self.ctx = ctx
        self.edges = edges
        self.num_outputs = num_outputs
        self.versions = versions
        self.hooks: dict[int, GradientHooks] | None = None  # by output

    def backward(self, grads: list[np.ndarray | None], release: bool) -> tuple:
        """One gradient per edge. ``release`` drops what forward saved, so memory falls while the walk goes on."""
        with sharing.held:
            ctx = self._context(release)
        result = self.function.backward(ctx, *grads)
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != len(self.edges):
            name = self.function.__name__
            raise RuntimeError(f"{name}.backward returned {len(result)} gradients for {len(self.edges)} arguments")
        return result

    def _context(self, release: bool) -> Any:
        """What forward left; ``release``: for nobody after."""
        ctx, name = self.ctx, self.function.__name__
        if ctx is None:
            raise RuntimeError(
                f"backward: the graph was freed by an earlier backward at {name}; "
                "pass retain_graph=True to the first call to go through it again"
            )
        for version, value in self.versions:
            if version.value != value:
                raise RuntimeError(
                    f"backward: a tensor that {name} saved for its gradient was changed in place afterwards; "
                    "change it before the use, or use clone()"
                )
        ctx.last_use = release
        if release:
            self.ctx, self.versions = None, []
        return ctx

    def release_edges(self) -> None:
        self.edges = [None] * len(self.edges)


Delivered = tuple[Edge, OnItsWay | None, bool]  # where to, what, and whether the walk owns it


class _Arrivals:
    """The gradients of a node's outputs as they come: of each an array, and whether the walk owns it."""

    __slots__ = ("_slots", "to_come")

    def __init__(self, node: Node) -> None:
        self._slots: list[tuple[np.ndarray, bool] | None] = [None] * node.num_outputs
        self.to_come = 0  # how many uses of the outputs have not delivered theirs

    def add(self, index: int, grad: Any, owned: bool) -> None:
        """A term of the gradient of an output: an array, or a PartGradient."""
        held = self._slots[index]
        if held is not None:
            self._slots[index] = summed(held, grad)
        elif isinstance(grad, PartGradient):
            self._slots[index] = grad.computed(), True
        else:
            self._slots[index] = grad, owned

    def complete(self, node: Node) -> list[np.ndarray | None]:
        """The gradients that backward gets, None in the place of an output that was not used."""
        slots = self._slots
        for index, hooks in (node.hooks or {}).items():
            if (slot := slots[index]) is not None:
                grad: Any = hooks.run(*slot)  # dense, as the slot was
                slots[index] = grad.copy() if hooks.functions else grad, True  # what functions saw is theirs
        if node.function.consumes_grad:
            slots = [None if slot is None else (slot[0] if slot[1] else slot[0].copy(), True) for slot in slots]
        return [None if slot is None else slot[0] for slot in slots]


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # gradients may be infinite or NaN, as in PyTorch
def walk_back(
    starts: Sequence[Edge],
    grads: Sequence[np.ndarray],
    retain_graph: bool = False,
    capture: dict[tuple[Node, int], list] | None = None,
    asked: dict[int, list] | None = None,
) -> None:
    """Walk back from outputs, given by their edges, with their gradients ``grads``; leaves accumulate.

    ``capture`` maps (node, output index) to a list that receives that gradient, ``asked`` the id of a leaf; with it no
    leaf accumulates. Raises RuntimeError where the graph has been freed or a saved array was changed.
    """
    leaves = Leaves(asked)
    arrivals = _expected(starts, leaves)
    ready: list[Node] = []

    def deliver(delivered: list[Delivered]) -> None:
        for edge, grad, owned in delivered:
            if edge.node is None:
                leaves.deliver(edge.leaf, grad, owned)
                continue
            arrived = arrivals[edge.node]
            if grad is not None:
                arrived.add(edge.output, grad, owned)
            arrived.to_come -= 1
            if not arrived.to_come:
                ready.append(edge.node)

    deliver([(edge, grad, False) for edge, grad in zip(starts, grads, strict=True)])
    while ready:
        node = ready.pop()
        deliver(_visit(node, arrivals.pop(node).complete(node), retain_graph, capture or {}))


def _visit(
    node: Node, grad_outputs: list[np.ndarray | None], retain_graph: bool, capture: dict[tuple[Node, int], list]
) -> list[Delivered]:
    """Run one node backward: for each input that wants one, its gradient and whether the walk owns that array."""
    reached = False
    for index, arrived in enumerate(grad_outputs):
        if arrived is not None:
            reached = True
            if (node, index) in capture:
                capture[node, index].append(arrived.copy())
    edges, function = node.edges, node.function
    results = node.backward(grad_outputs, release=not retain_graph) if reached else (None,) * len(edges)
    if not retain_graph:
        node.release_edges()
    delivered = []
    for edge, grad in zip(edges, results, strict=True):
        if edge is not None:
            owned = function.fresh_grads or (function.consumes_grad and any(grad is g for g in grad_outputs))
            delivered.append((edge, None if grad is None else _checked(grad, edge, node), owned))
    return delivered


def _expected(starts: Sequence[Edge], leaves: Leaves) -> dict[Node, _Arrivals]:
    """For every node that the starts lead to, how many edges lead to it; leaves count their own."""
    found: dict[Node, _Arrivals] = {}
    stack: list[Sequence[Edge | None]] = [starts]
    while stack:
        for edge in filter(None, stack.pop()):
            node = edge.node
            if node is None:
                leaves.expect(edge.leaf)
                continue
            if node not in found:
                found[node] = _Arrivals(node)
                stack.append(node.edges)
            found[node].to_come += 1
    return found


def _checked(grad: Any, edge: Edge, node: Node) -> OnItsWay:
    """A gradient of the input's shape, in its dtype; dense, or a part, if an op is to take it."""
    if type(grad) is np.ndarray and grad.shape == edge.shape and grad.dtype is edge.dtype:  # most are
        return grad
    kinds = (np.generic, SparseGradient, DeferredGradient, PartGradient)
    if type(grad) is not np.ndarray and not isinstance(grad, kinds) and not is_array(grad):
        raise TypeError(
            f"{node.function.__name__}.backward returned {described(grad)}; "
            "expected an array for each argument of forward, or None"
        )
    if grad.shape != edge.shape:
        if is_array(grad) and stretches_to(edge.shape, grad.shape):  # as of a result whose data was given a new shape
            return _checked(unbroadcast(grad, edge.shape), edge, node)
        told = f"a gradient of shape {grad.shape}; expected {edge.shape}, the shape of its input"
        raise RuntimeError(f"{node.function.__name__}.backward returned {told}")
    if isinstance(grad, DeferredGradient | PartGradient):
        if grad.dtype == edge.dtype and (edge.node is None or isinstance(grad, PartGradient)):
            return grad
        grad = grad.computed()
    if isinstance(grad, SparseGradient):
        grad = grad.astype(edge.dtype)
        return grad if edge.node is None else grad.dense_array()
    array = as_array(grad)
    return array if array.dtype == edge.dtype else array.astype(edge.dtype)
