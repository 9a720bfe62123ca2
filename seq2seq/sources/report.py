"""What looks wrong in the user's text, counted before it is trained on: a line for each kind of fault.

Contract: nothing is changed here, and text without faults gives no line. A note names the file, says how many pairs are
concerned and in which line the first one stands, and what helps.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import compress, count

from seq2seq.run.messages import agreeing, counted
from seq2seq.sources.dataset import Pair
from seq2seq.sources.reading import ENTITY

# What text holds only where something went wrong on the way: regular expressions, without the line end.
_ODD = {
    "a NUL character": "\x00",
    "the mark U+FFFD of a lost character": "\ufffd",
    "a byte order mark (U+FEFF) inside": "\ufeff",
    "a line separator (U+2028 or U+2029)": "[\u2028\u2029]",
    "a carriage return": "\r",
    "another control character": "[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]",
    "an HTML entity such as &amp;, which --unescape-html undoes": ENTITY.pattern,
    "what looks like UTF-8 read as Latin-1 (\u00c3\u00a9 for \u00e9)": "\u00c3[\u00a0-\u00bf]|\u00e2\u20ac",
}
_CSV_ROW = re.compile(r'"(?:[^"]|"")*"(?:\s*[,;]\s*"(?:[^"]|"")*")+')
_HEADING = re.compile(
    r"#?\s*(?:(?:src|source|trg|tgt|target|input|output|text|sentence|original|translation|lang|language|column|word|"
    r"phones|pronunciation|id|english|german|french|spanish|italian|portuguese|dutch|russian|chinese|japanese|korean|"
    r"arabic|czech|polish|turkish)(?:s?\d*|[\s_-]\w{1,12})|"
    r"(?:en|de|fr|es|it|pt|nl|ru|zh|ja|ko|ar|cs|pl|tr|uk|sv|da|fi|el|he|hi|vi|th|ro|hu)(?:[_-]\w{2,4})?)\s*",
    re.IGNORECASE,
)


def report(
    pairs: Sequence[Pair], name: str, training: bool, one_sided: bool = False, lines: Sequence[int] | None = None
) -> list[str]:
    """The notes on sentence pairs of ``name``, pair k of ``lines[k - 1]`` or of line k; a ``training`` leaves out those
    with an empty side.

    In ``one_sided`` text every pair is meant to be a copy.
    """
    left_out = "; left out" if training else ""
    empty = [number for number, (src, trg) in enumerate(pairs, start=1) if not (src.strip() and trg.strip())]
    found: list[tuple[list[int], str]] = [
        ([k for k in empty if "".join(pairs[k - 1]).strip()], f"have text on one side only{left_out}"),
        ([k for k in empty if not "".join(pairs[k - 1]).strip()], f"are empty on both sides{left_out}"),
        (_repeated(pairs), "repeat an earlier pair"),
        ([] if one_sided else _copies(pairs), "have a target equal to the source"),
        (_quoted(pairs), "have a field in quotes, as CSV has; the quotes count as text"),
        *_odd_characters(pairs),
    ]
    where = lines or range(1, len(pairs) + 1)
    notes = [note(name, len(pairs), [where[number - 1] for number in numbers], what) for numbers, what in found]
    return [*_header(pairs, name, where), *filter(None, notes)]


def tabs(pairs: Sequence[Pair], name: str) -> list[str]:
    """A note where parallel text holds tabs, which become parts of tokens."""
    found = _places("\t" in src or "\t" in trg for src, trg in pairs)
    return [note(name, len(pairs), found, "hold a tab, where one sentence a line is expected")] if found else []


def count_tabs(lines: Sequence[str]) -> int:
    return sum("\t" in line for line in lines)


def count_csv(lines: Sequence[str]) -> int:
    """How many lines are rows of quoted fields with a comma or a semicolon between them."""
    return sum(line[:1] == '"' and _CSV_ROW.fullmatch(line.strip()) is not None for line in lines)


def note(name: str, total: int, lines: Sequence[int], what: str) -> str:
    """One line on the pairs of the given lines; empty if there are none."""
    where = f"line {lines[0]}" if len(lines) == 1 else f"the first in line {lines[0]}" if lines else ""
    return f"{name}: {len(lines):,} of {counted(total, 'pair')} {agreeing(len(lines), what)} ({where})" if lines else ""


def _places(flags: Iterable[bool]) -> list[int]:
    """The numbers, from 1, of the true ones."""
    return list(compress(count(1), flags))


def _repeated(pairs: Sequence[Pair]) -> list[int]:
    """The pairs that stood before; empty ones are counted elsewhere."""
    if len(set(pairs)) == len(pairs):
        return []
    first: dict[Pair, int] = {}
    return _places(first.setdefault(pair, number) < number and any(pair) for number, pair in enumerate(pairs))


def _copies(pairs: Sequence[Pair]) -> list[int]:
    """The pairs of equal sides; a single one, of a name or a number, is nothing odd."""
    found = [number for number, (src, trg) in enumerate(pairs, start=1) if src == trg and src.strip()]
    return found if len(found) > 1 else []


def _quoted(pairs: Sequence[Pair]) -> list[int]:
    """The pairs with a field in quotes, if most have one, else those whose quotes are doubled inside of quotes."""
    found = [k for k, (src, trg) in enumerate(pairs, start=1) if _in_quotes(src) or _in_quotes(trg)]
    if 2 * len(found) > len(pairs):
        return found
    return [k for k in found if any(_in_quotes(field) and '""' in field[1:-1] for field in pairs[k - 1])]


def _in_quotes(field: str) -> bool:
    return field[:1] == '"' == field[-1:] and len(field) > 1


def _odd_characters(pairs: Sequence[Pair]) -> list[tuple[list[int], str]]:
    """By kind, the pairs with characters that do not belong into text."""
    suspects = [k for k, (src, trg) in enumerate(pairs, start=1) if _is_suspect(src) or _is_suspect(trg)]
    return [
        ([k for k in suspects if re.search(characters, "\n".join(pairs[k - 1]))], f"hold {kind}")
        for kind, characters in _ODD.items()
    ]


def _is_suspect(sentence: str) -> bool:
    """Whether it may hold one of the odd characters; in little time for most sentences."""
    if "&" in sentence or not sentence.isprintable():
        return True
    return not sentence.isascii() and any(odd in sentence for odd in ("\ufffd", "\u00c3", "\u00e2\u20ac"))


def _header(pairs: Sequence[Pair], name: str, lines: Sequence[int]) -> list[str]:
    """A note where the first pair looks like the names of columns, and the second one does not."""
    if not pairs or not _are_headings(pairs[0]) or any(_are_headings(pair) for pair in pairs[1:2]):
        return []
    src, trg = pairs[0]
    looks = f"line {lines[0]} looks like a header ({src!r}, {trg!r})"
    return [f"{name}: {looks} and counts as a pair; tail -n +2 leaves it out"]


def _are_headings(pair: Pair) -> bool:
    return pair[0] != pair[1] and all(map(is_heading, pair))


def is_heading(field: str) -> bool:
    """Whether a field looks like the name of a column."""
    return _HEADING.fullmatch(field.strip('" ')) is not None
