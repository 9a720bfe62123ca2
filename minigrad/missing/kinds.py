"""What an expression of a script stands for, as far as that can be told without running it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import minigrad

ROOTS = ("torch", "minigrad")  # a script before its imports are changed, and after


@dataclass(frozen=True)
class Known:
    """A module, a class, a function or a value of this engine. ``name``: PyTorch's name of it, "torch.nn.Linear"."""

    name: str
    value: Any


@dataclass(frozen=True)
class Instance:
    """An object of a class of this engine. ``name``: PyTorch's name of the class."""

    name: str
    value: type


@dataclass
class Own:
    """A class of the script, with what it assigns to ``self``, if one of its bases is a class of this engine."""

    name: str
    base: Instance | None
    attributes: dict[str, Kind] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # all that it defines or assigns


@dataclass(frozen=True)
class OwnInstance:
    """An object of a class of the script."""

    owner: Own = field(compare=False)


Kind = Known | Instance | Own | OwnInstance | None
TENSOR = Instance("torch.Tensor", minigrad.Tensor)


def module(name: str) -> Known | None:
    """A module by PyTorch's name; None if it is not here."""
    found: Any = minigrad
    for part in name.split(".")[1:]:
        found = vars(found).get(part) if isinstance(found, ModuleType) else getattr(found, part, None)
        if found is None:
            return None
    return Known(name, found)


def has(owner: Kind, name: str) -> bool:
    """Whether something of this engine has an attribute."""
    value = owner.value if isinstance(owner, Known | Instance) else None
    return hasattr(value, name)


def attribute(owner: Kind, name: str) -> Kind:
    """What an attribute stands for."""
    if isinstance(owner, OwnInstance):
        return owner.owner.attributes.get(name) or attribute(owner.owner.base, name)
    if isinstance(owner, Own):
        return None
    if owner is None or not has(owner, name):
        return None
    found = getattr(owner.value, name)
    if isinstance(owner, Instance) and not callable(found):
        return TENSOR if owner == TENSOR and name in ("T", "mT", "data", "grad") else None
    return Known(f"{owner.name}.{name}", found)


def result(function: Kind) -> Kind:
    """What a call gives."""
    if isinstance(function, Own):
        return OwnInstance(function)
    if isinstance(function, Instance):  # a layer that is called gives what its forward gives
        return result(attribute(function, "forward"))
    if not isinstance(function, Known):
        return None
    if inspect.isclass(function.value):
        return TENSOR if function.value is minigrad.Tensor else Instance(function.name, function.value)
    said = getattr(function.value, "__annotations__", {}).get("return")
    return TENSOR if said == "Tensor" or function.value in _CONSTRUCTORS else None


_CONSTRUCTORS: tuple[Any, ...] = (minigrad.FloatTensor, minigrad.LongTensor, minigrad.DoubleTensor, minigrad.BoolTensor)


def signature(value: Any) -> inspect.Signature | None:
    """How something of this engine is called; None if that is not to be known."""
    try:
        return inspect.signature(value)
    except (TypeError, ValueError):
        return None


def keywords(value: Any) -> set[str] | None:
    """The keywords that a function or class takes; None if it takes any."""
    callables: list[Callable] = [value]
    if inspect.isclass(value):
        callables = [vars(each)["__init__"] for each in value.__mro__ if "__init__" in vars(each)]
    found: set[str] = set()
    for each in callables:
        called = signature(each)
        if called is None:
            return None
        parameters = called.parameters.values()
        found |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY, p.VAR_POSITIONAL)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return found
    return found if inspect.isclass(value) and issubclass(value, minigrad.optim.Optimizer) else None
