"""Module: a tree of parameters, buffers and submodules with one ``forward``.

Contract: assigning a Parameter, a Module or (over a registered buffer) a Tensor to an attribute registers it, in order
of assignment; a parameter reachable by two paths is listed once by ``parameters`` and under both names by
``state_dict``. Names, order, text form and errors are those of ``torch.nn.Module``, so a state dict moves both ways.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import Any, NamedTuple, Self

import numpy as np

import kernels
from minigrad.device import resolve
from minigrad.dtypes import is_floating
from minigrad.grad_mode import no_grad
from minigrad.missing import of_object
from minigrad.naming import described
from minigrad.nn.hooks import Hooked
from minigrad.nn.parameter import Parameter
from minigrad.ops.convert import wanted
from minigrad.tensor import Tensor


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` could not match: names the dict lacks, names the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def _missing_forward(self: Module, *inputs: Any, **keywords: Any) -> Any:
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


class Module(Hooked):
    """Base class of layers and models: define submodules in ``__init__`` and the computation in ``forward``."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]
    forward: Callable[..., Any] = _missing_forward

    def __init__(self) -> None:
        for table in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, table, {})
        object.__setattr__(self, "_transient", set())
        self.training = True

    # ---- registration ----------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._require_init("parameters")
            for other in (self.__dict__, self._buffers, self._modules):  # an assignment replaces what there was
                other.pop(name, None)
            self.register_parameter(name, value)
        elif isinstance(value, Module) and name not in self.__dict__.get("_parameters", ()):
            self._require_init("module")
            self._register("_modules", name, value)
        else:
            self._set_other(name, value)

    def _set_other(self, name: str, value: Any) -> None:
        """Assign a value that is neither parameter nor module: None clears a slot, a Tensor refills a buffer."""
        for table, expected in (("_parameters", "parameter"), ("_modules", "child module"), ("_buffers", "buffer")):
            slots = self.__dict__.get(table, {})
            if name not in slots:
                continue
            if value is not None and not (table == "_buffers" and isinstance(value, Tensor)):
                wanted = {"_parameters": "Parameter", "_modules": "Module", "_buffers": "Tensor"}[table]
                raise TypeError(
                    f"cannot assign {type(value).__name__!r} as {expected} {name!r} ({wanted} or None expected)"
                )
            slots[name] = value
            return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in ("_parameters", "_modules", "_buffers"):
            slots = own.get(table)
            if slots and name in slots:
                return slots[name]
        if name == "training" or (name.startswith("_") and name in Module.__annotations__):
            raise AttributeError(f"{type(self).__name__}: __init__ has to call super().__init__() first")
        raise of_object(self, "torch.nn.Module", name)

    def __delattr__(self, name: str) -> None:
        for slots in (self._parameters, self._buffers, self._modules):
            if name in slots:
                del slots[name]
                self._transient.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _require_init(self, kind: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")

    def _register(self, table: str, name: str, value: Any) -> None:
        """Register ``value`` in one table and nowhere else; a name that is there already keeps its position."""
        for other in ("_parameters", "_buffers", "_modules"):
            if other != table:
                self.__dict__[other].pop(name, None)
        self.__dict__.pop(name, None)
        self._transient.discard(name)
        self.__dict__[table][name] = value

    def _check_name(self, kind: str, name: str, table: str) -> None:
        """Refuse a name that cannot be one, or that something else has than an entry of ``table``."""
        if not isinstance(name, str):
            raise TypeError(f"{kind} name is {name!r}; expected a string")
        if not name or "." in name:
            raise KeyError(f'{kind} name {name!r} is empty or contains "."')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute {name!r} already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register ``param`` (None keeps the slot empty, as ``bias=False`` does) under ``name``."""
        self._require_init("parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign {type(param).__name__!r} to parameter {name!r} (Parameter or None expected)"
            )
        self._check_name("parameter", name, "_parameters")
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is state but not trained; ``persistent=False`` keeps it out of state dicts."""
        self._require_init("buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign {type(tensor).__name__!r} to buffer {name!r} (Tensor or None expected)")
        self._check_name("buffer", name, "_buffers")
        self._register("_buffers", name, tensor)
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register ``module`` under ``name`` (which, unlike an attribute's, may start with a digit)."""
        self._require_init("module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} is {described(module)}; expected a Module or None")
        self._check_name("module", name, "_modules")
        self._register("_modules", name, module)

    # ---- walking the tree ------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted names, parents first.

        Args:
            memo: modules to leave out; those that are yielded are added.
            prefix: of the names.
            remove_duplicate: yield a module that has several names once, under its first.
        """
        seen = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(seen, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules with their names, each module once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """Direct submodules."""
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, own ones before those of submodules; shared ones once, or under each name."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters in the order of ``named_parameters``."""
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with dotted names; see ``named_parameters``."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers in the order of ``named_buffers``."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named_members(self, table: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in getattr(module, table).items():
                if member is not None and not (once and id(member) in seen):
                    seen.add(id(member))
                    yield _join(path, name), member

    # ---- acting on the whole tree ----------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call ``fn`` on every module below and then on this one; returns self."""
        if not callable(fn):
            raise TypeError(f"apply: fn is {described(fn)}; expected a function of a module")
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on (``mode=True``) or off in this module and all below; returns self."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode is {mode!r}; expected True or False")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of every parameter; returns self."""
        for param in self.parameters():
            param.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or fill it with zeros when ``set_to_none`` is False."""
        for param in self.parameters():
            if param.grad is not None and not set_to_none:
                param.grad.zero_()
            else:
                param.grad = None

    def to(self, *args: Any, **keywords: Any) -> Self:
        """Move to a device and/or cast floating-point parameters and buffers, in place.

        Args:
            args, keywords: ``device``, ``dtype`` (floating point), ``(device, dtype)`` or a Tensor with both. Integer
                buffers keep their dtype.

        Returns:
            self; parameter objects stay the same, so an optimiser keeps working.
        """
        dtype, device = wanted(*args, **keywords)
        if dtype is not None and not is_floating(np.dtype(dtype)):
            raise TypeError(f"to: dtype is {np.dtype(dtype)}; expected a floating dtype")
        resolve(device)  # refused before anything is changed
        for tensor in [*self.parameters(), *self.buffers()]:
            target = dtype if tensor.is_floating_point() else None
            tensor.data = tensor.detach().to(dtype=target, device=device)
            tensor.grad = None if tensor.grad is None else tensor.grad.to(dtype=target, device=device)
        return self

    def cpu(self) -> Self:
        """``to("cpu")``."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """``to("cuda")``; one clear error where there is no GPU."""
        return self.to(device="cuda" if device is None else device)

    def float(self) -> Self:
        """Cast to float32."""
        return self.to(np.dtype(np.float32))

    def double(self) -> Self:
        """Cast to float64."""
        return self.to(np.dtype(np.float64))

    # ---- state -----------------------------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """All parameters and persistent buffers by dotted name.

        Args:
            prefix: text before every name.
            keep_vars: return the parameters themselves instead of detached tensors on the same memory.
        """
        state: OrderedDict[str, Tensor] = OrderedDict()
        for name, tensor in self._named_state(prefix):
            state[name] = tensor if keep_vars else tensor.detach()
        return state

    def _named_state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """What a state dict holds; unlike ``named_parameters`` a shared tensor appears under each of its names."""
        persistent = {name: buffer for name, buffer in self._buffers.items() if name not in self._transient}
        for name, tensor in {**self._parameters, **persistent}.items():
            if tensor is not None:
                yield prefix + name, tensor
        for name, module in self._modules.items():
            if module is not None:
                yield from module._named_state(f"{prefix}{name}.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into parameters and buffers by name; nothing is changed when an error is raised.

        Args:
            state_dict: name -> Tensor or array of the same shape; values are cast to the module's dtype.
            strict: whether missing and unexpected names are errors. A size mismatch always is.

        Raises:
            TypeError: ``state_dict`` is no mapping.
            RuntimeError: lists every missing key, unexpected key, size mismatch and value that is no Tensor.
        """
        if not isinstance(state_dict, Mapping):
            hint = "; load() reads a file" if isinstance(state_dict, str | PathLike) else ""
            raise TypeError(
                f"{type(self).__name__}.load_state_dict: state_dict is {described(state_dict)}; "
                f"expected a dict from names to Tensors, as of state_dict(){hint}"
            )
        own = dict(self._named_state())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        shared = [(name, own[name], state_dict[name]) for name in own if name in state_dict]
        problems = _key_problems(missing, unexpected) if strict else []
        problems += [problem for entry in shared for problem in _value_problems(*entry)]
        if problems:
            raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {type(self).__name__}:", *problems]))
        with no_grad():
            for _, tensor, value in shared:
                tensor.copy_(value if isinstance(value, Tensor) else Tensor(np.asarray(value)))
        return IncompatibleKeys(missing, unexpected)

    # ---- text ------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The text between the parentheses of ``repr``; layers override it."""
        return ""

    def __repr__(self) -> str:
        extra, children = self.extra_repr(), self._child_lines()
        if not children and "\n" not in extra:
            return f"{type(self).__name__}({extra})"
        lines = extra.splitlines() + children
        return f"{type(self).__name__}(\n" + "".join(f"  {line}\n" for line in lines) + ")"

    def _child_lines(self) -> list[str]:
        return [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]


def indented(text: str) -> str:
    """``text`` with every line but the first moved two spaces to the right."""
    return text.replace("\n", "\n  ")


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _value_problems(name: str, tensor: Tensor, value: Any) -> Iterator[str]:
    """What is wrong with a value of a state dict for a tensor."""
    if not isinstance(value, Tensor | np.ndarray | np.generic) and not kernels.on_device(value):
        yield f'While copying the parameter named "{name}", expected a Tensor or an array but got {described(value)}.'
    elif tuple(value.shape) != tuple(tensor.shape):
        yield (
            f"size mismatch for {name}: copying a param with shape {tuple(value.shape)} from checkpoint, "
            f"the shape in current model is {tuple(tensor.shape)}."
        )


def _key_problems(missing: list[str], unexpected: list[str]) -> list[str]:
    kinds = (("Missing", missing), ("Unexpected", unexpected))
    listed = [(kind, ", ".join(f'"{key}"' for key in keys)) for kind, keys in kinds if keys]
    return [f"{kind} key(s) in state_dict: {names}." for kind, names in listed]
