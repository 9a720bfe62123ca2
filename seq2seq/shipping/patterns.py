"""Python's regular expressions as JavaScript's, so that a page splits text by the very rules of the training.

Contract: the translated pattern, with the flag ``u``, matches what Python's does. What cannot be said in JavaScript is
a ValueError. Letters and digits (``\\w``, ``\\d``) are those of the browser's Unicode.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from re import _constants as sre  # type: ignore[attr-defined]  # the parse tree has no public name
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_WORD = r"\p{L}\p{N}_"
Ranges = list[tuple[int, int]]


def javascript(pattern: re.Pattern[str]) -> tuple[str, str]:
    """The source of a pattern, and the flags that it has beside ``u``: "i" or none.

    Raises:
        ValueError: it holds what JavaScript does not have.
    """
    if pattern.flags & (re.MULTILINE | re.DOTALL | re.ASCII | re.LOCALE):
        raise ValueError(f"a pattern has the flags {re.RegexFlag(pattern.flags)}")
    tree = parser.parse(pattern.pattern, pattern.flags)
    return _sequence(tree), "i" if pattern.flags & re.IGNORECASE else ""


def characters(members: Iterable[str]) -> str:
    """The inside of a class of these characters."""
    return _spelled(_merged([(ord(member), ord(member)) for member in members]))


def _sequence(tree: Any) -> str:
    return "".join(_node(kind, value) for kind, value in tree)


def _node(kind: Any, value: Any) -> str:
    if kind not in _NODES:
        raise ValueError(f"a pattern holds {str(kind).lower()}")
    return _NODES[kind](value)


def _class(items: Any) -> str:
    """A set of characters: those listed, ranges, and categories."""
    negated, ranges, categories = False, Ranges(), list[str]()
    for kind, value in items:
        if kind is sre.NEGATE:
            negated = True
        elif kind is sre.CATEGORY:
            own, named = _category(value)
            ranges += own
            categories += [named]
        else:
            ranges.append((value, value) if kind is sre.LITERAL else value)
    return f"[{'^' if negated else ''}{_spelled(_merged(ranges))}{''.join(categories)}]"


def _category(category: Any) -> tuple[Ranges, str]:
    """What a category is within a class: ranges, and names of properties."""
    if category in (sre.CATEGORY_SPACE, sre.CATEGORY_NOT_SPACE):
        return _spaces(category is sre.CATEGORY_SPACE), ""
    named = {sre.CATEGORY_DIGIT: r"\p{Nd}", sre.CATEGORY_NOT_DIGIT: r"\P{Nd}", sre.CATEGORY_WORD: _WORD}
    if category not in named:
        raise ValueError("a pattern holds what is no letter within a class")
    return [], named[category]


@cache
def _spaces(wanted: bool) -> Ranges:
    """The characters that are whitespace to Python, or all others."""
    return _merged([(code, code) for code in range(sys.maxunicode + 1) if chr(code).isspace() is wanted])


def _merged(ranges: Ranges) -> Ranges:
    found = Ranges()
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def _spelled(ranges: Ranges) -> str:
    return "".join(_spelling(first) + (f"-{_spelling(last)}" if last > first else "") for first, last in ranges)


def _spelling(code: int) -> str:
    """A character, spelt so that it means itself within a class and outside."""
    character = chr(code)
    plain = character.isalnum() if code < 128 else character.isprintable() and not 0xD800 <= code < 0xE000
    return character if plain else f"\\u{{{code:x}}}"


def _group(value: Any) -> str:
    number, added, removed, tree = value
    if added or removed:
        raise ValueError("a pattern changes its flags in a group")
    return f"({'' if number is not None else '?:'}{_sequence(tree)})"


def _repeated(lazy: str) -> Callable[[Any], str]:
    def spelled(value: Any) -> str:
        least, most, tree = value
        bounds = f"{{{least},{'' if most is sre.MAXREPEAT else most}}}"
        return f"(?:{_sequence(tree)}){bounds}{lazy}"

    return spelled


def _look(sign: str) -> Callable[[Any], str]:
    return lambda value: f"(?{'<' if value[0] < 0 else ''}{sign}{_sequence(value[1])})"


def _place(value: Any) -> str:
    letter = f"[{_WORD}]"
    bounds = f"(?:(?<={letter})(?!{letter})|(?<!{letter})(?={letter}))"
    known = {
        sre.AT_BEGINNING: "^", sre.AT_BEGINNING_STRING: "^", sre.AT_END: r"(?=\n?$)", sre.AT_END_STRING: "$",
        sre.AT_BOUNDARY: bounds, sre.AT_NON_BOUNDARY: f"(?!{bounds})",
    }  # fmt: skip
    return known[value]


_NODES: dict[Any, Callable[[Any], str]] = {
    sre.LITERAL: _spelling,
    sre.NOT_LITERAL: lambda code: f"[^{_spelling(code)}]",
    sre.ANY: lambda _: r"[^\n]",
    sre.IN: _class,
    sre.BRANCH: lambda value: f"(?:{'|'.join(map(_sequence, value[1]))})",
    sre.SUBPATTERN: _group,
    sre.MAX_REPEAT: _repeated(""),
    sre.MIN_REPEAT: _repeated("?"),
    sre.ASSERT: _look("="),
    sre.ASSERT_NOT: _look("!"),
    sre.AT: _place,
    sre.GROUPREF: lambda number: f"(?:\\{number})",
}
