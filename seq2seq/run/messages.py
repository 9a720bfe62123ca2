"""Text from outside in a message: on one line, printable whatever it holds, and of a length that can be read."""

from __future__ import annotations

import re
import reprlib
from typing import cast

_MOST_CHARACTERS = 2000  # of a whole message
_OF_ONE = {"are": "is", "have": "has"}  # verbs of messages, of several things and of one
_OF_ONE |= {verb: f"{verb}s" for verb in ("hold", "lie", "look", "repeat", "stand", "wait")}

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 100
_short.maxlevel = 2


def shown(value: object) -> str:
    """The repr of a value, cut where it is long."""
    try:
        return _short.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return f"a number of type {type(value).__name__} with thousands of digits"


def counted(count: int, noun: str, said: str = "") -> str:
    """So many things, in words: "1 pair is left out", "2,000 pairs are left out".

    Args:
        noun: of one thing, perhaps with what belongs to it: "training pair", "pair with an empty side".
        said: what is said of several.
    """
    adjective, word, rest = cast(re.Match, re.fullmatch(r"(training )?(\S+)(.*)", noun)).groups("")
    several = f"{word[:-2]}es" if word.endswith("sis") else f"{word}s"
    things = noun if count == 1 else adjective + several + rest
    return f"{count:,} {things}" + (f" {agreeing(count, said)}" if said else "")


def agreeing(count: int, said: str) -> str:
    """What is said of several things, with its first verb as it is said of ``count`` things."""
    if count != 1:
        return said
    return re.sub(rf"\b({'|'.join(_OF_ONE)})\b", lambda found: _OF_ONE[found[0]], said, count=1)


def one_line(text: str) -> str:
    """``text`` with control characters, line ends, bytes that are no UTF-8 and lone surrogates as escapes, cut where it
    is long."""
    line = "".join(character if character.isprintable() else _escape(character) for character in text)
    if len(line) <= _MOST_CHARACTERS:
        return line
    return f"{line[: _MOST_CHARACTERS // 2]} ... {line[-_MOST_CHARACTERS // 4 :]}"


def folded(error: object) -> str:
    """A library's message, of however many lines, as one."""
    return " ".join(str(error).split()) or type(error).__name__


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
