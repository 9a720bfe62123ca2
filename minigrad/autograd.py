"""``torch.autograd``'s functions: the recording switch, backward from several tensors, gradients without ``.grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.checks import check_tensor, tensors_of
from minigrad.function import Function
from minigrad.grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from minigrad.leaves import Gradient
from minigrad.missing import for_module as _for_module
from minigrad.naming import described
from minigrad.tape import Node, walk_back
from minigrad.tensor import Tensor, accumulated

__all__ = [
    "Function", "Variable", "backward", "enable_grad", "grad", "inference_mode", "is_grad_enabled", "no_grad",
    "set_grad_enabled",
]  # fmt: skip


def Variable(data: Tensor, requires_grad: bool = False) -> Tensor:
    """The tensor itself: old programs wrap tensors in it, which has not been needed since PyTorch 0.4."""
    return data.requires_grad_() if requires_grad else data


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool = False,
) -> None:
    """Accumulate the gradients of several tensors into ``.grad`` of every leaf they were computed from."""
    tensors, seeds = _with_seeds("backward", tensors, grad_tensors)
    grads = [tensor.initial_grad(seed) for tensor, seed in zip(tensors, seeds, strict=True)]
    walk_back([tensor.edge() for tensor in tensors], grads, retain_graph)


def _with_seeds(
    user: str, tensors: Tensor | Sequence[Tensor], seeds: Tensor | Sequence[Tensor | None] | None
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Tensors and the gradients to start from, None where that is one."""
    tensors = tensors_of(user, "outputs", tensors)
    if seeds is None:
        return tensors, [None] * len(tensors)
    given = [seeds] if isinstance(seeds, Tensor) else seeds
    if not isinstance(given, list | tuple) or len(given) != len(tensors):
        raise TypeError(f"{user}: the gradients are {described(given)}; expected {len(tensors)}, one for each output")
    for position, seed in enumerate(given):
        if seed is not None:
            check_tensor(user, f"gradient {position}", seed)
    return tensors, list(given)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of ``outputs`` with respect to ``inputs`` (any recorded tensors), without touching ``.grad``.

    Each is a Tensor, a RowGradient where only ``embedding(..., sparse=True)`` used the input, or, of an input that does
    not influence the outputs, zeros with ``materialize_grads`` and None with ``allow_unused``.

    Raises RuntimeError if there is such an input and neither is True, or one that does not require a gradient;
    ValueError for no inputs, and for ``allow_unused=False`` beside ``materialize_grads``.
    """
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: allow_unused is False and materialize_grads True; expected only one of them")
    if create_graph:
        raise NotImplementedError("grad: create_graph=True is not supported; gradients are not themselves on the tape")
    outputs, seeds = _with_seeds("grad", outputs, grad_outputs)
    inputs = tensors_of("grad", "inputs", inputs)
    _check_inputs(inputs)
    capture: dict[tuple[Node, int], list] = {}
    leaves: dict[int, list] = {}
    slots = []
    for tensor in inputs:
        edge = tensor.edge()
        slots.append(
            leaves.setdefault(id(tensor), []) if edge.node is None else capture.setdefault((edge.node, edge.output), [])
        )
    arrays = [output.initial_grad(seed) for output, seed in zip(outputs, seeds, strict=True)]
    walk_back([output.edge() for output in outputs], arrays, bool(retain_graph), capture, leaves)
    results = [_total(slot) for slot in slots]
    if materialize_grads:
        for position, (tensor, result) in enumerate(zip(inputs, results, strict=True)):
            if result is None:
                results[position] = Tensor(np.zeros(tensor.shape, tensor.dtype, like=tensor.array))
    for position, result in enumerate(results):
        if result is None and not allow_unused:
            raise RuntimeError(
                f"grad: input {position} was not used to compute the outputs; pass allow_unused=True to get None"
            )
    return tuple(results)


def _check_inputs(inputs: Sequence[Tensor]) -> None:
    if not inputs:
        raise ValueError("grad: inputs is empty; expected one tensor or more")
    for position, tensor in enumerate(inputs):
        if not tensor.requires_grad:
            raise RuntimeError(f"grad: input {position} does not require grad; expected tensors that are recorded")


def _total(gradients: list[Gradient]) -> Any:
    """The sum of the gradients that arrived, with memory of its own; None if none did."""
    total = None
    for gradient in gradients:
        total = accumulated(total, gradient, False)
    return total


if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
