"""Reverse-mode differentiation over the tape: iterative, linear in the number of recorded calls, in a fixed order.

The walk counts for every node how many recorded uses its outputs have, and visits a node when all of them have
delivered their gradient. Gradients are popped as they are used and saved arrays are dropped node by node, so memory
falls while the walk goes on. Accumulation never writes into an array that an op may still hold: the first gradient is
kept as it is, the second makes a new array which the walk owns, later ones are added in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minigrad.function import Edge, Node
    from minigrad.tensor import Tensor

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


class _Gradients:
    """Gradients on their way: per node one slot per output, each an array and whether the walk owns it."""

    def __init__(self) -> None:
        self._slots: dict[Node, list[tuple[np.ndarray, bool] | None]] = {}

    def add(self, node: Node, index: int, grad: np.ndarray, owned: bool) -> None:
        slots = self._slots.setdefault(node, [None] * node.num_outputs)
        slots[index] = (grad, owned) if (held := slots[index]) is None else _accumulate(held, grad)

    def pop(self, node: Node) -> list[np.ndarray | None]:
        slots = self._slots.pop(node, [None] * node.num_outputs)
        if node.function.consumes_grad:
            slots = [None if slot is None else (slot[0] if slot[1] else slot[0].copy(), True) for slot in slots]
        return [None if slot is None else slot[0] for slot in slots]


def _accumulate(held: tuple[np.ndarray, bool], grad: np.ndarray) -> tuple[np.ndarray, bool]:
    array, owned = held
    if owned and array.ndim:
        np.add(array, grad, out=array)
        return array, True
    return np.asarray(array + grad), True


def backward(
    tensors: Sequence[Tensor],
    grads: Sequence[np.ndarray],
    retain_graph: bool = False,
    capture: dict[tuple[Node, int], list] | None = None,
    on_leaf: Callable[[Tensor, np.ndarray, bool], None] | None = None,
) -> None:
    """Walk back from ``tensors`` with their gradients ``grads``; leaves accumulate into ``.grad``.

    ``capture`` maps (node, output index) to a list that receives that gradient; ``on_leaf`` replaces accumulation.
    Raises RuntimeError where a tensor is not on the tape or the graph has been freed.
    """
    deliver_leaf = on_leaf or accumulate_leaf
    gradients = _Gradients()
    roots: list[Node] = []
    for tensor, grad in zip(tensors, grads, strict=True):
        edge = tensor.edge()
        if edge.leaf is not None:
            deliver_leaf(edge.leaf, grad, False)
        elif edge.node is not None:
            gradients.add(edge.node, edge.output, grad, False)
            roots.append(edge.node)
    waiting = _count_uses(roots)
    ready = [node for node in dict.fromkeys(roots) if waiting[node] == 0]
    while ready:
        node = ready.pop()
        for edge, array, owned in _visit(node, gradients.pop(node), retain_graph, capture or {}):
            if array is not None and edge.leaf is not None:
                deliver_leaf(edge.leaf, array, owned)
            elif array is not None and edge.node is not None:
                gradients.add(edge.node, edge.output, array, owned)
            if edge.node is not None:
                waiting[edge.node] -= 1
                if waiting[edge.node] == 0:
                    ready.append(edge.node)


def _visit(
    node: Node, grad_outputs: list[np.ndarray | None], retain_graph: bool, capture: dict[tuple[Node, int], list]
) -> list[tuple[Edge, np.ndarray | None, bool]]:
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


def _count_uses(roots: list[Node]) -> dict[Node, int]:
    """For every node reachable from the roots, the number of edges that lead to it."""
    uses: dict[Node, int] = dict.fromkeys(roots, 0)
    stack = list(uses)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge.node is not None:
                if edge.node not in uses:
                    uses[edge.node] = 0
                    stack.append(edge.node)
                uses[edge.node] += 1
    return uses


def _checked(grad: np.ndarray, edge: Edge, node: Node) -> np.ndarray:
    if grad.shape != edge.shape:
        raise RuntimeError(
            f"{node.function.__name__}.backward returned a gradient of shape {grad.shape}; "
            f"expected {edge.shape}, the shape of its input"
        )
    return np.asarray(grad, edge.dtype)


def accumulate_leaf(leaf: Tensor, grad: np.ndarray, owned: bool) -> None:
    """``leaf.grad += grad``; the first gradient is kept without a copy if nobody else holds it."""
    from minigrad.tensor import Tensor

    if leaf.grad is None:
        leaf.grad = Tensor(grad if owned and grad.flags.c_contiguous else grad.copy())
    else:
        leaf.grad.array += grad


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` with respect to ``inputs`` (any recorded tensors), without touching ``.grad``.

    Raises RuntimeError if an input does not influence the outputs and ``allow_unused`` is False.
    """
    from minigrad.tensor import Tensor

    if create_graph:
        raise NotImplementedError("grad: create_graph=True is not supported; gradients are not themselves on the tape")
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs or [None] * len(outputs))
    capture: dict[tuple[Node, int], list] = {}
    leaves: dict[int, list] = {}
    slots = []
    for tensor in inputs:
        edge = tensor.edge()
        slots.append(
            leaves.setdefault(id(tensor), []) if edge.node is None else capture.setdefault((edge.node, edge.output), [])
        )
    arrays = [output.initial_grad(seed) for output, seed in zip(outputs, seeds, strict=True)]

    def deliver(leaf: Tensor, array: np.ndarray, owned: bool) -> None:
        if id(leaf) in leaves:
            leaves[id(leaf)].append(array)

    backward(outputs, arrays, bool(retain_graph), capture, deliver)
    results = [Tensor(sum(slot[1:], slot[0].copy())) if slot else None for slot in slots]
    for position, result in enumerate(results):
        if result is None and not allow_unused:
            raise RuntimeError(
                f"grad: input {position} was not used to compute the outputs; pass allow_unused=True to get None"
            )
    return tuple(results)
