"""The user's own files as a data set: CORPUS.tsv, two parallel files SRC,TRG, or a text that is its own target.

Contract: a training pair without text on both sides is left out and counted, since it would teach silence or noise; the
other splits keep every line. What else looks wrong is counted by ``report`` and trained on as it is.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from seq2seq.run.errors import UserError
from seq2seq.sources import report
from seq2seq.sources.dataset import Dataset, Pair, hold_out
from seq2seq.sources.files import is_gzip, read_lines, read_parallel, sha256_of, split_columns, unchanged

HELD_OUT_SHARE, HELD_OUT_LIMIT = 0.02, 1000
# What two parallel files cannot be, by their names.
_NO_TEXT = (".tsv", ".tab", ".csv", ".json", ".jsonl", ".zip", ".xls", ".xlsx", ".ods", ".parquet", ".docx", ".pdf")


def load_files(
    data: str, src_language: str | None, trg_language: str | None, valid: str | None, test: str | None,
    one_sided: bool = False,
) -> Dataset:  # fmt: skip
    """A data set of files; arguments and errors as ``load_dataset``."""
    given = {name: spec for name, spec in (("train", data), ("valid", valid), ("test", test)) if spec is not None}
    files = {name: split_spec("data" if name == "train" else name, spec, one_sided) for name, spec in given.items()}
    paths = [path for both in files.values() for path in both]
    splits, notes = {}, []
    with unchanged(paths):
        for name, both in files.items():
            splits[name], found = _read(both, training=name == "train")
            notes += found
        checksums = {path: sha256_of(path) for path in paths}
    whole = [pair for pair in splits["train"] if pair[0].strip() and pair[1].strip()]
    left_out, splits["train"] = len(splits["train"]) - len(whole), whole
    if valid is None:
        splits["valid"], splits["train"] = hold_out(splits["train"], (HELD_OUT_SHARE,), HELD_OUT_LIMIT)
    if not splits["train"]:
        raise UserError(f"{data}: {_shortage(splits)}; expected more, or a valid file beside it")
    return Dataset(
        name=data,
        src_language=src_language or suffix_language(files["train"][0]),
        trg_language=trg_language or suffix_language(files["train"][-1]),
        splits=splits,
        checksums=checksums,
        notes=tuple(notes),
        left_out=left_out,
    )


def read_pairs(argument: str, spec: str) -> list[Pair]:
    """The pairs of `SRC,TRG` or of one tab-separated file, all of them; `argument` is what the user called it."""
    paths = split_spec(argument, spec)
    with unchanged(paths):
        return _read(paths, training=False)[0]


def read_copies(argument: str, spec: str) -> list[Pair]:
    """The lines of a text, each as a pair of itself; arguments as of `read_pairs`."""
    paths = split_spec(argument, spec, one_sided=True)
    if len(paths) > 1 or _has_suffix(paths[0], _NO_TEXT):
        raise UserError(f"{argument} is {spec!r}; expected one text, which the run is to reconstruct, plain or .gz")
    with unchanged(paths):
        return _read(paths, training=False)[0]


def split_spec(argument: str, spec: str, one_sided: bool = False) -> list[str]:
    """The paths in a specification: that of a table, those of the source and the target, or where it may be
    ``one_sided`` that of a text.

    A comma may also be part of a name, where files of these names are there.

    Raises:
        UserError: the specification has another form.
    """
    cuts = [number for number, character in enumerate(spec) if character == ","]
    pairs = [(_trimmed(spec[:cut]), _trimmed(spec[cut + 1 :])) for cut in cuts]
    if _has_suffix(spec, (".tsv",)) and (not pairs or os.path.isfile(spec)):
        return [spec]
    if one_sided and (not pairs or os.path.isfile(spec)):
        return [spec]
    if len(pairs) > 1:
        pairs = [pair for pair in pairs if all(map(os.path.exists, pair))]
    if len(pairs) == 1 and all(pairs[0]):
        return list(pairs[0])
    forms = "CORPUS.tsv[.gz], SRC,TRG or TEXT" if one_sided else "CORPUS.tsv[.gz] or SRC,TRG"
    raise UserError(f"{argument} is {spec!r}; expected {_named_sets(argument)}files as {forms}")


def suffix_language(path: str) -> str:
    """The language code at the end of a file name such as train.de.gz, else "xx"."""
    suffix = Path(path[:-3] if is_gzip(path) else path).suffix[1:]
    return suffix.lower() if len(suffix) == 2 and suffix.isascii() and suffix.isalpha() else "xx"


def _named_sets(argument: str) -> str:
    from seq2seq.sources.named import NAMED_SETS

    names = ", ".join(["numbers", *NAMED_SETS])
    return f"one of {names}, or " if argument == "data" else ""  # a named set has its own splits


def _trimmed(path: str) -> str:
    """A path without the blanks around it, unless they belong to the name."""
    return path if os.path.exists(path) else path.strip()


def _has_suffix(path: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().removesuffix(".gz").endswith(suffixes)


def _read(paths: Sequence[str], training: bool) -> tuple[list[Pair], list[str]]:
    """The pairs of a table, of two files, or of one text whose lines are their own targets; what is to be told of
    them."""
    one_sided = len(paths) == 1 and not _has_suffix(paths[0], (".tsv",))
    if len(paths) == 1 and not one_sided:
        lines, name = read_lines(paths[0]), str(paths[0])
        pairs = split_columns(lines, name)
        return pairs, [*report.extra_columns(lines, name), *report.report(pairs, name, training)]
    for path in paths:
        if _has_suffix(path, _NO_TEXT):
            raise UserError(
                f"{path}: a table or an archive by its name; expected SRC,TRG as two text files of one sentence "
                "a line, or one CORPUS.tsv alone"
            )
    pairs, name = read_parallel(paths[0], paths[-1]), ",".join(map(str, paths))
    for side, path in enumerate(paths):
        _require_no_table([pair[side] for pair in pairs], path)
    return pairs, [*report.tabs(pairs, name), *report.report(pairs, name, training, one_sided)]


def _require_no_table(lines: Sequence[str], path: str) -> None:
    """UserError where most lines of a parallel file are rows of a table."""
    for count, kind in ((report.count_tabs(lines), "a tab"), (report.count_csv(lines), 'fields as in "a","b"')):
        if 2 * count > len(lines):
            raise UserError(
                f"{path}: {count:,} of {len(lines):,} lines hold {kind}; expected one sentence a line "
                "(a table of source TAB target is given alone, as CORPUS.tsv)"
            )


def _shortage(splits: dict[str, list[Pair]]) -> str:
    return "one distinct source sentence" if any(splits.values()) else "no line with text on both sides"
