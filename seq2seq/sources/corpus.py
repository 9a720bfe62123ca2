"""The user's own files as a data set: tables, parallel texts, or a text that is its own target.

Contract: a training pair without text on both sides is left out and counted, since it would teach silence or noise; the
other splits keep every line. What else looks wrong is counted by ``report`` and trained on as it is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeVar

from seq2seq.run.errors import UserError
from seq2seq.run.messages import agreeing, counted
from seq2seq.sources import report
from seq2seq.sources.dataset import Dataset, Languages, Pair, hold_out, parts_of_files
from seq2seq.sources.files import STDIN, STDIN_NAME, BadLines, sha256_of, split_member, text_lines, unchanged
from seq2seq.sources.forms import Table, form_of, open_table, read_table
from seq2seq.sources.reading import AUTO, PLAIN, Reading
from seq2seq.sources.specs import Part, collected, is_collection, parts_of, suffix_language

HELD_OUT_SHARE, HELD_OUT_LIMIT = 0.02, 1000
_NO_LINE = object()  # behind the end of a text
T = TypeVar("T")


def load_files(
    data: str, src_language: str | None, trg_language: str | None, valid: str | None, test: str | None,
    one_sided: bool = False, reading: Reading = PLAIN,
) -> Dataset:  # fmt: skip
    """A data set of files; arguments and errors as ``load_dataset``."""
    found = read_files(data, (src_language, trg_language), valid, test, one_sided, reading)
    splits = {name: [pair for _, table in tables for pair in table.pairs] for name, tables in found.tables.items()}
    whole = [pair for pair in splits["train"] if pair[0].strip() and pair[1].strip()]
    left_out, splits["train"] = len(splits["train"]) - len(whole), whole
    if "valid" not in splits:
        splits["valid"], splits["train"] = hold_out(splits["train"], (HELD_OUT_SHARE,), HELD_OUT_LIMIT)
    if not splits["train"]:
        raise UserError(f"{data}: {_shortage(splits)}; expected more, or a valid file beside it")
    return Dataset(
        name=data,
        src_language=found.languages[0],
        trg_language=found.languages[1],
        splits=splits,
        checksums=found.checksums,
        parts=found.parts,
        notes=found.notes,
        left_out=left_out,
        unreadable=sum(table.unreadable for _, table in found.tables["train"]),
    )


class FilesRead(NamedTuple):
    """What files hold, before anything is left out or held out.

    Attributes:
        tables: by the split, what messages call each part, and its pairs.
        languages: codes of source and target.
        checksums: sha256 (hex) of every file by its path.
        parts: the splits that each has a part in.
        notes: what is to be told of them.
    """

    tables: dict[str, list[tuple[str, Table]]]
    languages: tuple[str, str]
    checksums: dict[str, str]
    parts: dict[str, set[str]]
    notes: tuple[str, ...]


def read_files(
    data: str, languages: Languages = (None, None), valid: str | None = None, test: str | None = None,
    one_sided: bool = False, reading: Reading = PLAIN,
) -> FilesRead:  # fmt: skip
    """The pairs of files, all of them, with their lines; arguments and errors as of ``load_dataset``."""
    given = {name: spec for name, spec in (("train", data), ("valid", valid), ("test", test)) if spec is not None}
    parts = parts_of_splits(given, languages, one_sided, reading)
    reader = Reader(reading, languages, one_sided)
    files = files_of(path for each in parts.values() for part in each for path in part.paths)
    with unchanged(files):
        tables = {name: [reader.read(part, name == "train") for part in each] for name, each in parts.items()}
        checksums = {path: sha256_of(path) for path in files} | reader.digests
    told = reader.languages(parts["train"][0], tables["train"][0][1].names)
    src, trg = (asked or found for asked, found in zip(languages, told, strict=True))
    return FilesRead(tables, (src, trg), checksums, parts_of_files(files_of_splits(parts)), tuple(reader.notes))


def read_pairs(argument: str, spec: str, reading: Reading = PLAIN, languages: Languages = (None, None)) -> list[Pair]:
    """The pairs of a specification, all of them; `argument` is what the user called it."""
    return _read_all(argument, spec, reading, languages, one_sided=False)


def read_copies(argument: str, spec: str, reading: Reading = PLAIN, languages: Languages = (None, None)) -> list[Pair]:
    """The lines of a text, each as a pair of itself; arguments as of `read_pairs`."""
    parts = parts_of(argument, spec, one_sided=True)
    if len(parts) > 1 or len(parts[0].paths) > 1 or parts[0].is_table:
        raise UserError(f"{argument} is {spec!r}; expected one text, which the run is to reconstruct, plain or .gz")
    return _read_all(argument, spec, reading, languages, one_sided=True)


def read_sources(path: str, reading: Reading = PLAIN, languages: Languages = (None, None)) -> list[str]:
    """The sentences of a text, a line each, or of a table those of its source column; there may be none.

    Args:
        path: a text, plain or .gz, ARCHIVE.zip/MEMBER, a table, or "-", which is a text unless ``reading`` says else.
    """
    fail = reading.faults()
    if form_of(path) is None and reading.data_format == AUTO:
        lines = text_lines(path, fail, may_be_empty=True)
        return [reading.cleaned(line) for line in lines if line is not None]
    name = STDIN_NAME if path == STDIN else path
    asked = _in_files(languages, reading)
    table = read_table(path, name, text_lines(path, fail), reading, fail, asked, source_alone=True)
    return [src for src, _ in table.pairs]


def _read_all(argument: str, spec: str, reading: Reading, languages: Languages, one_sided: bool) -> list[Pair]:
    parts = parts_of_splits({argument: spec}, languages, one_sided, reading)[argument]
    reader = Reader(reading, languages, one_sided)
    with unchanged(files_of(path for part in parts for path in part.paths)):
        return [pair for part in parts for pair in reader.read(part, training=False)[1].pairs]


def parts_of_splits(
    given: dict[str, str], languages: Languages, one_sided: bool, reading: Reading
) -> dict[str, list[Part]]:
    """By the split, what it is read from. Folders and archives given as training data may hold the other splits, too;
    given for another split, or beside it, all that they hold is of that one."""
    found: dict[str, list[Part]] = {}
    in_files = _in_files(languages, reading)
    for name, spec in given.items():
        for part in parts_of("data" if name == "train" else name, spec, one_sided):
            splits = collected(part.paths[0], in_files) if is_collection(part.paths[0]) else {"train": [part]}
            for split, parts in splits.items():
                if name != "train":
                    found.setdefault(name, []).extend(parts)
                elif split not in given or split == "train":
                    found.setdefault(split, []).extend(parts)
    if "train" in given and "train" not in found:
        raise UserError(f"{given['train']}: all of it is called valid or test; expected training data")
    if sum(part.paths == (STDIN,) for parts in found.values() for part in parts) > 1:
        raise UserError("standard input: named twice; expected a file for one of them")
    return found


def _in_files(languages: Languages, reading: Reading) -> Languages:
    """Those of the first and the second text of a pair, as files have them."""
    return (languages[1], languages[0]) if reading.swap else languages


def files_of(paths: Iterable[str]) -> list[str]:
    """The files that hold the paths, each once: an archive in place of its members, without standard input."""
    return list(dict.fromkeys(split_member(path)[0] for path in paths if path != STDIN))


def files_of_splits(parts: dict[str, list[Part]]) -> dict[str, list[str]]:
    """The files that each split is read from."""
    return {split: files_of(path for part in each for path in part.paths) for split, each in parts.items()}


class Reader:
    """Reads parts of a specification.

    Attributes:
        notes: what is to be told of what was read.
        digests: sha256 (hex) of standard input, where that was read.
    """

    def __init__(self, reading: Reading, languages: Languages, one_sided: bool) -> None:
        self._reading, self._asked, self._one_sided = reading, languages, one_sided
        self.notes: list[str] = []
        self.digests: dict[str, str] = {}

    def read(self, part: Part, training: bool) -> tuple[str, Table]:
        """What a table, two texts, or one text whose lines are their own targets are called, and their pairs."""
        table, name = (self._table if part.is_table else self._texts)(part)
        alone = self._one_sided and len(part.paths) == 1 and not part.is_table
        self.notes += [*table.notes, *report.report(table.pairs, name, training, alone, table.lines)]
        self.tell(name, table)
        return name, table

    def tell(self, name: str, skipped: Table | BadLines) -> None:
        """Take note of the lines that were skipped."""
        count, first = (skipped.count, skipped.first) if isinstance(skipped, BadLines) else skipped[-2:]
        if count:
            self.notes.append(f"{name}: {counted(count, 'line')} cannot be read; skipped (the first: {first})")

    def languages(self, part: Part, columns: tuple[str, str] | None) -> tuple[str, str]:
        """The codes that the names of files or columns tell; "xx" where they tell none."""
        names = columns or (part.paths[0], part.paths[-1])
        src, trg = (suffix_language(f"column.{name}" if columns else name) for name in names)
        return (trg, src) if self._reading.swap else (src, trg)

    def stream(self, part: Part, fail: BadLines) -> tuple[tuple[str, str] | None, Iterator[tuple[int, Pair]]]:
        """The names of the columns, if they have any, and pair by pair its line and itself."""
        if not part.is_table:
            return None, self._lines(part, fail)
        opened = self._opened(part, fail, open_table)
        self.notes += opened.notes
        return opened.names, ((line, pair) for line, pair, _ in opened.rows)

    def _table(self, part: Part) -> tuple[Table, str]:
        name = name_of(part)
        return self._opened(part, self._reading.faults(), read_table), name

    def _opened(self, part: Part, fail: BadLines, read: Callable[..., T]) -> T:
        (path,) = part.paths
        asked = _in_files(self._asked, self._reading)
        return read(path, name_of(part), text_lines(path, fail, self.digests), self._reading, fail, asked)

    def _texts(self, part: Part) -> tuple[Table, str]:
        """The pairs of the lines of two texts, or of one with itself."""
        fail, name = self._reading.faults(), name_of(part)
        lines, pairs = [], []
        for line, pair in self._lines(part, fail):
            lines.append(line)
            pairs.append(pair)
        for side, path in zip((1, 0) if self._reading.swap else (0, 1), part.paths, strict=False):
            _require_no_table([pair[side] for pair in pairs], path)
        return Table(pairs, lines, None, report.tabs(pairs, name), fail.count, fail.first), name

    def _lines(self, part: Part, fail: BadLines) -> Iterator[tuple[int, Pair]]:
        """The numbers and the pairs of the lines of two texts, or of one with itself."""
        sides = [text_lines(path, fail) for path in part.paths]
        numbers, clean = [0, 0], self._reading.cleaned
        for both in zip_longest(*sides, fillvalue=_NO_LINE):
            src, trg = both[0], both[-1]
            numbers = [number + (line is not _NO_LINE) for number, line in zip(numbers, (src, trg), strict=True)]
            if numbers[0] == numbers[1] and isinstance(src, str) and isinstance(trg, str):
                pair = clean(src), clean(trg)
                yield numbers[0], (pair[1], pair[0]) if self._reading.swap else pair
        if numbers[0] != numbers[1]:
            (first, second), (count, other) = part.paths, numbers
            raise UserError(f"{first} has {counted(count, 'line')}, {second} has {other:,}; expected equal numbers")


def name_of(part: Part) -> str:
    """What messages call a part of a specification."""
    return STDIN_NAME if part.paths == (STDIN,) else ",".join(part.paths)


def _require_no_table(lines: Sequence[str], path: str) -> None:
    """UserError where most lines of a parallel file are rows of a table."""
    for count, kind in ((report.count_tabs(lines), "a tab"), (report.count_csv(lines), 'fields as in "a","b"')):
        if 2 * count > len(lines):
            raise UserError(
                f"{path}: {count:,} of {counted(len(lines), 'line')} {agreeing(count, 'hold')} {kind}; "
                "expected one sentence a line (a table of source TAB target is given alone, as CORPUS.tsv)"
            )


def _shortage(splits: dict[str, list[Pair]]) -> str:
    return "one distinct source sentence" if any(splits.values()) else "no line with text on both sides"
