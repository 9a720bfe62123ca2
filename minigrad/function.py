"""Function: one differentiable operation, and the node it leaves on the tape.

A subclass has two static methods: ``forward(ctx, *arrays)`` computes on raw arrays, ``backward(ctx, *grad_outputs)``
returns one gradient per positional argument of ``forward`` (None where there is none). ``apply`` unwraps Tensors, runs
forward, and records a Node if a gradient may be asked for. Rules that hold for every op:

- Incoming gradients are read-only, unless the class sets ``consumes_grad``.
- What backward needs goes through ``ctx.save_for_backward``: the tape then notices if it is changed in place later.
- An incoming gradient is None when that output was not used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.autograd import is_grad_enabled
from minigrad.tensor import Tensor, Version


class Context:
    """What one forward call leaves for its backward: saved arrays and any attribute the op sets."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"ctx has no attribute {name!r}; forward must set it")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def save_for_backward(self, *arrays: np.ndarray | None) -> None:
        """Keep arrays (or None in their place) for backward; read them there from ``ctx.saved``."""
        self.saved = arrays


class Edge(NamedTuple):
    """Where the gradient of one input goes: output number ``output`` of ``node``, or the leaf tensor."""

    node: Node | None
    output: int
    leaf: Tensor | None
    shape: tuple[int, ...]
    dtype: np.dtype


class Node:
    """A recorded call. ``edges[i]`` belongs to positional argument i; None where no gradient is wanted."""

    __slots__ = ("__weakref__", "ctx", "edges", "function", "num_outputs", "versions")

    def __init__(
        self, function: type[Function], ctx: Context, edges: list[Edge | None], num_outputs: int, versions: list
    ) -> None:
        self.function = function
        self.ctx: Context | None = ctx
        self.edges = edges
        self.num_outputs = num_outputs
        self.versions: list[tuple[Version, int]] = versions

    def backward(self, grads: list[np.ndarray | None], release: bool) -> tuple:
        """One gradient per edge. ``release`` drops what forward saved, so memory falls while the walk goes on."""
        ctx = self.ctx
        name = self.function.__name__
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
        if release:
            self.ctx, self.versions = None, []
        result = self.function.backward(ctx, *grads)
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != len(self.edges):
            raise RuntimeError(f"{name}.backward returned {len(result)} gradients for {len(self.edges)} arguments")
        return result

    def release_edges(self) -> None:
        self.edges = [None] * len(self.edges)


class Function:
    """Base class of all ops; see the module head."""

    view = False  # outputs may share memory with an input
    fresh_grads = False  # backward returns new arrays that nobody else holds, so they may be kept without a copy
    consumes_grad = False  # backward writes into the incoming gradient; the tape hands it a buffer of its own

    @staticmethod
    def forward(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward on the arrays of ``args`` (Tensors or constants); Tensors out, recorded where needed."""
        grad_enabled = is_grad_enabled()
        needs = tuple(grad_enabled and isinstance(a, Tensor) and a.requires_grad for a in args)
        if grad_enabled:
            for a in args:
                if isinstance(a, Tensor):
                    a.check_not_stale(cls.__name__)
        ctx = Context(needs)
        result = cls.forward(ctx, *[a.array if isinstance(a, Tensor) else a for a in args], **kwargs)
        arrays = result if isinstance(result, tuple) else (result,)
        outputs = tuple(Tensor(array) for array in arrays)
        if cls.view:
            _share_versions(args, outputs)
        if any(needs):
            _record(cls, ctx, args, outputs)
        return outputs if isinstance(result, tuple) else outputs[0]


def _share_versions(args: tuple, outputs: tuple[Tensor, ...]) -> None:
    """Views carry the version of the memory they share, so a change through one is seen by all."""
    for base in args:
        if isinstance(base, Tensor):
            for output in outputs:
                if np.may_share_memory(base.array, output.array):
                    output.become_view_of(base)


def _record(function: type[Function], ctx: Context, args: tuple, outputs: tuple[Tensor, ...]) -> None:
    tensors = [a for a in args if isinstance(a, Tensor)]
    versions = [(t.version, t.version.value) for array in ctx.saved for t in (*tensors, *outputs) if t.array is array]
    edges = [a.edge() if needed else None for a, needed in zip(args, ctx.needs_input_grad, strict=True)]
    node = Node(function, ctx, edges, len(outputs), versions)
    for index, output in enumerate(outputs):
        if output.array.dtype.kind == "f":
            output.attach(node, index)
