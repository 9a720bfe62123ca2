"""Containers: modules that hold a list or a dict of modules (or parameters) and register what they hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import groupby
from typing import Any, overload

from minigrad.naming import described
from minigrad.nn.checks import check_tensor
from minigrad.nn.module import Module, indented
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor


def each_of(owner: str, name: str, values: Any) -> Iterable[Any]:
    """``values`` if one can go through them; TypeError otherwise."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{owner}: {name} is {described(values)}; expected a list")
    return values


def entries_of(owner: str, name: str, values: Any) -> dict[str, Any]:
    """``values``, a mapping or pairs, as a dict; TypeError for anything else."""
    pairs = values.items() if hasattr(values, "items") else each_of(owner, name, values)
    listed = list(pairs)
    for pair in listed:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{owner}: {name} holds {described(pair)}; expected a dict, or pairs of a name and a value")
    return dict(listed)


class _IndexedModules(Module):
    """Modules under the names "0", "1", ...: what Sequential and ModuleList share."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        """One module, or a container of the same kind for a slice."""
        if isinstance(index, slice):
            return self._like(dict(list(self._modules.items())[index]))
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        gone = range(len(self))[index]
        dropped = set(gone) if isinstance(gone, range) else {gone}
        self._renumber([module for i, module in enumerate(self) if i not in dropped])

    def _like(self, modules: dict[str, Any]) -> Any:
        return type(self)(*modules.values())

    def _name(self, index: int) -> str:
        """The name at ``index``; negative counts from the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} modules")
        return list(self._modules)[index]

    def _renumber(self, modules: list[Module]) -> None:
        self._modules.clear()
        self.extend(modules)

    def append(self, module: Module) -> Any:
        """Add ``module`` at the end; returns self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Append every one of ``modules``; returns self."""
        for module in each_of(type(self).__name__, "modules", modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put ``module`` before position ``index``; returns self."""
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take a module out and return it; those behind it move up."""
        module = self[index]
        del self[index]
        return module

    def __add__(self, other: Iterable[Module]) -> Any:
        """A container of the same kind of the modules of both."""
        joined = [*self, *each_of(type(self).__name__, "modules", other)]
        return self._like({str(number): module for number, module in enumerate(joined)})

    def __iadd__(self, other: Iterable[Module]) -> Any:
        return self.extend(other)


class Sequential(_IndexedModules):
    """Modules called one after the other.

    Args:
        modules: the modules in order, or one OrderedDict name -> module.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else dict(enumerate(modules))
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: module {name!r} is {described(module)}; expected a Module")
            self.add_module(str(name), module)

    def _like(self, modules: dict[str, Any]) -> Sequential:
        return type(self)(OrderedDict(modules))

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


class ModuleList(_IndexedModules):
    """A list whose modules are registered; it has no ``forward``."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def _like(self, modules: dict[str, Any]) -> ModuleList:
        return type(self)(modules.values())

    def _child_lines(self) -> list[str]:
        """Neighbours with the same text become one line: ``(0-2): 3 x ReLU()``."""
        lines, first = [], 0
        for text, run in groupby(repr(module) for module in self):
            count = len(list(run))
            name, times = (f"{first}", "") if count == 1 else (f"{first}-{first + count - 1}", f"{count} x ")
            lines.append(f"({name}): {times}{indented(text)}")
            first += count
        return lines


class _NamedEntries(Module):
    """Entries under names of their own, in order of insertion: what ModuleDict and ParameterDict share."""

    @property
    def _entries(self) -> dict[str, Any]:
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def pop(self, name: str) -> Any:
        """Take an entry out and return it."""
        return self._entries.pop(name)

    def clear(self) -> None:
        """Take all entries out."""
        self._entries.clear()

    def keys(self) -> KeysView[str]:
        return self._entries.keys()

    def values(self) -> ValuesView[Any]:
        return self._entries.values()

    def items(self) -> ItemsView[str, Any]:
        return self._entries.items()


class ModuleDict(_NamedEntries):
    """A dict whose modules are registered, in order of insertion."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    @property
    def _entries(self) -> dict[str, Any]:
        return self._modules

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace every entry of ``modules``."""
        for name, module in entries_of("ModuleDict", "modules", modules).items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)


class ParameterList(Module):
    """A list whose parameters are registered; plain tensors are made parameters."""

    def __init__(self, values: Iterable[Tensor] = ()) -> None:
        super().__init__()
        for value in each_of("ParameterList", "values", values):
            self.append(value)

    def append(self, value: Tensor) -> ParameterList:
        """Add a parameter at the end; returns self."""
        check_tensor("ParameterList", f"value {len(self)}", value)
        self.register_parameter(str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int) -> Any:
        return list(self._parameters.values())[index]

    def _child_lines(self) -> list[str]:
        sizes = ("x".join(map(str, param.shape)) for param in self)
        return [f"({i}): Parameter containing: [{self[i].dtype} of size {size}]" for i, size in enumerate(sizes)]


class ParameterDict(_NamedEntries):
    """A dict whose parameters are registered, in order of insertion; plain tensors are made parameters."""

    def __init__(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = ()) -> None:
        super().__init__()
        self.update(parameters)

    @property
    def _entries(self) -> dict[str, Any]:
        return self._parameters

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add or replace every entry of ``parameters``."""
        for name, value in entries_of("ParameterDict", "parameters", parameters).items():
            self[name] = value

    def __setitem__(self, name: str, value: Tensor) -> None:
        check_tensor("ParameterDict", f"value {name!r}", value)
        self.register_parameter(name, value if isinstance(value, Parameter) else Parameter(value))

    def _child_lines(self) -> list[str]:
        sizes = {name: "x".join(map(str, param.shape)) for name, param in self.items()}
        return [f"({name}): Parameter containing: [{self[name].dtype} of size {size}]" for name, size in sizes.items()]
