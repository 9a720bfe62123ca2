"""Characters that do not belong into text: traces of wrong encodings, of markup, of line ends and of other tools."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from seq2seq.inspection.contract import Corpus, check, rare
from seq2seq.sources.reading import ENTITY

# UTF-8 of letters and quotation marks read as Latin-1 or Windows-1252: a lead byte as a letter, and what follows it.
_MOJIBAKE = re.compile(
    "\u00c3[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u2013\u2014\u2018-\u2022\u2026\u20ac\u2122]"
    "|\u00c2[\u0080-\u00bf]|[\u00c4\u00c5][\u0080-\u009f\u0152\u0153\u0178\u017d\u017e\u201a\u0192\u20ac\u2122]"
    "|(?:[\u00d0\u00d1][\u0080-\u00bf\u2018-\u2026\u0152\u0160\u20ac\u2122]){2}|\u00e2\u20ac|\u00ef\u00bb\u00bf"
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")
_LINE_ENDS = re.compile("[\r\n\x0b\x0c\x85\u2028\u2029]|(?<![\\\\:])\\\\[rn](?!\\\\)")
# Zero-width blanks, marks of direction and soft hyphens; joiners (U+200C, U+200D) are letters of some scripts.
_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069]")
_TAGS = (
    "a abbr b big blockquote body br center code div em font h1 h2 h3 h4 h5 h6 head hr html i img input li meta ol p "
    "pre q s script small span strike strong style sub sup table tbody td th title tr tt u ul"
)
_TAG = re.compile(rf"</?(?:{'|'.join(_TAGS.split())})(?:\s[^<>]*)?/?>|<!--", re.IGNORECASE)
_SPACES = re.compile(r"^\s|\s$|[ \u00a0\u2000-\u200a\u3000]{2}|\t")
_CSV_QUOTES = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
_MIXED = re.compile("[A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u052f]{3,}")
_SCRIPTS = (re.compile("[A-Za-z\u00c0-\u024f]"), re.compile("[\u0370-\u03ff]"), re.compile("[\u0400-\u052f]"))


def _with(corpus: Corpus, is_odd: Callable[[str], object]) -> Iterator[int]:
    """The pairs of which a side is odd."""
    return (number for number, item in enumerate(corpus.items) if is_odd(item.src) or is_odd(item.trg))


@check("error", "hold UTF-8 that was read as Latin-1 or Windows-1252 (\u00c3\u00a9 for \u00e9)",
       "convert the files anew, from their own encoding to UTF-8")  # fmt: skip
def mojibake(corpus: Corpus) -> Iterable[int]:
    return _with(corpus, lambda text: not text.isascii() and _MOJIBAKE.search(text))


@check("error", "hold U+FFFD, the mark of a character that a conversion lost",
       "convert the files anew, from their own encoding to UTF-8")  # fmt: skip
def lost_characters(corpus: Corpus) -> Iterable[int]:
    return _with(corpus, lambda text: "\ufffd" in text)


@check("warning", "hold a byte order mark (U+FEFF) inside, as where files were joined", "remove the mark")
def byte_order_marks(corpus: Corpus) -> Iterable[int]:
    return _with(corpus, lambda text: "\ufeff" in text)


@check("warning", "hold control characters", "remove them")
def control_characters(corpus: Corpus) -> Iterable[int]:
    return _with(corpus, lambda text: not text.isprintable() and _CONTROLS.search(text))


@check("warning", "hold a line end inside, or a \\n that is spelled out", "write a blank in its place")
def line_ends(corpus: Corpus) -> Iterable[int]:
    def holds_one(text: str) -> object:
        is_suspect = ("\\" in text and ":\\" not in text) or not text.isprintable()  # no path of Windows
        return is_suspect and _LINE_ENDS.search(text)

    return _with(corpus, holds_one)


@check("warning", "hold characters that cannot be seen: zero-width blanks, soft hyphens, marks of direction",
       "remove them: the same word with and without one is two words")  # fmt: skip
def invisible_characters(corpus: Corpus) -> Iterable[int]:
    found = list(_with(corpus, lambda text: not text.isascii() and _INVISIBLE.search(text)))
    return rare(found, len(corpus.items), 0.5)  # marks of direction are usual in some scripts


@check("warning", "hold a word of letters of several scripts, as a Latin o among Cyrillic letters",
       "write each word in one script")  # fmt: skip
def mixed_scripts(corpus: Corpus) -> Iterable[int]:
    def is_mixed(text: str) -> bool:
        words = () if text.isascii() else _MIXED.findall(text)
        return any(sum(script.search(word) is not None for script in _SCRIPTS) > 1 for word in words)

    return _with(corpus, is_mixed)


@check("warning", "hold HTML tags", "remove the markup")
def html_tags(corpus: Corpus) -> Iterable[int]:
    return rare(_with(corpus, lambda text: "<" in text and _TAG.search(text)), len(corpus.items), 0.9)


@check("warning", "hold HTML entities, such as &amp;", "--unescape-html undoes them")
def html_entities(corpus: Corpus) -> Iterable[int]:
    return _with(corpus, lambda text: "&" in text and ENTITY.search(text))


@check("hint", "hold decomposed letters, a base and a mark, where the rest is composed", "normalise the text to NFC")
def decomposed_letters(corpus: Corpus) -> Iterable[int]:
    found = list(_with(corpus, lambda text: not text.isascii() and not unicodedata.is_normalized("NFC", text)))
    return rare(found, len(corpus.items), 0.5)


@check("hint", "have blanks at an end, several in a row, or tabs", "harmless, but for tokens of single characters")
def odd_blanks(corpus: Corpus) -> Iterable[int]:
    return _with(corpus, lambda text: text.strip() and _SPACES.search(text))


@check("warning", "have a field in quotes, with doubled quotes inside, as CSV has", "--data-format csv reads them")
def csv_quotes(corpus: Corpus) -> Iterable[int]:
    return _with(corpus, lambda text: text[:1] == '"' == text[-1:] and _CSV_QUOTES.fullmatch(text))
