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
from minigrad.deferred import DeferredGradient, PartGradient
from minigrad.leaves import GradientHooks, Leaf, Leaves, OnItsWay, SparseGradient, sharing, summed
from minigrad.naming import described


class Version:
    """How often the memory behind some tensors was changed in place; ``recorded`` once such a change is on the tape.

    ``exposed`` counts how often the memory was given to someone whose changes go unnoticed: ``numpy()``, ``data``.
    """

    __slots__ = ("exposed", "recorded", "value")

    def __init__(self) -> None:
        self.value = self.exposed = 0
        self.recorded = False


class Edge:
    """Where the gradient of one input goes: output number ``output`` of ``node``, or the leaf tensor."""

    __slots__ = ("dtype", "leaf", "node", "output", "shape")  # made for every input: a NamedTuple takes twice as long

    def __init__(
        self, node: Node | None, output: int, leaf: Leaf | None, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self.node, self.output, self.leaf, self.shape, self.dtype = node, output, leaf, shape, dtype


class Node:
    """A recorded call. ``edges[i]`` belongs to positional argument i; None where no gradient is wanted."""

    __slots__ = ("__weakref__", "ctx", "edges", "function", "hooks", "num_outputs", "versions")

    def __init__(
        self,
        function: Any,
        ctx: Any,
        edges: list[Edge | None],
        num_outputs: int,
        versions: list[tuple[Version, int]],
    ) -> None:
        self.function = function  # the Function class whose forward was called
        self.ctx = ctx
        self.edges = edges
        self.num_outputs = num_outputs
        self.versions = versions
        self.hooks: dict[int, GradientHooks] | None = None  # by output

    def hooks_of(self, output: int) -> GradientHooks:
        """The hooks on the gradient of an output, made if there are none."""
        if self.hooks is None:
            self.hooks = {}
        return self.hooks.setdefault(output, GradientHooks())

    def keeper_of(self, output: int) -> Any:
        """Which tensor keeps the gradient of an output, as a weak reference; None if none does."""
        hooks = self.hooks.get(output) if self.hooks else None
        return None if hooks is None else hooks.keeper

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


class _Gradients:
    """Gradients on their way: per node one slot per output, each an array and whether the walk owns it."""

    def __init__(self) -> None:
        self._slots: dict[Node, list[tuple[np.ndarray, bool] | None]] = {}

    def add(self, node: Node, index: int, grad: np.ndarray | PartGradient, owned: bool) -> None:
        slots = self._slots.setdefault(node, [None] * node.num_outputs)
        held = slots[index]
        if held is None:
            slots[index] = (grad.computed(), True) if isinstance(grad, PartGradient) else (grad, owned)
        else:
            slots[index] = summed(held, grad)

    def pop(self, node: Node) -> list[np.ndarray | None]:
        slots = self._slots.pop(node, [None] * node.num_outputs)
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
    gradients, leaves = _Gradients(), Leaves(asked)

    def deliver(edge: Edge, grad: OnItsWay | None, owned: bool) -> None:
        if edge.node is None:
            leaves.deliver(edge.leaf, grad, owned)
        elif grad is not None:
            gradients.add(edge.node, edge.output, grad, owned)  # type: ignore[arg-type]  # see _checked

    roots = [edge.node for edge in starts if edge.node is not None]
    for edge in starts:
        leaves.expect(edge.leaf)
    waiting = _count_uses(roots, leaves)
    for edge, grad in zip(starts, grads, strict=True):
        deliver(edge, grad, False)
    ready = [node for node in dict.fromkeys(roots) if waiting[node] == 0]
    while ready:
        node = ready.pop()
        for edge, array, owned in _visit(node, gradients.pop(node), retain_graph, capture or {}):
            deliver(edge, array, owned)
            if edge.node is not None:
                waiting[edge.node] -= 1
                if waiting[edge.node] == 0:
                    ready.append(edge.node)


def _visit(
    node: Node, grad_outputs: list[np.ndarray | None], retain_graph: bool, capture: dict[tuple[Node, int], list]
) -> list[tuple[Edge, OnItsWay | None, bool]]:
    """Run one node backward: for each input that wants one, its gradient and whether the walk owns that array."""
    for index, arrived in enumerate(grad_outputs):
        if arrived is not None and (node, index) in capture:
            capture[node, index].append(arrived.copy())
    edges, function = node.edges, node.function
    if all(arrived is None for arrived in grad_outputs):
        results: tuple = (None,) * len(edges)
    else:
        results = node.backward(grad_outputs, release=not retain_graph)
    if not retain_graph:
        node.release_edges()
    delivered = []
    for edge, grad in zip(edges, results, strict=True):
        if edge is not None:
            owned = function.fresh_grads or (function.consumes_grad and any(grad is g for g in grad_outputs))
            delivered.append((edge, None if grad is None else _checked(grad, edge, node), owned))
    return delivered


def _count_uses(roots: list[Node], leaves: Leaves) -> dict[Node, int]:
    """For every node reachable from the roots, the number of edges that lead to it; leaves count their own."""
    uses: dict[Node, int] = dict.fromkeys(roots, 0)
    stack = list(uses)
    while stack:
        for edge in stack.pop().edges:
            if edge is None:
                continue
            if edge.node is None:
                leaves.expect(edge.leaf)
                continue
            if edge.node not in uses:
                uses[edge.node] = 0
                stack.append(edge.node)
            uses[edge.node] += 1
    return uses


def _checked(grad: Any, edge: Edge, node: Node) -> OnItsWay:
    """A gradient of the input's shape, in its dtype; dense, or a part, if an op is to take it."""
    kinds = (np.generic, SparseGradient, DeferredGradient, PartGradient)
    if type(grad) is not np.ndarray and not isinstance(grad, kinds) and not is_array(grad):
        raise TypeError(
            f"{node.function.__name__}.backward returned {described(grad)}; "
            "expected an array for each argument of forward, or None"
        )
    if grad.shape != edge.shape:
        raise RuntimeError(
            f"{node.function.__name__}.backward returned a gradient of shape {grad.shape}; "
            f"expected {edge.shape}, the shape of its input"
        )
    if isinstance(grad, DeferredGradient | PartGradient):
        if grad.dtype == edge.dtype and (edge.node is None or isinstance(grad, PartGradient)):
            return grad
        grad = grad.computed()
    if isinstance(grad, SparseGradient):
        grad = grad.astype(edge.dtype)
        return grad if edge.node is None else grad.dense_array()
    array = as_array(grad)
    return array if array.dtype == edge.dtype else array.astype(edge.dtype)
