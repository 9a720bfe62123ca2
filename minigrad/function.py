"""Function: one differentiable operation, and the node it leaves on the tape.

A subclass has two static methods: ``forward(ctx, *arrays)`` computes on raw arrays, ``backward(ctx, *grad_outputs)``
returns one gradient per positional argument of ``forward`` (None where there is none). ``apply`` unwraps Tensors, runs
forward, and records a Node if a gradient may be asked for. Rules that hold for every op:

- Incoming gradients are read-only, unless the class sets ``consumes_grad``.
- What backward needs goes through ``ctx.save_for_backward``: the tape then notices if it is changed in place later.
- An incoming gradient is None when that output was not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import kernels
from minigrad.device import device_of, together, use
from minigrad.grad_mode import is_grad_enabled
from minigrad.results import as_tensor, as_tensors, holders
from minigrad.tape import Edge, Node, Version
from minigrad.tensor import Tensor, View


class Context:
    """What one forward call leaves for its backward: saved arrays and any attribute the op sets.

    Attributes:
        needs_input_grad: for each argument of forward, whether its gradient may be asked for.
        last_use: set for backward: what is kept here will not be needed again, so it may be overwritten.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.last_use = False

    def __getattr__(self, name: str) -> Any:
        if name == "saved":  # which ``save_for_backward`` sets
            raise RuntimeError("backward: forward saved no arrays; it has to call ctx.save_for_backward(...)")
        if name == "saved_tensors":
            raise AttributeError("ctx has no attribute 'saved_tensors'; what forward saved are arrays, in ctx.saved")
        raise AttributeError(f"ctx has no attribute {name!r}; forward must set it")

    if TYPE_CHECKING:  # ops set what they like
        saved: tuple[Any, ...]

        def __setattr__(self, name: str, value: Any) -> None: ...

    def save_for_backward(self, *arrays: np.ndarray | None) -> None:
        """Keep arrays (or None in their place) for backward; read them there from ``ctx.saved``."""
        self.saved = arrays


class Function:
    """Base class of all ops; see the module head."""

    view = False  # the output may share memory with the first argument; see put_back
    in_place = False  # the output is the first argument, written over
    fresh_grads = False  # backward returns new arrays that nobody else holds, so they may be kept without a copy
    consumes_grad = False  # backward writes into the incoming gradient; the tape hands it a buffer of its own

    @staticmethod
    def forward(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, *arrays)")

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, *grad_outputs)")

    @staticmethod
    def put_back(base: Tensor, changed: Tensor, *constants: Any) -> None:
        """For views: assign ``changed``, the new content of the view, to where it lies in ``base``, on the tape."""
        raise NotImplementedError

    @classmethod
    def unwrap(cls, args: tuple) -> list:
        """The arguments as ``forward`` gets them: Tensors as their arrays."""
        return [a.array if isinstance(a, Tensor) else a for a in args]

    @classmethod
    def _on_one_device(cls, args: tuple) -> tuple:
        """Beside arguments on a GPU those of the host without dimensions as numbers or, for their gradient, moved."""
        arrays = [a.array if isinstance(a, Tensor) else None for a in args]
        common = together(cls.__name__, arrays)
        if common is arrays:
            return args
        where = next(device_of(array) for array in arrays if kernels.on_device(array))
        return tuple(
            a if found is array else a.to(device=where) if a.requires_grad else found
            for a, array, found in zip(args, arrays, common, strict=True)
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward on the arrays of ``args`` (Tensors or constants); Tensors out, recorded where needed."""
        recording = is_grad_enabled()
        edges = _edges(cls, args, recording)
        if use.started and (moved := cls._on_one_device(args)) is not args:
            args, edges = moved, _edges(cls, moved, recording)
        ctx = Context(tuple([edge is not None for edge in edges]))
        arrays = cls.unwrap(args)
        result = cls.forward(ctx, *arrays, **kwargs)
        several = isinstance(result, tuple)
        others = () if cls.view or cls.in_place else [*arrays, *kwargs.values()] if kwargs else arrays
        outputs = as_tensors(cls, result, others) if several else (as_tensor(cls, result, others),)
        if cls.view and np.may_share_memory(args[0].array, outputs[0].array):
            outputs[0].become_view(View(args[0], cls, args[1:]))
        if True in ctx.needs_input_grad:
            _record(cls, ctx, args, edges, outputs)
        return outputs if several else outputs[0]


def _edges(function: type[Function], args: tuple, recording: bool) -> list[Edge | None]:
    """Where the gradient of each argument goes, None where none is wanted; a view that is out of date is refused."""
    edges = []
    for a in args:
        if recording and isinstance(a, Tensor):
            if a._view is not None:  # most are none, and the call would cost as much as the rest
                a.check_not_stale(function.__name__)
            edges.append((a._edge or a.edge()) if a.requires_grad else None)
        else:
            edges.append(None)
    return edges


def _record(
    function: type[Function], ctx: Context, args: tuple, edges: list[Edge | None], outputs: tuple[Tensor, ...]
) -> None:
    versions: list[tuple[Version, int]] = []
    if saved := ctx.__dict__.get("saved"):
        versions = [(t.version, t.version.value) for t in holders((*args, *outputs), saved)]
    node = Node(function, ctx, edges, len(outputs), versions)
    for index, output in enumerate(outputs):
        if output.array.dtype.kind == "f":
            output.attach(node, index)
