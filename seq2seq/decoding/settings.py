"""What a user asks of a search, on a command line or in Python, checked; and the options of the commands that search.

Beside what stands here, the options are those of the registered strategies and constraints.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from seq2seq.decoding.contract import Constraint, Strategy
from seq2seq.run import registry
from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.messages import shown
from seq2seq.run.options import RANGES, check_text, convert, number, texts
from seq2seq.run.parser import OneLineParser, suggestion


@dataclasses.dataclass(frozen=True)
class Decoding:
    """A search as it is asked for.

    Attributes:
        strategy: how hypotheses are looked for.
        constraints: what they have to keep.
        n_best: hypotheses of each sentence.
        batch_size: sentences decoded together.
        max_output_length: tokens after which a hypothesis is cut; None is as the run was trained.
        max_length_ratio: the same for each token of the source; None is without.
        seed: of what is drawn.
        alignment: whether hypotheses carry theirs.
        prefixes: for each sentence the text that its hypotheses start with; None is without.
        forbidden_words: that no hypothesis holds.
    """

    strategy: Strategy
    constraints: tuple[Constraint, ...]
    n_best: int = 1
    batch_size: int = 64
    max_output_length: int | None = None
    max_length_ratio: float | None = None
    seed: int = 1234
    alignment: bool = False
    prefixes: tuple[str, ...] | None = None
    forbidden_words: tuple[str, ...] = ()


_GIVEN = {field.name: field.default for field in dataclasses.fields(Decoding)[2:]}


def decoding(strategy: str = "beam", **given: Any) -> Decoding:
    """The search that is asked for by name; a beam of one hypothesis is greedy search.

    Raises:
        UserError: an unknown strategy, an option that it does not have, or one out of its range.
        UserTypeError: an argument that there is not, or of another type.
    """
    check_text("strategy", _is("strategy", strategy, str))
    known = registry.options(registry.SEARCH_PACKAGES)
    checked = {name: _checked(name, value, known) for name, value in given.items()}
    part = registry.part("strategy", strategy)
    options = {name: checked.pop(name) for name in list(checked) if name in known}
    found = part(_options_of(part, options))
    base = Decoding(found, _constraints(options), **checked)
    for name, value in options.items():
        if value != known[name].default and not _has(part, name) and not _of_constraint(name):
            owners = " and ".join(registry.owners(name))
            raise UserError(f"{name} is an option of {owners}; this search has strategy {strategy}")
    found.check(base.n_best)
    if strategy == "beam" and found.options.beam_size == base.n_best == 1:
        return dataclasses.replace(base, strategy=registry.part("strategy", "greedy")())
    return base


def _constraints(options: dict[str, Any]) -> tuple[Constraint, ...]:
    """Those of which an option has another value than its default."""
    parts = [registry.part("constraint", name) for name in registry.names("constraint")]
    asked = [(part, _options_of(part, options)) for part in parts]
    return tuple(part(own) for part, own in asked if own != part.Options())


def _options_of(part: type[Any], options: dict[str, Any]) -> Any:
    """The part's Options, with what is given of them."""
    return part.Options(**{name: value for name, value in options.items() if _has(part, name)})


def _has(part: type[Any], option: str) -> bool:
    return option in part.Options.__dataclass_fields__


def _of_constraint(option: str) -> bool:
    return any(_has(registry.part("constraint", name), option) for name in registry.names("constraint"))


def _checked(name: str, value: Any, known: dict[str, dataclasses.Field[Any]]) -> Any:
    """An argument in its type and range."""
    if name not in known and name not in _GIVEN:
        near = suggestion(name, [*known, *_GIVEN, "strategy"]) or f"expected one of {', '.join([*known, *_GIVEN])}"
        raise UserTypeError(f"search: there is no argument {name}; {near}")
    if value is None and _GIVEN.get(name, 0) is None:
        return None
    if name in ("prefixes", "forbidden_words"):
        return texts(name, value, "text")
    if name in RANGES:
        return number(name, value)
    kind = registry.type_of(known[name]) if name in known else bool
    return _is(name, value, kind)


def _is(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        expected = {bool: "True or False", str: "text"}[kind]
        raise UserTypeError(f"{name} is {shown(value)}; expected {expected}")
    return value


# --- the command line -------------------------------------------------------------------------------------------------
def add_options(parser: OneLineParser) -> None:
    """The options of a command that searches."""
    strategies = " or ".join(registry.names("strategy"))
    parser.add_text("--strategy", f"how translations are looked for: {strategies} (default: beam)", "beam")
    parser.add_number("--batch-size", "sentences decoded together", 64)
    parser.add_number("--max-output-length", "translations are cut after so many tokens; by default as in training")
    parser.add_number("--max-length-ratio", "or after so many for each token of the source; by default none")
    parser.add_text("--forbidden-words", "words that no translation holds, separated by blanks")
    parser.add_number("--seed", "of what is drawn", 1234)
    for name, field in registry.options(registry.SEARCH_PACKAGES).items():
        _add_option(parser, name, field)


def _add_option(parser: OneLineParser, name: str, field: dataclasses.Field[Any]) -> None:
    told = [str(RANGES[name])] if name in RANGES else []
    told += [] if field.default is False else [f"default: {field.default}"]
    help_text = field.metadata["help"] + (f" ({'; '.join(told)})" if told else "")
    help_text = f"{help_text} [{'; '.join(registry.owners(name))}]".replace("%", "%%")
    option, kinds = "--" + name.replace("_", "-"), (registry.type_of(field),)
    if field.default is False:
        parser.add_argument(option, action="store_true", help=help_text)
    else:
        kind = functools.partial(convert, name, kinds=kinds)
        parser.add_argument(option, type=kind, default=field.default, metavar="VALUE", help=help_text)


def asked(options: Any) -> dict[str, Any]:
    """The arguments of ``Translator.search`` that a command line gives."""
    names = [*registry.options(registry.SEARCH_PACKAGES), *_GIVEN, "strategy"]
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    words = given.get("forbidden_words")
    return given | {"forbidden_words": words.split() if words else ()}


def changed(given: dict[str, Any]) -> dict[str, Any]:
    """Of the arguments of a search those of strategies, constraints and lengths that are not as by default."""
    known = {name: field.default for name, field in registry.options(registry.SEARCH_PACKAGES).items()}
    known |= {name: _GIVEN[name] for name in ("max_output_length", "max_length_ratio", "seed", "forbidden_words")}
    return {name: value for name, value in given.items() if name in known and value != known[name]}
