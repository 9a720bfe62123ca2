"""Methods of a Tensor that have to do with its gradient on the way back: ``register_hook``, ``retain_grad``.

Contract: PyTorch's. A hook is called in every backward that reaches the tensor, once, with the sum of what its uses
give; for a leaf that is what this backward adds to ``.grad``. A hook belongs to the value that the tensor had when it
was registered: a change in place afterwards makes another one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from minigrad.hooks import RemovableHandle, check_hook, name_of
from minigrad.leaves import Gradient, GradientHooks, SparseGradient
from minigrad.naming import described
from minigrad.ops.op import method
from minigrad.tensor import Tensor


@method
def register_hook(x: Tensor, hook: Any) -> RemovableHandle:
    """Have ``hook(grad)`` called when a backward has the gradient of ``x`` complete.

    Args:
        x: a tensor that requires a gradient.
        hook: is given the gradient, of the shape and dtype of ``x`` (a RowGradient where ``embedding(...,
            sparse=True)`` alone used a leaf). It returns None, or what goes on in its place.

    Returns:
        The handle that removes the hook.

    Raises:
        RuntimeError: ``x`` requires no gradient. TypeError: ``hook`` is no function.
        In the backward TypeError or RuntimeError for what a hook returned.
    """
    check_hook("register_hook", hook)
    if not x.requires_grad:
        raise RuntimeError("register_hook: the tensor requires no gradient; expected requires_grad=True")
    return _hooks_of(x).functions.add(_on_arrays(hook))


@method
def retain_grad(x: Tensor) -> None:
    """Keep the gradient of ``x``, the result of an operation, in ``x.grad``, as that of a leaf is; hooks come before.

    Raises:
        RuntimeError: ``x`` requires no gradient.
    """
    if not x.requires_grad:
        raise RuntimeError("retain_grad: the tensor requires no gradient; expected requires_grad=True")
    if not x.is_leaf:
        _hooks_of(x).keeper = weakref.ref(x)


def _hooks_of(x: Tensor) -> GradientHooks:
    edge = x.edge()
    if edge.node is not None:
        return edge.hooks()
    if x.hooks is None:
        x.hooks = GradientHooks()
    return x.hooks


def _on_arrays(hook: Callable[[Any], Any]) -> Callable[[Gradient], Gradient]:
    """The hook as the tape calls it."""

    def call(grad: Gradient) -> Gradient:
        result = hook(grad if isinstance(grad, SparseGradient) else Tensor(grad))
        return grad if result is None else _replacement(hook, result, grad)

    return call


def _replacement(hook: Callable[[Any], Any], result: Any, grad: Gradient) -> Gradient:
    """What goes on in the place of a gradient."""
    if not isinstance(result, Tensor | SparseGradient):
        raise TypeError(f"register_hook: {name_of(hook)} returned {described(result)}; expected a tensor or None")
    if tuple(result.shape) != tuple(grad.shape):
        raise RuntimeError(
            f"register_hook: {name_of(hook)} returned a gradient of shape {tuple(result.shape)}; "
            f"expected {tuple(grad.shape)}"
        )
    array = result if isinstance(result, SparseGradient) else result.array
    return array if array.dtype == grad.dtype else array.astype(grad.dtype)
