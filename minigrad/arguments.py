"""What every public function does with its arguments before it runs: accept other names, refuse a wrong type.

``checked`` reads a function's annotations at its first call. Each call compares the types of its arguments with them,
so that a list given for a tensor, or None for a dimension, is refused by name instead of failing somewhere inside.
``Operand`` is the annotation of an argument that may be anything a tensor can be made of. Strings are left to the
function, which knows what it accepts.

Other names are NumPy's (``axis``, ``keepdims``), PyTorch's (``input``, ``other``), and ``dims=`` of a list.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from kernels import on_device
from minigrad.naming import described
from minigrad.tensor import Tensor

OTHER_NAMES = {"axis": ("dim",), "keepdims": ("keepdim",), "input": ("x", "a"), "other": ("b",)}
F = TypeVar("F", bound=Callable)
Operand = Tensor | np.ndarray | np.generic | bool | int | float | list | tuple


class Kind(NamedTuple):
    """What an annotation allows: the test, its name in a message, and types that pass without the test."""

    fits: Callable[[Any], bool]
    name: str
    types: frozenset[type] = frozenset()


def is_integer(value: Any) -> bool:
    """Whether ``value`` can count: an integer, or a tensor of one integer; not a bool."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and value.dtype.kind in "iu"
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (isinstance(value, Tensor) and value.numel() == 1)


def _is_operand(value: Any) -> bool:
    """Whether a tensor can be made of ``value``; lists have to be looked through."""
    if isinstance(value, Tensor | bool | int | float | np.generic):
        return True
    if isinstance(value, list | tuple):
        try:
            value = np.asarray(value)
        except (ValueError, TypeError, RuntimeError):
            return False
    return on_device(value) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")


def _all_fit(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(fits(item) for item in value)


_TENSOR = Kind(lambda value: isinstance(value, Tensor), "a tensor", frozenset({Tensor}))
_INTEGERS = Kind(_all_fit(is_integer), "a tuple of integers")
_KINDS: dict[Any, Kind] = {
    Tensor: _TENSOR,
    bool: Kind(lambda value: isinstance(value, bool | np.bool_), "True or False", frozenset({bool})),
    int: Kind(is_integer, "an integer", frozenset({int})),
    float: Kind(_is_number, "a number", frozenset({int, float})),
    types.NoneType: Kind(lambda value: value is None, "None", frozenset({types.NoneType})),
    tuple[int, ...]: _INTEGERS,
    list[int]: _INTEGERS,
    Sequence[int]: _INTEGERS,
    Sequence[Tensor]: Kind(_all_fit(_TENSOR.fits), "a list or tuple of tensors"),
    Operand: Kind(_is_operand, "a tensor or a number", frozenset({Tensor, int, float, bool})),
}


def _kind(annotation: Any) -> Kind | None:
    """What an annotation allows; None if that is anything."""
    if annotation in _KINDS:
        return _KINDS[annotation]
    if isinstance(annotation, type) and annotation not in (Any, str):
        return Kind(lambda value: isinstance(value, annotation), f"a {annotation.__name__}")
    return _one_of(typing.get_args(annotation)) if isinstance(annotation, types.UnionType) else None


def _one_of(parts: tuple[Any, ...]) -> Kind | None:
    """What a union of annotations allows; None if that is anything."""
    operand = typing.get_args(Operand)
    if set(operand) <= {*parts}:
        parts = (Operand, *(part for part in parts if part not in operand))
    kinds = [_kind(part) for part in parts]
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        return None
    *first, last = dict.fromkeys(kind.name for kind in known)
    name = f"{', '.join(first)} or {last}" if first else last
    at_sight = frozenset[type]().union(*(kind.types for kind in known))
    return Kind(lambda value: any(kind.fits(value) for kind in known), name, at_sight)


def sizes(user: str, arguments: Sequence[Any], name: str = "sizes") -> tuple[int, ...]:
    """``view(2, 3)`` and ``view((2, 3))`` mean the same; TypeError where something is no integer."""
    if len(arguments) == 1 and isinstance(arguments[0], tuple | list):
        arguments = arguments[0]
    for size in arguments:
        if not is_integer(size):
            raise TypeError(f"{user}: {name} holds {described(size)}; expected integers")
    return tuple(int(size) for size in arguments)


class _Plan(NamedTuple):
    """How the arguments of a function are looked at."""

    positional: list[tuple[str, Kind | None]]
    kinds: dict[str, Kind]
    own: dict[str, str]  # other name -> own name
    several: list[str]  # the names of ``*dims``


@functools.cache  # at the first call: to read all annotations would delay every import
def _plan(function: Callable) -> _Plan:
    parameters = inspect.signature(function).parameters
    annotations = typing.get_type_hints(function)
    found = ((name, _kind(annotations.get(name, Any))) for name in parameters)
    kinds = {name: _with_subclasses(kind) for name, kind in found if kind is not None}
    by_position = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    own = {other: name for other, names in OTHER_NAMES.items() for name in names if name in parameters}
    several = [name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
    return _Plan([(name, kinds.get(name)) for name in by_position], kinds, own, several)


def _with_subclasses(kind: Kind) -> Kind:
    """The kind, which knows a Parameter at sight where it knows a Tensor."""
    return kind._replace(types=kind.types | _subclasses(Tensor)) if Tensor in kind.types else kind


def _subclasses(base: type) -> set[type]:
    """The classes below a class, at any depth."""
    found: set[type] = set(base.__subclasses__())
    return found.union(*map(_subclasses, found))


def _check(title: str, name: str, kind: Kind | None, value: Any) -> None:
    if kind is not None and type(value) not in kind.types and not kind.fits(value):
        raise TypeError(f"{title}: {name} is {described(value)}; expected {kind.name}")


def _by_own_names(
    title: str, args: tuple, options: dict[str, Any], own: dict[str, str], several: list[str]
) -> tuple[tuple, dict[str, Any]]:
    """Arguments with the function's own names for them; those of ``*dims`` by position."""
    named = {own.get(name, name): value for name, value in options.items()}
    if len(named) < len(options):
        raise TypeError(f"{title}: an argument is given twice among {', '.join(options)}")
    return args + tuple(named.pop(name) for name in several if name in named), named


def checked(function: F) -> F:
    """``function``, refusing arguments of a wrong type and accepting their other names, and ``*dims`` by keyword.

    TypeError names the function, the argument, what was got and what was expected.
    """
    title = function.__name__

    @functools.wraps(function)
    def accepting(*args: Any, **options: Any) -> Any:
        positional, kinds, own, several = _plan(function)
        for (name, kind), value in zip(positional, args, strict=False):
            if kind is not None and type(value) not in kind.types:  # most calls need no more than this
                _check(title, name, kind, value)
        if not options:
            return function(*args)
        if several or not own.keys().isdisjoint(options):
            args, options = _by_own_names(title, args, options, own, several)
        for name, value in options.items():
            kind = kinds.get(name)
            if kind is not None and type(value) not in kind.types:
                _check(title, name, kind, value)
        return function(*args, **options)

    return cast(F, accepting)
