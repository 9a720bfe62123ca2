"""The parts that a model is put together from: sources, encoders, decoders, each registered under a name.

A part is a class with ``Options``, a frozen dataclass whose fields are ``option(...)``. They become settings of a run:
keys of config.json, options of the command line with range and help, arguments of ``Config``. Parts may share an
option, which then means the same for all of them. The parts that come along register when they are first asked for;
each module of the packages below is one.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.options import RANGES, Range
from seq2seq.run.parser import suggestion

# Each kind of part, which is also a setting, and where its parts are that come along.
PACKAGES = {"source": "seq2seq.sources", "encoder": "seq2seq.models.encoders", "decoder": "seq2seq.models.decoders"}

_parts: dict[str, dict[str, type[Any]]] = {kind: {} for kind in PACKAGES}
_options: dict[str, dataclasses.Field[Any]] = {}  # of all parts, by name

Part = TypeVar("Part", bound=type[Any])


def option(default: Any, help: str, low: float | None = None, high: float | None = None) -> Any:
    """A field of a part's Options.

    Args:
        default: bool, int, float or str; the option is of its type.
        help: what it means, a line for the command line.
        low, high: of a number, the ends of its range, both allowed.
    """
    limits = None if low is None or high is None else Range(low, high)
    return dataclasses.field(default=default, metadata={"help": help, "range": limits})


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """The Options of a part that has none."""


def register(kind: str, name: str) -> Callable[[Part], Part]:
    """Make a class known as the ``kind`` ("source", "encoder" or "decoder") of this name.

    Raises:
        ValueError: another class has the name, or another part means something else by an option of its.
    """

    def put(part: Part) -> Part:
        known = _parts[kind].get(name)
        if known is not None and (known.__module__, known.__qualname__) != (part.__module__, part.__qualname__):
            raise ValueError(f"register: there is a {kind} {name} already, {known.__module__}.{known.__qualname__}")
        for field in dataclasses.fields(part.Options):
            _add_option(f"{kind} {name}", part.Options, field)
        _parts[kind][name] = part
        part.name = name
        return part

    return put


def _add_option(owner: str, options: type, field: dataclasses.Field[Any]) -> None:
    meaning = (field.default, field.metadata.get("help"), field.metadata.get("range"))
    if field.name in _options:
        other = _options[field.name]
        if meaning != (other.default, other.metadata["help"], other.metadata["range"]):
            raise ValueError(f"register: {owner} means something else by {field.name} than another part does")
        return
    if None in meaning[:2]:
        raise ValueError(f"register: {owner} has {field.name} without a default or a help; expected option(...)")
    _options[field.name] = field
    if meaning[2] is not None:
        RANGES[field.name] = meaning[2]


@cache
def _load() -> None:
    """Let the parts that come along register."""
    for package in PACKAGES.values():
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)


def names(kind: str) -> tuple[str, ...]:
    """Those that are registered, in order."""
    _load()
    return tuple(sorted(_parts[kind]))


def part(kind: str, name: str) -> type[Any]:
    """The class that is registered under a name; UserError where there is none."""
    if name not in names(kind):
        near = suggestion(name, names(kind)) or f"expected {', '.join(names(kind))}, or one that your script registers"
        raise UserError(f"{kind} is {shown(name)}; {near}")
    return _parts[kind][name]


def options() -> dict[str, dataclasses.Field[Any]]:
    """The options of all parts, by name."""
    _load()
    return dict(_options)


def options_of(chosen: dict[str, str]) -> dict[str, Any]:
    """The options of the chosen parts, kind by kind, with their defaults."""
    fields = (field for kind, name in chosen.items() for field in dataclasses.fields(part(kind, name).Options))
    return {field.name: field.default for field in fields}


def owners(option: str) -> Iterator[str]:
    """The parts that have an option, as "decoder lstm"."""
    for kind in PACKAGES:
        for name in names(kind):
            if any(field.name == option for field in dataclasses.fields(_parts[kind][name].Options)):
                yield f"{kind} {name}"


def type_of(field: dataclasses.Field[Any]) -> type:
    """Of an option's values: that of its default."""
    return type(field.default)


def chosen_options(kind: str, name: str, settings: Any) -> Any:
    """A part's Options with the values that ``settings``, a Config, has for them."""
    options = part(kind, name).Options
    return options(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(options)})


def build(kind: str, settings: Any, *arguments: Any) -> Any:
    """The part that ``settings``, a Config, names, with its options before the other arguments."""
    name = getattr(settings, kind)
    return part(kind, name)(chosen_options(kind, name, settings), *arguments)
