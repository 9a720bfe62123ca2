"""The parts that a model and a search are put together from, each registered under a name: sources, encoders and
decoders; strategies and constraints.

A part is a class with ``Options``, a frozen dataclass whose fields are ``option(...)``. Those of a model become
settings of a run: keys of config.json, options of the command line with range and help, arguments of ``Config``. Those
of a search become options of the commands that search, and arguments of ``Translator.search``. Parts may share an
option, which then means the same for all of them. The parts that come along stand in the packages below, and register
when one is first asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Any, ClassVar, TypeVar

from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.options import RANGES, Range
from seq2seq.run.parser import suggestion

# Each kind of part, which is also a setting, and where its parts are that come along.
PACKAGES = {"source": "seq2seq.sources", "encoder": "seq2seq.models.encoders", "decoder": "seq2seq.models.decoders"}
# The same for the parts of a search: it has one strategy, and all constraints whose options ask for something.
SEARCH_PACKAGES = {"strategy": "seq2seq.decoding.strategies", "constraint": "seq2seq.decoding.constraints"}
_ALL = PACKAGES | SEARCH_PACKAGES

_parts: dict[str, dict[str, type[Any]]] = {kind: {} for kind in _ALL}
_reserved = {"accept_changes", "config", "help", "recipe", *RANGES}  # means something on a command line already

Part = TypeVar("Part", bound=type[Any])


def option(
    default: Any, help: str, low: float | None = None, high: float | None = None, changeable: bool = False,
    inherited: bool = True,
) -> Any:  # fmt: skip
    """A field of a part's Options.

    Args:
        default: bool, int, float or str (not an empty one); the option is of its type.
        help: what it means, a line for the command line.
        low, high: of a number, the ends of its range, both allowed; given together or not at all.
        changeable: whether a run may go on with another value: no tensor depends on it.
        inherited: whether a run that starts with another's weights has its value: not of what says how data are read.

    Raises:
        ValueError: a default of another type or out of the range, or a range with one end.
    """
    if type(default) not in (bool, int, float, str) or not str(default).strip():
        raise ValueError(f"option: default is {shown(default)}; expected a bool, an int, a float or text")
    metadata = {"help": help, "range": None, "changeable": changeable, "inherited": inherited}
    if low is None and high is None:
        return dataclasses.field(default=default, metadata=metadata)
    if low is None or high is None or not low <= default <= high:
        raise ValueError(
            f"option: default is {shown(default)}, low {low}, high {high}; expected low <= default <= high"
        )
    return dataclasses.field(default=default, metadata=metadata | {"range": Range(low, high)})


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """The Options of a part that has none."""


class Configured:
    """A part that is made of its options alone.

    Attributes:
        Options: dataclass of its settings, of which an instance is its ``options``.
    """

    name: ClassVar[str]
    Options: ClassVar[type] = NoOptions

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options


def register(kind: str, name: str) -> Callable[[Part], Part]:
    """Make a class known as the ``kind`` ("source", "encoder", "decoder", "strategy", "constraint") of this name.

    A class that is defined anew, as in a notebook, takes the place of the former one.

    Raises:
        ValueError: there is no such kind, another class has the name, or an option is not made by ``option``, has a
            name that means something already, or is another than another part's of this name.
    """
    if kind not in _ALL:
        raise ValueError(f"register: kind is {shown(kind)}; expected {', '.join(_ALL)}")

    def put(part: Part) -> Part:
        if not comes_along(part):
            _load()  # so that what is at fault is told here
        known = _parts[kind].get(name)
        if known is not None and (known.__module__, known.__qualname__) != (part.__module__, part.__qualname__):
            raise ValueError(f"register: there is a {kind} {name} already, {known.__module__}.{known.__qualname__}")
        others = _options_but(known)
        foreign = _options_but(None, PACKAGES if kind in SEARCH_PACKAGES else SEARCH_PACKAGES)
        for field in dataclasses.fields(part.Options):
            _require_own_meaning(f"{kind} {name}", field, others.get(field.name), foreign)
        for field in dataclasses.fields(part.Options):
            RANGES.pop(field.name, None)
            if field.metadata["range"] is not None:
                RANGES[field.name] = field.metadata["range"]
        _parts[kind][name] = part
        part.name = name
        return part

    return put


def _require_own_meaning(
    owner: str, field: dataclasses.Field[Any], other: dataclasses.Field[Any] | None, foreign: Collection[str] = ()
) -> None:
    """ValueError unless a part can have this option, beside that of the same name which other parts have; none of the
    ``foreign`` ones, of parts of a search where this is one of a model, or the other way round."""
    if field.name in _reserved or field.name in foreign:
        raise ValueError(f"register: {owner} has an option {field.name}; that name means something else already")
    if "help" not in field.metadata:
        raise ValueError(f"register: {owner} has {field.name} without a default or a help; expected option(...)")
    if other is not None and (field.default, field.metadata) != (other.default, other.metadata):
        raise ValueError(f"register: {owner} means something else by {field.name} than another part does")


def reserve(names: Iterable[str]) -> None:
    """Keep names from the options of parts; ValueError where a part has one of them already."""
    _reserved.update(names)
    for part in (part for kind in _parts.values() for part in kind.values()):
        for field in dataclasses.fields(part.Options):
            _require_own_meaning(part.__qualname__, field, None)


def comes_along(part: type[Any]) -> bool:
    """Whether every process knows the part; else the script that registers it does."""
    return part.__module__.startswith("seq2seq.")


def all_come_along(settings: Any) -> bool:
    """Whether every process knows the parts that ``settings``, a Config, names."""
    return all(comes_along(part(kind, getattr(settings, kind))) for kind in PACKAGES)


@cache
def _load() -> None:
    """Let the parts that come along register: those in any module of the packages, which may hold other things too."""
    for package in _ALL.values():
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


def options(kinds: Iterable[str] = PACKAGES) -> dict[str, dataclasses.Field[Any]]:
    """The options of all parts of some kinds, by default those of a model, by name."""
    _load()
    return _options_but(None, kinds)


def find_option(name: str) -> dataclasses.Field[Any] | None:
    """The option of this name, of the parts of a model; None where no part has it."""
    _load()
    having = (_fields(part) for kind in PACKAGES for part in _parts[kind].values() if name in _fields(part))
    return next(having, {}).get(name)


def _options_but(left_out: type[Any] | None, kinds: Iterable[str] = _ALL) -> dict[str, dataclasses.Field[Any]]:
    """The options of all parts of some kinds that are registered by now, but for one of them."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for part in (part for kind in kinds for part in _parts[kind].values() if part is not left_out):
        found |= _fields(part)
    return found


def _fields(part: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """Those of a part's Options, by name. Kept: each setting that is read asks for them, and a command line
    has hundreds."""
    if part not in _known_fields:
        _known_fields[part] = {field.name: field for field in dataclasses.fields(part.Options)}
    return _known_fields[part]


_known_fields: dict[type[Any], dict[str, dataclasses.Field[Any]]] = {}


def options_of(chosen: dict[str, str]) -> dict[str, Any]:
    """The options of the chosen parts, kind by kind, with their defaults."""
    fields = (field for kind, name in chosen.items() for field in _fields(part(kind, name)).values())
    return {field.name: field.default for field in fields}


def owners(option: str) -> Iterator[str]:
    """The parts that have an option, by their kinds, as "decoder gru-context, lstm"."""
    for kind in _ALL:
        having = [name for name in names(kind) if option in _fields(_parts[kind][name])]
        if having:
            yield f"{kind} {', '.join(having)}"


def type_of(field: dataclasses.Field[Any]) -> type:
    """Of an option's values: that of its default."""
    return type(field.default)


def chosen_options(kind: str, name: str, settings: Any) -> Any:
    """A part's Options with the values that ``settings``, a Config, has for them."""
    options = part(kind, name).Options
    return options(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(options)})


def reads(settings: Any) -> Any:
    """What the decoder that ``settings``, a Config, names reads of a memory (``seq2seq.models.contract.Reads``).

    Raises:
        UserError: it copies words, and the two sides share no vocabulary.
    """
    name = settings.decoder
    found = part("decoder", name).reads_of(chosen_options("decoder", name, settings))
    if found.copies and not settings.share_vocab:
        raise UserError(
            f"decoder {name} copies words of the source; expected --share-vocab, so that both sides know them"
        )
    return found


def build(kind: str, settings: Any, *arguments: Any) -> Any:
    """The part that ``settings``, a Config, names, with its options before the other arguments."""
    name = getattr(settings, kind)
    return part(kind, name)(chosen_options(kind, name, settings), *arguments)
