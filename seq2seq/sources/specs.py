"""Which files a specification such as that of --data names: tables, two parallel texts, archives and folders of them.

    CORPUS.tsv                  a table, also .csv, .jsonl, .txt with tabs, each plain or .gz
    SRC,TRG                     two parallel texts
    CORPUS.zip, FOLDER          all tables and pairs of texts in it
    CORPUS.zip/MEMBER           one of them
    -                           a table from standard input
    a.tsv,b.csv,c.de,c.en       several, one after the other

Contract: a comma may also be part of a name, where a file of that name is there. Files of a folder or an archive are
taken in the order of their names; those that are called train, valid (val, dev) or test are of that split.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.run.errors import UserError
from seq2seq.sources.files import STDIN, is_gzip, member_names, split_member
from seq2seq.sources.forms import form_of

# What is neither a table nor a text, by its name.
_NO_TEXT = (".json", ".xls", ".xlsx", ".ods", ".parquet", ".docx", ".pdf")
_NO_CORPUS = re.compile(r"(^|/)[._]|(^|/)(readme|license)[^/]*$", re.IGNORECASE)  # in a folder or an archive
_MOST_COMMAS = 16  # in a name
_SPLIT_OF = {
    **dict.fromkeys(("valid", "validation", "val", "dev", "newsdev"), "valid"),
    **dict.fromkeys(("test", "eval", "newstest"), "test"),
}
_FORMS = "CORPUS.tsv (.csv, .jsonl, .txt, .zip, a folder, -)"


class Part(NamedTuple):
    """A table, two parallel texts, or one text: the paths of its files."""

    paths: tuple[str, ...]
    is_table: bool


def split_spec(argument: str, spec: str, one_sided: bool = False) -> list[str]:
    """The paths in a specification, in order; ``one_sided`` where a text may stand alone.

    Raises:
        UserError: the specification has another form.
    """
    return [path for part in parts_of(argument, spec, one_sided) for path in part.paths]


def parts_of(argument: str, spec: str, one_sided: bool = False) -> list[Part]:
    """The tables and texts in a specification, folders and archives as they are.

    Args:
        argument: what the user called it.
        one_sided: a text may stand alone, as its own target.

    Raises:
        UserError: the specification has another form.
    """
    paths = _pieces(spec)
    texts = [path for path in paths if not _is_table(path)]
    alone = len(paths) == 1 and (one_sided or os.path.isfile(split_member(spec)[0]))
    if not all(paths) or (len(texts) % 2 and not alone and len(texts) == len(paths)):
        expected = f"{_FORMS}, SRC,TRG or TEXT" if one_sided else f"{_FORMS} or SRC,TRG"
        raise UserError(f"{argument} is {spec!r}; expected {_named_sets(argument)}files as {expected}")
    for path in texts:
        if path.lower().removesuffix(".gz").endswith(_NO_TEXT):
            raise UserError(f"{path}: {_MIXED}")
    if alone and texts:
        return [Part((spec,), is_table=not one_sided)]
    return _in_pairs(paths)


_MIXED = (
    "a table or an archive by its name; expected SRC,TRG as two text files of one sentence a line, or tables alone, as "
    "CORPUS.tsv, .csv or .jsonl"
)


def _in_pairs(paths: Sequence[str]) -> list[Part]:
    """Tables by themselves, texts two by two."""
    parts: list[Part] = []
    waiting: str | None = None
    for path in paths:
        if not _is_table(path):
            if waiting is not None:
                parts.append(Part((waiting, path), is_table=False))
            waiting = path if waiting is None else None
        elif waiting is not None:
            raise UserError(f"{path}: {_MIXED}")
        else:
            parts.append(Part((path,), is_table=True))
    if waiting is not None:
        table = next(path for path in paths if _is_table(path))
        raise UserError(f"{table}: {_MIXED}")
    return parts


def _pieces(spec: str) -> list[str]:
    """The paths between the commas; a comma belongs to a name where a file of that name is there."""
    words, found = spec.split(","), []
    while words:
        longest = min(len(words), _MOST_COMMAS)
        joined = (size for size in range(longest, 1, -1) if os.path.exists(",".join(words[:size])))
        size = next(joined, 1)
        found.append(_trimmed(",".join(words[:size])))
        words = words[size:]
    return found


def _trimmed(path: str) -> str:
    """A path without the blanks around it, unless they belong to the name."""
    return path if os.path.exists(path) else path.strip()


def _is_table(path: str) -> bool:
    """Whether a path stands for pairs by itself: a table, an archive or a folder of them, standard input."""
    return path == STDIN or form_of(path) is not None or is_collection(path)


def is_collection(path: str) -> bool:
    """Whether a path is an archive, or a folder."""
    return split_member(path)[1] is None and (path.lower().endswith(".zip") or os.path.isdir(path))


def files_named(*specs: str | None) -> list[Path]:
    """The files that are there of those that specifications name, archives for their members: no output may be one."""
    names = [name for spec in specs if spec is not None for name in (spec, *spec.split(","))]
    return [Path(path) for path, _ in map(split_member, map(_trimmed, names)) if os.path.isfile(path)]


def _named_sets(argument: str) -> str:
    from seq2seq.sources.named import NAMED_SETS

    names = ", ".join(["numbers", *NAMED_SETS])
    return f"one of {names}, or " if argument == "data" else ""  # a named set has its own splits


def relocated(argument: str, spec: str, change: Callable[[str], str]) -> str:
    """A specification whose files have other paths; standard input stays."""

    def moved(path: str) -> str:
        outer, member = split_member(path)
        return path if path == STDIN else change(outer) if member is None else f"{change(outer)}/{member}"

    return ",".join(map(moved, split_spec(argument, spec, one_sided=True)))


# --- folders and archives ---------------------------------------------------------------------------------------------
def collected(path: str, languages: tuple[str | None, str | None]) -> dict[str, list[Part]]:
    """By the split, the tables and the pairs of texts that a folder or an archive holds.

    Args:
        languages: codes of source and target that are asked for; without them texts of two languages are taken in the
            order of their codes.

    Raises:
        UserError: there is none, or a text has no counterpart.
    """
    names = _listed(path)
    tables = [name for name in names if form_of(name) is not None or _suffix(name) == ".txt"]
    pairs = _paired(path, [name for name in names if name not in tables and suffix_language(name) != "xx"], languages)
    found: list[tuple[str, ...]] = sorted([*((name,) for name in tables), *pairs])
    if len(names) == 1 and not found:  # whatever it is called
        found = [(names[0],)]
    if not found:
        raise UserError(f"{path}: no corpus in it; expected tables (.tsv, .csv, .jsonl, .txt) or texts as train.de")
    splits: dict[str, list[Part]] = {}
    for both in found:
        part = Part(tuple(f"{path}/{name}" for name in both), is_table=len(both) == 1)
        splits.setdefault(_split_of(both[0]), []).append(part)
    return splits


def _listed(path: str) -> list[str]:
    """The names of files in a folder or an archive, without those that are hidden or say what it is."""
    if path.lower().endswith(".zip") and not os.path.isdir(path):
        names = member_names(path)
    else:
        names = [entry.name for entry in os.scandir(path) if entry.is_file()]
    return sorted(name for name in names if not _NO_CORPUS.search(name))


def _suffix(name: str) -> str:
    return Path(name[:-3] if is_gzip(name) else name).suffix.lower()


def suffix_language(path: str) -> str:
    """The language code at the end of a file name such as train.de.gz, else "xx"."""
    suffix = _suffix(path)[1:]
    return suffix if len(suffix) == 2 and suffix.isascii() and suffix.isalpha() else "xx"


def _paired(path: str, names: Sequence[str], languages: tuple[str | None, str | None]) -> list[tuple[str, str]]:
    """Texts of one name in two languages, source first."""
    by_stem: dict[str, dict[str, str]] = {}
    for name in names:
        stem = name[: -len(".gz")] if is_gzip(name) else name
        by_stem.setdefault(stem[:-3], {})[suffix_language(name)] = name
    codes = _both_codes(path, sorted({code for files in by_stem.values() for code in files}), languages)
    pairs = []
    for stem, files in by_stem.items():
        missing = [code for code in codes if code not in files]
        if len(missing) == 1:
            there = next(code for code in codes if code in files)
            raise UserError(f"{path}/{files[there]}: stands alone; expected {stem}.{missing[0]} beside it")
        if not missing:
            pairs.append((files[codes[0]], files[codes[1]]))
    return pairs


def _both_codes(path: str, there: Sequence[str], languages: tuple[str | None, str | None]) -> tuple[str, ...]:
    """Those of source and target among the codes that are there; none where there are no texts."""
    if not there:
        return ()
    asked = [code if code in there else None for code in languages]
    rest = [code for code in there if code not in asked]
    codes = tuple(code or (rest.pop(0) if rest else "") for code in asked)
    if not set(codes) <= {*there} or (rest and None in asked):
        listed = ", ".join(there)
        raise UserError(f"{path}: texts in {listed}; expected two languages, or --src-language and --trg-language")
    return codes


def _split_of(name: str) -> str:
    word = re.split(r"[^a-z]", Path(name).name.lower(), maxsplit=1)[0]
    return _SPLIT_OF.get(word, "train")
