"""Hooks of modules: functions called before and after ``forward``, and when the gradients of a call are known.

Contract: PyTorch's names, arguments and order. They run where a module is called; code that reads the weights of a
module and does not call it (a compiled search, ``F.linear_cross_entropy``) passes them by.

Backward hooks stand where the tensors of a call enter and leave it: these pass through a Function that copies them,
and whose backward shows the gradients to the hooks. So a module that changes its input in place changes the copy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.function import Context, Function
from minigrad.grad_mode import is_grad_enabled
from minigrad.hooks import Hooks, RemovableHandle, check_hook, name_of
from minigrad.naming import described
from minigrad.tensor import Tensor

Gradients = tuple[Tensor | None, ...]


class ModuleHooks:
    """The hooks of one module. Those around forward are kept with their options."""

    def __init__(self) -> None:
        self.before, self.after = Hooks(), Hooks()
        self.backward_before, self.backward = Hooks(), Hooks()

    def call(self, module: Any, inputs: tuple, keywords: dict[str, Any]) -> Any:
        """``module.forward`` with everything around it."""
        called: set[int] = set()
        try:
            return self._call(module, inputs, keywords, called)
        except Exception:
            for hook, with_kwargs, always in self.after:
                if always and id(hook) not in called:
                    hook(module, inputs, *([keywords] if with_kwargs else []), None)
            raise

    def _call(self, module: Any, inputs: tuple, keywords: dict[str, Any], called: set[int]) -> Any:
        for hook, with_kwargs in self.before:
            inputs, keywords = _before(module, hook, with_kwargs, inputs, keywords)
        passage = _Passage(module, self) if self.backward or self.backward_before else None
        if passage:
            inputs = passage.enter(inputs)
        output = module.forward(*inputs, **keywords)
        for hook, with_kwargs, _ in self.after:
            called.add(id(hook))
            changed = hook(module, inputs, *([keywords] if with_kwargs else []), output)
            output = output if changed is None else changed
        return passage.leave(output) if passage else output


def _before(
    module: Any, hook: Callable, with_kwargs: bool, inputs: tuple, keywords: dict[str, Any]
) -> tuple[tuple, dict[str, Any]]:
    """What forward is given after a hook before it."""
    if not with_kwargs:
        changed = hook(module, inputs)
        return inputs if changed is None else changed if isinstance(changed, tuple) else (changed,), keywords
    changed = hook(module, inputs, keywords)
    if changed is None:
        return inputs, keywords
    if not isinstance(changed, tuple) or len(changed) != 2:
        raise RuntimeError(
            f"register_forward_pre_hook: {name_of(hook)} returned {described(changed)}; "
            "expected None or a tuple of the arguments and the keyword arguments"
        )
    return changed


class _Border(Function):
    """y = x for each of some tensors; backward gives what ``arrived`` makes of their gradients"""

    @staticmethod
    def forward(ctx: Context, arrived: Callable[[tuple], tuple], *arrays: np.ndarray) -> tuple:
        ctx.arrived = arrived
        return tuple(array.copy() for array in arrays)

    @staticmethod
    def backward(ctx: Context, *grads: Any) -> tuple:
        return (None, *ctx.arrived(grads))


class _Side:
    """One side of a call, its inputs or its outputs, whose gradients are to be looked at.

    Args:
        arrived: what is to be done with the gradients of all values of this side.
        filled: whether Tensors without a gradient have zeros for one, or None as everything else.
    """

    def __init__(self, arrived: Callable[[Gradients], Gradients], filled: bool) -> None:
        self._arrived, self._filled = arrived, filled
        self._crossing: list[int] = []
        self._tensors: list[tuple[tuple[int, ...], np.dtype] | None] = []  # of a Tensor, its shape and dtype

    def cross(self, values: tuple) -> tuple:
        """The values, of which Tensors that require a gradient have passed through a border."""
        self._tensors = [(value.shape, value.dtype) if isinstance(value, Tensor) else None for value in values]
        wanted = [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]
        if not wanted or not is_grad_enabled():
            return values
        self._crossing = wanted
        passed = dict(zip(wanted, _Border.apply(self._on_arrays, *(values[i] for i in wanted)), strict=True))
        listed = [passed.get(i, value) for i, value in enumerate(values)]
        return type(values)(*listed) if hasattr(values, "_fields") else tuple(listed)

    @property
    def is_open(self) -> bool:
        """Whether any gradient will come here."""
        return bool(self._crossing)

    def none(self) -> Gradients:
        """No gradients."""
        return (None,) * len(self._tensors)

    def _on_arrays(self, grads: tuple) -> tuple:
        """Gradients as the tape has them to those for the tape."""
        arrays = dict(zip(self._crossing, grads, strict=True))
        some = next(grad for grad in grads if grad is not None)
        tensors: list[Tensor | None] = []
        for i, known in enumerate(self._tensors):
            array = arrays.get(i)
            if array is not None:
                tensors.append(Tensor(array.copy()))
            elif known is not None and self._filled:
                tensors.append(Tensor(np.zeros(*known, like=some)))
            else:
                tensors.append(None)
        result = self._arrived(tuple(tensors))  # which hooks have seen, and may write into at any time
        return tuple(None if (grad := result[i]) is None else grad.array.copy() for i in self._crossing)


class _Passage:
    """One call of a module that has backward hooks."""

    def __init__(self, module: Any, hooks: ModuleHooks) -> None:
        self._module, self._hooks = module, hooks
        self._inputs, self._outputs = _Side(self._at_inputs, True), _Side(self._at_outputs, False)
        self._grad_output: Gradients | None = None

    def enter(self, inputs: tuple) -> tuple:
        return self._inputs.cross(inputs)

    def leave(self, output: Any) -> Any:
        if isinstance(output, tuple):
            return self._outputs.cross(output)
        if isinstance(output, Tensor):
            return self._outputs.cross((output,))[0]
        warnings.warn(
            f"{type(self._module).__name__}: backward hooks are not called: forward returned {described(output)}; "
            "expected a tensor or a tuple of tensors",
            stacklevel=4,
        )
        return output

    def _at_outputs(self, grad_output: Gradients) -> Gradients:
        for hook in self._hooks.backward_before:
            changed = hook(self._module, grad_output)
            grad_output = _gradients("register_full_backward_pre_hook", hook, changed, grad_output)
        self._grad_output = grad_output
        if not self._inputs.is_open:
            self._at_inputs(self._inputs.none())
        return grad_output

    def _at_inputs(self, grad_input: Gradients) -> Gradients:
        grad_output, self._grad_output = self._grad_output, None
        if grad_output is None:  # the input's gradient has come past the output
            return grad_input
        for hook in self._hooks.backward:
            changed = hook(self._module, grad_input, grad_output)
            grad_input = _gradients("register_full_backward_hook", hook, changed, grad_input)
        return grad_input


def _gradients(owner: str, hook: Callable, changed: Any, grads: Gradients) -> Gradients:
    """What a hook made of gradients, one for each, of the same shapes; TypeError or RuntimeError for anything else."""
    if changed is None:
        return grads
    listed = changed if isinstance(changed, tuple | list) else (changed,)
    if len(listed) != len(grads):
        raise RuntimeError(f"{owner}: {name_of(hook)} returned {len(listed)} gradients; expected {len(grads)}")
    for position, (new, old) in enumerate(zip(listed, grads, strict=True)):
        if new is not None and (not isinstance(new, Tensor) or old is None):
            expected = "None, for there is no such gradient" if old is None else "a tensor or None"
            raise TypeError(
                f"{owner}: gradient {position} that {name_of(hook)} returned is {described(new)}; expected {expected}"
            )
        if new is not None and old is not None and new.shape != old.shape:
            raise RuntimeError(
                f"{owner}: gradient {position} that {name_of(hook)} returned has shape {new.shape}; "
                f"expected {old.shape}"
            )
    return tuple(listed)


class Hooked:
    """What calls ``forward``, and the hooks around it. The base class of ``Module``."""

    forward: Callable[..., Any]
    _module_hooks: ModuleHooks | None = None  # none yet: a call is forward alone

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run ``forward`` on the inputs, and the hooks around it."""
        if self._module_hooks is None:
            return self.forward(*inputs, **keywords)
        return self._module_hooks.call(self, inputs, keywords)

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Have ``hook(module, args)`` called before ``forward``.

        Args:
            hook: is given the arguments by position as a tuple. It returns None, or the arguments to go on with: a
                tuple, or one that is no tuple.
            prepend: before the hooks that are there, not after them.
            with_kwargs: ``hook(module, args, kwargs)``, which returns None or both.

        Returns:
            The handle that removes the hook.
        """
        check_hook("register_forward_pre_hook", hook)
        return self._own_hooks().before.add((hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Have ``hook(module, args, output)`` called after ``forward``; what it returns, if not None, is the output.

        Args:
            hook: see above.
            prepend: before the hooks that are there, not after them.
            with_kwargs: ``hook(module, args, kwargs, output)``.
            always_call: call it, with None for the output, when ``forward`` or a hook has raised an error.

        Returns:
            The handle that removes the hook.
        """
        check_hook("register_forward_hook", hook)
        return self._own_hooks().after.add((hook, with_kwargs, always_call), prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have ``hook(module, grad_input, grad_output)`` called when the gradients of the inputs of a call are known.

        Args:
            hook: is given two tuples, of a gradient for each argument by position and for each output: None for what
                is no tensor, and for outputs that were not used; zeros for arguments that have none. It returns None,
                or what goes on in the place of ``grad_input``. Where no argument requires a gradient, all of
                ``grad_input`` is None, and the hook is called when those of the outputs are known.
            prepend: before the hooks that are there, not after them.

        Returns:
            The handle that removes the hook.
        """
        check_hook("register_full_backward_hook", hook)
        return self._own_hooks().backward.add(hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have ``hook(module, grad_output)`` called when the gradients of the outputs of a call are known.

        Args:
            hook: is given a tuple; returns None, or what goes on in its place.
            prepend: before the hooks that are there, not after them.

        Returns:
            The handle that removes the hook.
        """
        check_hook("register_full_backward_pre_hook", hook)
        return self._own_hooks().backward_before.add(hook, prepend)

    def _own_hooks(self) -> ModuleHooks:
        if self._module_hooks is None:
            self._module_hooks = ModuleHooks()
        return self._module_hooks
