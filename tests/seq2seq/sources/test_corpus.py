"""The user's files: forms that are taken or refused, pairs without text, and names with odd characters."""

import gzip
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq.run.errors import UserError
from seq2seq.sources import corpus, load_dataset, read_pairs, split_spec

PAIRS = [(f"quelle {i}", f"ziel {i}") for i in range(40)]
TSV = "".join(f"{src}\t{trg}\n" for src, trg in PAIRS).encode()
SIDES = ["".join(f"{pair[side]}\n" for pair in PAIRS).encode() for side in (0, 1)]
CSV = "".join(f'"{src}","{trg}"\n' for src, trg in PAIRS).encode()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix.lower() == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["c.tsv", "c.TSV", "c.tsv.gz", "C.TSV.GZ", "c.Tsv.Gz", "with blank.tsv", "a,b.tsv"])
def test_tables(tmp_path: Path, name: str) -> None:
    assert read_pairs("data", str(write(tmp_path / name, TSV))) == PAIRS


@pytest.mark.parametrize(
    ("src", "trg"), [("a.de", "a.en"), ("A.DE.GZ", "a.EN"), ("a b.de", "c d.en"), ("a,b.de", "a,b.en"), ("x", "y,")]
)
def test_parallel_files(tmp_path: Path, src: str, trg: str) -> None:
    spec = f"{write(tmp_path / src, SIDES[0])},{write(tmp_path / trg, SIDES[1])}"
    assert read_pairs("data", spec) == PAIRS
    data = load_dataset(spec)
    assert list(data.checksums) == [str(tmp_path / src), str(tmp_path / trg)]
    assert data.src_language == ("de" if ".de" in src.lower() else "xx")
    assert data.trg_language == ("en" if ".en" in trg.lower() else "xx")


def test_a_blank_beside_the_comma_belongs_to_no_name(tmp_path: Path) -> None:
    src, trg = write(tmp_path / "a.de", SIDES[0]), write(tmp_path / "a.en", SIDES[1])
    assert split_spec("data", f"{src} , {trg}") == [str(src), str(trg)]
    odd = write(tmp_path / "a.en ", SIDES[1])
    assert split_spec("data", f"{src},{odd}") == [str(src), str(odd)]


@pytest.mark.parametrize("spec", ["", ",", "a", "a,", ",a", "a,b,c", "a.txt", "a.csv,", "\udcff", "a\0"])
def test_other_forms_are_refused(spec: str) -> None:
    with pytest.raises(UserError, match=r"^valid is .*; expected files as CORPUS.tsv \(.*\) or SRC,TRG$") as caught:
        split_spec("valid", spec)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["a.tsv", "a.TSV", "a.tsv.gz", "a.csv", "a.CSV.GZ", "a.jsonl", "a.zip", "a.xlsx", "a.parquet"]
)
@pytest.mark.parametrize("side", [0, 1])
def test_a_pair_of_tables_is_refused_by_name(tmp_path: Path, name: str, side: int) -> None:
    both = [write(tmp_path / "plain.de", SIDES[0]), write(tmp_path / "plain.en", SIDES[1])]
    both[side] = write(tmp_path / name, TSV)
    with pytest.raises(UserError, match="a table or an archive by its name; expected SRC,TRG as two text files") as no:
        load_dataset(",".join(map(str, both)))
    assert str(no.value).startswith(str(both[side]))


@pytest.mark.parametrize(
    ("content", "kind"), [(TSV, "a tab"), (CSV, 'fields as in "a","b"'), (TSV[-90:] + TSV, "a tab")]
)
def test_a_pair_of_tables_is_refused_by_content(tmp_path: Path, content: bytes, kind: str) -> None:
    src, trg = write(tmp_path / "a.de", content), write(tmp_path / "a.en", content)
    with pytest.raises(UserError, match=rf"a\.de: .* lines hold {kind}; expected one sentence a line"):
        load_dataset(f"{src},{trg}")


def test_an_archive_is_refused_by_content(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.de", "w") as archive:
        archive.writestr("a.de", SIDES[0])
    with pytest.raises(UserError, match=r"a\.de: a zip archive"):
        load_dataset(f"{tmp_path / 'a.de'},{write(tmp_path / 'a.en', SIDES[1])}")


def test_training_pairs_without_text_on_both_sides_are_left_out(tmp_path: Path) -> None:
    lines = b"\tx\n" + TSV + b"y\t\n\t\n \t\xc2\xa0\n"
    path, valid = write(tmp_path / "c.tsv", lines), write(tmp_path / "v.tsv", b"a\t\n\tb\nc\td\n")
    data = load_dataset(str(path), valid=str(valid))
    assert data.splits["train"] == PAIRS
    assert data.splits["valid"] == [("a", ""), ("", "b"), ("c", "d")]
    assert data.notes == (
        f"{path}: 2 of 44 pairs have text on one side only; left out (the first in line 1)",
        f"{path}: 2 of 44 pairs are empty on both sides; left out (the first in line 43)",
        f"{valid}: 2 of 3 pairs have text on one side only (the first in line 1)",
    )
    held_out = load_dataset(str(path))
    assert sorted(held_out.splits["train"] + held_out.splits["valid"]) == sorted(PAIRS)
    with pytest.raises(UserError, match="no line with text on both sides"):
        load_dataset(str(write(tmp_path / "e.tsv", b"\tx\n\t\n")))


REFUSED = ["pipe", "folder", "missing", "/dev/zero", "/dev/null"]


@pytest.mark.parametrize("place", ["data", "valid", "test"])
@pytest.mark.parametrize("name", REFUSED)
def test_only_regular_files_are_read(tmp_path: Path, place: str, name: str) -> None:
    """At once, in whichever place the file is named, and as either half of a pair."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    good = write(tmp_path / "good.tsv", TSV)
    bad = name if name.startswith("/") else str(tmp_path / name)
    for spec in (f"{bad},{good.with_suffix('.de')}", f"{write(tmp_path / 'good.de', SIDES[0])},{bad}"):
        options: dict[str, Any] = {} if place == "data" else {place: spec}
        with pytest.raises(UserError, match=f"{bad}: (not a regular file|no such file|a table or an archive)"):
            load_dataset(spec if place == "data" else str(good), **options)


def test_a_file_that_changes_under_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "c.tsv", TSV)
    original = corpus.text_lines

    def read(*arguments: Any) -> Iterator[str | None]:
        yield from original(*arguments)
        path.write_bytes(TSV[:-20])

    monkeypatch.setattr(corpus, "text_lines", read)
    with pytest.raises(UserError, match=r"c\.tsv: changed while it was read"):
        load_dataset(str(path))
