"""Tables of pairs: TSV, CSV and JSON Lines, each a reader of records, and how their columns are found.

Contract: a table is read line by line. What a record lacks is told with its file and line. A header is told, and is no
pair. A line break within a field of CSV or of JSON becomes a blank.

- tsv: fields between tabs, without quotes; a field is what stands there.
- csv: as RFC 4180 and spreadsheets have it: quotes, doubled within quotes, line breaks within quotes; fields are
  separated by commas, semicolons, tabs or bars, whichever fits the first lines.
- jsonl: a JSON object or array on each line; keys of an object within one are OUTER.INNER.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted, shown
from seq2seq.sources.dataset import Pair
from seq2seq.sources.files import BadLines, is_gzip
from seq2seq.sources.reading import AUTO, Reading, one_line
from seq2seq.sources.report import is_heading, note

_DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 20  # lines by which a delimiter is chosen
_SRC_NAMES = {"src", "source", "input", "original", "question", "text", "article", "spelling"}
_TRG_NAMES = {"trg", "tgt", "target", "output", "translation", "answer", "summary", "phones", "pronunciation"}
_OTHER_NAMES = {"", "id", "idx", "index", "no", "nr", "number", "#", "url", "date", "unnamed: 0"}

Line = tuple[int, str]  # its number, from 1, and its text


class Record(NamedTuple):
    """A row: the line in which it begins, its fields, and their names where each row names its own."""

    line: int
    fields: Sequence[Any]
    names: Sequence[str] | None = None


class Columns(NamedTuple):
    """Where the source and the target stand in a record, and under which names if under any."""

    src: int
    trg: int
    names: tuple[str, str] | None = None


class Table(NamedTuple):
    """The pairs of a file.

    Attributes:
        lines: of each pair the line in which it begins.
        names: of the two columns, where they have names.
        notes: what is to be told of the reading.
        unreadable: lines that were skipped.
        first_fault: what was wrong with the first of them.
    """

    pairs: list[Pair]
    lines: list[int]
    names: tuple[str, str] | None
    notes: list[str]
    unreadable: int = 0
    first_fault: str = ""


# --- the forms --------------------------------------------------------------------------------------------------------
def _tsv(lines: Iterator[Line], name: str, fail: BadLines) -> Iterator[Record]:
    return (Record(number, line.split("\t")) for number, line in lines)


def _csv(lines: Iterator[Line], name: str, fail: BadLines) -> Iterator[Record]:
    first = list(islice(lines, _LOOKED_AT))
    last = 0

    def told() -> Iterator[str]:
        nonlocal last
        for last, line in chain(first, lines):  # noqa: B007  (how far the reader has come)
            yield line + "\n"

    rows = csv.reader(told(), delimiter=_delimiter([line for _, line in first]), strict=True, skipinitialspace=True)
    while True:
        begin = last + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            fail(f"{name}:{begin}: {error}; expected fields with quotes closed, and doubled within quotes")
            continue
        if row:
            yield Record(begin, [one_line(field) for field in row])


def _delimiter(lines: Sequence[str]) -> str:
    """What separates the fields: that which most lines have equally often, outside of quotes."""

    def lines_that_agree(delimiter: str) -> int:
        counts = Counter(re.sub(r'"(?:[^"]|"")*"', "", line).count(delimiter) for line in lines)
        return max((number for count, number in counts.items() if count), default=0)

    return max(_DELIMITERS, key=lines_that_agree)


def _jsonl(lines: Iterator[Line], name: str, fail: BadLines) -> Iterator[Record]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            fail(f"{name}:{number}: no JSON ({error}); expected an object or an array on each line")
            continue
        if isinstance(value, dict):
            flat = _flat(value)
            yield Record(number, [_on_one_line(each) for each in flat.values()], list(flat))
        elif isinstance(value, list):
            yield Record(number, [_on_one_line(each) for each in value])
        else:
            fail(f"{name}:{number}: {shown(value)}; expected a JSON object or array")


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """The values of an object, and of the objects in it."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        inner = value if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{name}": each for name, each in inner.items()}
    return flat


def _on_one_line(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value


class Form(NamedTuple):
    """A form of tables: how their names end, and what makes records of their numbered lines."""

    suffixes: tuple[str, ...]
    records: Callable[[Iterator[Line], str, BadLines], Iterator[Record]]
    may_have_header: bool


FORMS = {
    "tsv": Form((".tsv", ".tab"), _tsv, True),
    "csv": Form((".csv",), _csv, True),
    "jsonl": Form((".jsonl", ".ndjson"), _jsonl, False),
}


def form_of(path: str) -> str | None:
    """The form of the table that a file is by its name, if it is one."""
    stem = path[:-3] if is_gzip(path) else path
    return next((form for form, one in FORMS.items() if stem.lower().endswith(one.suffixes)), None)


def _form_of_line(line: str) -> str | None:
    """The form that the first line of a table has."""
    return "jsonl" if line.lstrip()[:1] == "{" else "tsv" if "\t" in line else None


# --- a table ----------------------------------------------------------------------------------------------------------
def read_table(
    path: str, name: str, lines: Iterable[str | None], reading: Reading, fail: BadLines,
    languages: tuple[str | None, str | None] = (None, None), source_alone: bool = False,
) -> Table:  # fmt: skip
    """The pairs of a table; arguments and errors as of ``open_table``."""
    opened = open_table(path, name, lines, reading, fail, languages, source_alone)
    pairs, places, wide = [], [], []
    for line, pair, width in opened.rows:
        pairs.append(pair)
        places.append(line)
        if width > 2:
            wide.append(line)
    notes = opened.notes
    if wide and opened.names is None and reading.src_column == reading.trg_column == AUTO:
        notes.append(note(name, len(pairs), wide, "have more than two columns; the others are not read"))
    return Table(pairs, places, opened.names, notes, fail.count, fail.first)


class Opened(NamedTuple):
    """A table whose head was read: names of its two columns, where they have names; what is to be told of it; and of
    each record its line, its pair and how many fields it has."""

    names: tuple[str, str] | None
    notes: list[str]
    rows: Iterator[tuple[int, Pair, int]]


def open_table(
    path: str, name: str, lines: Iterable[str | None], reading: Reading, fail: BadLines,
    languages: tuple[str | None, str | None] = (None, None), source_alone: bool = False,
) -> Opened:  # fmt: skip
    """A table that is read record by record.

    Args:
        path: of the file; its name, or the first line, says its form.
        name: what messages call it.
        lines: of the file; None is one that could not be read.
        fail: takes note of a line at fault.
        languages: codes of source and target that are asked for, by which columns may be called.
        source_alone: of each pair the source is wanted and no more; there may be no target.

    Raises:
        UserError: no form fits, a column is not there, or a line is at fault.
    """
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line is not None)
    first = list(islice(numbered, 1))
    form = _form(path, name, first, reading)
    records = FORMS[form].records(chain(first, numbered), name, fail)
    head = list(islice(records, 2))
    if not head:
        raise UserError(f"{name}: no record; expected pairs")
    has_header = FORMS[form].may_have_header and _has_header(head, reading)
    names = [str(field).strip() for field in head[0].fields] if has_header else head[0].names
    columns = _columns(names, head[0].fields, reading, languages, f"{name}:{head[0].line}", source_alone)
    notes = [_header_note(name, head[0].line, columns)] if has_header and columns.names else []
    fields = _Fields(name, form, columns, head[0].names)
    return Opened(columns.names, notes, _rows(chain(head[has_header:], records), fields, reading, fail))


def _form(path: str, name: str, first: Sequence[Line], reading: Reading) -> str:
    """The form of a table: the one that is asked for, that of its name, or that of its first line."""
    found = form_of(path) or (_form_of_line(first[0][1]) if first else None)
    if reading.data_format != AUTO:
        return reading.data_format
    if found is None:
        expected = "source TAB target, or JSON; of other tables --data-format says the form, and two texts are SRC,TRG"
        raise UserError(f"{name}:1: neither a tab nor a JSON object; expected {expected}")
    return found


def _rows(
    records: Iterable[Record], fields: _Fields, reading: Reading, fail: BadLines
) -> Iterator[tuple[int, Pair, int]]:
    for row in records:
        try:
            src, trg = (reading.cleaned(fields.text(row, column)) for column in fields.columns[:2])
        except UserError as error:
            fail(str(error))
            continue
        yield row.line, (trg, src) if reading.swap else (src, trg), len(row.fields)


class _Fields(NamedTuple):
    """What takes the fields of records, all of which are as the first one is: ``keys`` are those of JSON objects."""

    name: str
    form: str
    columns: Columns
    keys: Sequence[str] | None

    def text(self, row: Record, column: int) -> str:
        """A field; UserError where a record has none, or one that is no text."""
        where = f"{self.name}:{row.line}"
        place = self._place(row, column, where)
        if place >= len(row.fields):
            count = len(row.fields)
            expected = "source TAB target" if self.form == "tsv" and column < 2 else f"{column + 1} at least"
            raise UserError(f"{where}: {counted(count, 'column')}; expected {expected}")
        text = row.fields[place]
        if not isinstance(text, str):
            raise UserError(f"{where}: {shown(text)}; expected text")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError(f"{where}: a lone surrogate; expected valid Unicode")
        return text

    def _place(self, row: Record, column: int, where: str) -> int:
        """Where in a record a column stands."""
        if (row.names is None) != (self.keys is None):
            kinds = ("an array", "an object") if row.names is None else ("an object", "an array")
            raise UserError(f"{where}: {kinds[0]}; expected {kinds[1]}, as in the first line")
        if self.keys is None or row.names is None or row.names == self.keys:
            return column
        if column >= len(self.keys) or self.keys[column] not in row.names:
            key = shown(self.keys[column]) if column < len(self.keys) else f"key {column + 1}"
            raise UserError(f"{where}: no {key}; expected an object with it")
        return list(row.names).index(self.keys[column])


# --- columns ----------------------------------------------------------------------------------------------------------
def _has_header(head: Sequence[Record], reading: Reading) -> bool:
    """Whether the first record names the columns, and the second one is none that might do so too."""
    if reading.header != AUTO:
        return reading.header == "present"
    first = [str(field) for field in head[0].fields]
    asked = [name for name in (reading.src_column, reading.trg_column) if name != AUTO and not name.isdecimal()]
    if asked:
        return all(_places(name, first) for name in asked)
    return _names_columns(first) and not any(_names_columns([str(field) for field in row.fields]) for row in head[1:])


def _names_columns(fields: Sequence[str]) -> bool:
    """Whether fields look like names of columns: two others at least as names of them are, and none like a sentence."""
    named = {field for field in fields if is_heading(field)}
    return len(named) >= 2 and all(re.fullmatch(r"[^.!?]{0,30}", one) for one in fields)


def _columns(
    names: Sequence[str] | None, first: Sequence[Any], reading: Reading, languages: tuple[str | None, str | None],
    where: str, source_alone: bool,
) -> Columns:  # fmt: skip
    """The columns that are asked for, by name or number; else those that their names tell, or the first two."""
    auto = _told_by_names(names, languages) if names is not None else (0, 1)
    asked = [("src_column", reading.src_column), ("trg_column", reading.trg_column)]
    found = [_asked(*one, names, first, where) if one[1] != AUTO else None for one in asked]
    src, trg = found
    if src is None and trg is None:
        src, trg = auto
    elif src is None or trg is None:
        other = next(place for place in (*auto, 0, 1) if place not in found)
        src, trg = other if src is None else src, other if trg is None else trg
    if source_alone:
        src = trg = trg if reading.swap and (len(first) > 1 or found[1] is not None) else src
    elif src == trg:
        raise UserError(f"src_column, trg_column: both are column {src + 1}; expected two")
    if names is None or max(src, trg) >= len(names):
        return Columns(src, trg)
    return Columns(src, trg, (names[src], names[trg]))


def _asked(option: str, wanted: str, names: Sequence[str] | None, first: Sequence[Any], where: str) -> int:
    """The place of a column that is asked for."""
    places = _places(wanted, names) if names is not None else []
    if len(places) > 1:
        same = f"columns {' and '.join(str(place + 1) for place in places)} are called so; expected the number of one"
        raise UserError(f"{where}: {option} is {shown(wanted)}; {same}")
    if places:
        return places[0]
    if wanted.isdecimal() and wanted.isascii() and 1 <= len(wanted) <= 6 and int(wanted):
        return int(wanted) - 1
    there = "there are" if names is not None else "the first line has"
    listed = ", ".join(map(shown, (first if names is None else names)[:20]))
    raise UserError(f"{where}: {option} is {shown(wanted)}; {there} {listed}")


def _places(wanted: str, names: Sequence[str]) -> list[int]:
    """Where a name stands among those of columns; else where it does without its case, else within an object."""
    wanted, exact = wanted.strip(), [name.strip() for name in names]
    plain = [name.casefold() for name in exact]
    inner = [name.rpartition(".")[2] for name in plain]
    for name, known in ((wanted, exact), (wanted.casefold(), plain), (wanted.casefold(), inner)):
        if name in known:
            return [place for place, one in enumerate(known) if one == name]
    return []


def _told_by_names(names: Sequence[str], languages: tuple[str | None, str | None]) -> tuple[int, int]:
    """Columns that are called by the languages that are asked for, or by what they hold; else the first two."""
    plain = [name.rpartition(".")[2].strip().casefold() for name in names]
    roles = (_SRC_NAMES, _TRG_NAMES)
    by_role = [next((place for place, name in enumerate(plain) if name in known), None) for known in roles]
    by_language = [next(iter(_places(code, names)), None) if code else None for code in languages]
    src, trg = (one if one is not None else other for one, other in zip(by_language, by_role, strict=True))
    if src == trg:
        src = None
    rest = [place for place, name in enumerate(plain) if place not in (src, trg) and name not in _OTHER_NAMES]
    rest += [place for place in (0, 1) if place not in (src, trg, *rest)]
    src = rest.pop(0) if src is None else src
    return src, rest.pop(0) if trg is None else trg


def _header_note(name: str, line: int, columns: Columns) -> str:
    src, trg = map(shown, columns.names or ("", ""))
    read = f"column {src} is read" if columns.src == columns.trg else f"columns {src} and {trg} are read"
    return f"{name}: line {line} is a header; {read} (--header absent takes it for a pair)"
