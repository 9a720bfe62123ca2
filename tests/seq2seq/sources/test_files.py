"""Reading text: what a line is, and that every broken file is named with its line."""

import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq.run.errors import UserError
from seq2seq.sources import files


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["text.de", "text.de.gz"])
def test_lines_end_at_newline_only(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "\ufeffein\u2028Haus\r\n\na\rb\x0b\x85c\n  für \r\r\nlast".encode())
    assert files.read_lines(path) == ["ein\u2028Haus", "", "a\rb\x0b\x85c", "  für \r", "last"]


def test_a_byte_order_mark_inside_is_content(tmp_path: Path) -> None:
    assert files.read_lines(write(tmp_path / "t", "a\n\ufeffb\n".encode())) == ["a", "\ufeffb"]


def test_lines_up_to_the_limit_are_read(tmp_path: Path) -> None:
    longest = b"x" * files.MAX_LINE_BYTES
    for end in (b"\n", b"\r\n", b""):
        assert files.read_lines(write(tmp_path / "t", b"a\n" + longest + end)) == ["a", longest.decode()]


BROKEN = {
    "invalid": ("t.txt", b"good\nbad \xff here\n", ":2: invalid UTF-8 (byte 0xff at column 5)"),
    "invalid in gzip": ("t.gz", b"good\ngood\n\xc3(\n", ":3: invalid UTF-8 (byte 0xc3 at column 1)"),
    "surrogate": ("t.txt", b"\xed\xa0\x80\n", ":1: invalid UTF-8"),
    "empty": ("t.txt", b"", ": empty; expected one sentence a line"),
    "empty gzip": ("t.gz", b"", ": empty; expected one sentence a line"),
    "long": ("t.txt", b"a\nb\n" + b"x" * (files.MAX_LINE_BYTES + 1), ":3: line is longer than 100,000 bytes"),
    "long in gzip": ("t.gz", b"\0" * 30_000_000, ":1: line is longer than 100,000 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_content_is_named(tmp_path: Path, case: str) -> None:
    name, content, message = BROKEN[case]
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        files.read_lines(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_a_gzip_bomb_of_short_lines_stops_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FREE_EXPANSION_BYTES", 1000)
    path = write(tmp_path / "bomb.gz", b"aaaaaaaaa\n" * 100_000)
    limit = 1000 + files.MAX_EXPANSION * path.stat().st_size
    assert limit < 1_000_000  # the bytes it would expand to
    with pytest.raises(UserError, match=f"bomb.gz:{limit // 10 + 1}: expands to over {limit:,} bytes"):
        files.read_lines(path)


KINDS = {
    "zip": (b"PK\x03\x04\x14\0abc\n", "a zip archive, as .xlsx and .docx are too"),
    "gzip": (gzip.compress(b"text\n"), "gzip data; expected a name ending in .gz"),
    "xz": (b"\xfd7zXZ\0abc", "xz data"),
    "pdf": (b"%PDF-1.4\n", "a PDF file"),
    "UTF-16 with a mark": ("hello\nyou\n".encode("utf-16"), "UTF-16 text; expected UTF-8 (iconv -f UTF-16"),
    "UTF-16 low": ("hello\nyou\n".encode("utf-16-le"), "UTF-16 text"),
    "UTF-16 high": ("hello\nyou\n".encode("utf-16-be"), "UTF-16 text"),
}


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("name", ["corpus.tsv", "inside.gz"])
def test_what_is_no_plain_text_is_named(tmp_path: Path, case: str, name: str) -> None:
    content, message = KINDS[case]
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        files.read_lines(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_the_case_of_gz_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "CORPUS.TSV.GZ"
    path.write_bytes(gzip.compress(b"a\tb\n"))
    assert files.split_columns(files.read_lines(path), str(path)) == [("a", "b")]


def test_nothing_waits_for_a_pipe_or_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        server.bind("socket")
        for name in ("pipe", "socket"):
            for read in (files.read_lines, files.sha256_of):
                with pytest.raises(UserError, match=f"{name}: not a regular file"):
                    read(tmp_path / name)


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t", b"a\n")
    before = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(files.os, "stat", lambda *_, **__: before)
    with pytest.raises(UserError, match="t: empty"):
        files.read_lines(path)


def test_a_name_that_is_not_utf8_is_a_name(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    with pytest.raises(UserError, match="no such file"):
        files.read_lines(path)
    Path(path).write_text("a\n")
    assert files.read_lines(path) == ["a"]


CHANGES: dict[str, Callable[[Path], object]] = {
    "grows": lambda path: path.write_bytes(b"a\nb\nc\n"),
    "shrinks": lambda path: path.write_bytes(b"a\n"),
    "is replaced": lambda path: os.replace(write(path.with_name("u"), b"a\nb\n"), path),
    "goes": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    path = write(tmp_path / "t", b"a\nb\n")
    with pytest.raises(UserError, match="t: changed while it was read"), files.unchanged([path]):
        CHANGES[change](path)


def test_a_file_that_stays_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"a\n")
    with files.unchanged([path, tmp_path / "none"]):
        assert files.read_lines(path) == ["a"]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:12] + b"\xff" * 9 + raw[21:], lambda raw: b"no"]
)
def test_broken_gzip(tmp_path: Path, damage) -> None:
    path = tmp_path / "t.gz"
    path.write_bytes(damage(gzip.compress(bytes(range(32, 127)) * 50)))
    with pytest.raises(UserError, match=r"t\.gz: cannot be read to its end \("):
        files.read_lines(path)


def test_missing_folder_and_bad_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.txt: no such file"):
        files.read_lines(tmp_path / "nothing.txt")
    with pytest.raises(UserError, match="not a regular file; expected a text file"):
        files.read_lines(tmp_path)
    with pytest.raises(UserError, match="not a regular file"):
        files.read_lines("/dev/zero")
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(UserError, match=r"cannot be read \("):
            files.read_lines(tmp_path / name)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t", b"a\n")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"t: cannot be read \(Permission denied\)"):
        files.read_lines(path)


def test_parallel_files_pair_their_lines(tmp_path: Path) -> None:
    src, trg = write(tmp_path / "a.de.gz", b"eins\n\nzwei\n"), write(tmp_path / "a.en", b"one\nx\ntwo")
    assert files.read_parallel(src, trg) == [("eins", "one"), ("", "x"), ("zwei", "two")]
    short = write(tmp_path / "b.en", b"one\ntwo\n")
    with pytest.raises(UserError) as caught:
        files.read_parallel(src, short)
    assert str(caught.value) == f"{src} has 3 lines, {short} has 2; expected equal numbers"


def test_tsv_takes_two_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", b"a b\tc\td\te\r\n\tx\n")
    assert files.split_columns(files.read_lines(path), str(path)) == [("a b", "c"), ("", "x")]
    path = write(tmp_path / "bad.tsv", b"a\tb\nonly\n")
    with pytest.raises(UserError, match=r"bad\.tsv:2: 1 column; expected source TAB target"):
        files.split_columns(files.read_lines(path), str(path))


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_of(write(tmp_path / "t", b"abc")) == expected
