"""Reading text that may be broken: every fault is named with its file and line, and none costs unbounded memory.

Contract: UTF-8, one sentence a line, lines end at "\\n" and nowhere else (a bare CR or U+2028 is content; one CR before
the "\\n" belongs to the line end). Text without any "\\n" that ends in another line end, as of old programs, has that
one throughout. A name ending in .gz, in any case, is decompressed; ARCHIVE.zip/MEMBER is a file of an archive; "-" is
standard input. A line, and the whole of a decompressed file, is read up to a limit only, so neither an endless line nor
a small file that expands for ever can fill the memory. Of files regular ones alone are opened: nothing waits for a pipe
or a device.
"""

import gzip
import hashlib
import io
import os
import re
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted, folded

STDIN, STDIN_NAME = "-", "standard input"
MAX_LINE_BYTES = 100_000
MAX_EXPANSION = 200
FREE_EXPANSION_BYTES = 16 * 2**20
# Line ends of text that has no newline: CR, NEL, U+2028 and U+2029.
_OTHER_LINE_ENDS = (b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")
_CHUNK = 1 << 16
_ARCHIVE = re.compile(r"(.*?\.zip)(?:/(.*))?", re.IGNORECASE | re.DOTALL)
# What reading a compressed file raises that is cut or broken, or of a kind that Python does not read.
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_UTF_16 = "UTF-16 text; expected UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)"
# How files begin that are no plain UTF-8 text.
_SIGNATURES = {
    b"\x1f\x8b": "gzip data; expected a name ending in .gz",
    b"PK\x03\x04": "a zip archive, as .xlsx and .docx are too; expected plain text, .gz, or a name ending in .zip",
    b"BZh9": "bzip2 data; expected plain text or .gz",
    b"\xfd7zXZ": "xz data; expected plain text or .gz",
    b"\x28\xb5\x2f\xfd": "zstandard data; expected plain text or .gz",
    b"7z\xbc\xaf": "a 7z archive; expected plain text or .gz",
    b"\xd0\xcf\x11\xe0": "an Office file; expected plain text or .gz",
    b"%PDF-": "a PDF file; expected plain text or .gz",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
}


class BadLines:
    """What becomes of lines that cannot be read: the first ends everything, or all are skipped and counted.

    Attributes:
        count: lines that were skipped.
        first: what was wrong with the first of them.
    """

    def __init__(self, skip: bool) -> None:
        self._skip = skip
        self.count, self.first = 0, ""

    def __call__(self, fault: str) -> None:
        """Note the fault, a line that names file and line; UserError unless such lines are skipped."""
        if not self._skip:
            raise UserError(fault)
        self.first = self.first or fault
        self.count += 1


def read_lines(path: str | Path, may_be_empty: bool = False) -> list[str]:
    """The lines of a text file without their line ends, at least one unless it ``may_be_empty``.

    Args:
        path: a UTF-8 text file, plain or .gz, ARCHIVE.zip/MEMBER, or "-"; a byte order mark at its head is skipped.

    Raises:
        UserError: the file is missing, empty, no regular file, unreadable, broken, not UTF-8, or has a line of over
            100,000 bytes; the message names the file and, where there is one, the line.
    """
    return cast(list[str], list(text_lines(path, may_be_empty=may_be_empty)))


def text_lines(
    path: str | Path, bad_lines: BadLines | None = None, digests: dict[str, str] | None = None,
    may_be_empty: bool = False,
) -> Iterator[str | None]:  # fmt: skip
    """As ``read_lines``, line by line.

    Args:
        bad_lines: is told of a line that is no UTF-8 or too long; where it lets it pass, None stands in its place.
        digests: gets the sha256 (hex) of standard input, under its name, where that is read to its end.
    """
    with opened(path) as (stream, name, limit):
        hashed = _Hashed(stream) if name == STDIN_NAME and digests is not None else None
        yield from _decoded_lines(cast(BinaryIO, hashed or stream), name, limit, may_be_empty, bad_lines)
        if hashed is not None and digests is not None:
            digests[STDIN_NAME] = hashed.digest.hexdigest()


class _Hashed:
    """A stream of which the sha256 of all that was read is known."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.digest = stream, hashlib.sha256()

    def readline(self, most: int) -> bytes:
        return self._told(self._stream.readline(most))

    def read(self, most: int) -> bytes:
        return self._told(self._stream.read(most))

    def _told(self, data: bytes) -> bytes:
        self.digest.update(data)
        return data


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BinaryIO, str, int | None]]:
    """The bytes of a text, decompressed; what messages call it; the most bytes that it may expand to.

    Raises:
        UserError: as ``read_lines``; also where what is read inside turns out to be broken.
    """
    if str(path) == STDIN:
        if sys.stdin is None:
            raise UserError("standard input is closed; expected text from it, or the name of a file")
        yield cast(BinaryIO, sys.stdin.buffer), STDIN_NAME, None
        return
    outer, member = split_member(str(path))
    with open_checked(Path(outer)) as file:
        try:
            if member is not None:
                with _member(file, outer, member) as (stream, limit):
                    yield stream, str(path), limit
            elif is_gzip(path):
                with gzip.GzipFile(fileobj=file) as stream:
                    yield cast(BinaryIO, stream), str(path), _most_bytes(os.fstat(file.fileno()).st_size)
            else:
                yield file, str(path), None
        except _DAMAGE as error:
            raise UserError(f"{path}: cannot be read to its end ({folded(error)})") from None


@contextmanager
def _member(file: BinaryIO, archive: str, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file of an open archive, and the most bytes that it may expand to."""
    with zipfile.ZipFile(file) as members:
        try:
            entry = members.getinfo(name)
        except KeyError:
            raise UserError(f"{archive}: holds no {name!r}; expected one of its members") from None
        if entry.flag_bits & 1:
            raise UserError(f"{archive}/{name}: encrypted; expected an archive without a password")
        with members.open(entry) as stream:
            yield cast(BinaryIO, stream), _most_bytes(entry.compress_size)


def member_names(archive: str) -> list[str]:
    """The files in an archive, without its folders.

    Raises:
        UserError: it is missing, no regular file, or no zip archive.
    """
    with open_checked(Path(archive)) as file:
        try:
            with zipfile.ZipFile(file) as members:
                return [entry.filename for entry in members.infolist() if not entry.is_dir()]
        except _DAMAGE as error:
            raise UserError(f"{archive}: cannot be read ({folded(error)}); expected a zip archive") from None


def split_member(path: str) -> tuple[str, str | None]:
    """The archive and its member that a path names; of any other file the path and None."""
    match = _ARCHIVE.fullmatch(path)
    if match is None or not match[2] or os.path.exists(path):  # a folder may be called that too
        return path, None
    return match[1], match[2]


def _most_bytes(size: int) -> int:
    """That a compressed file of ``size`` bytes may expand to."""
    return FREE_EXPANSION_BYTES + MAX_EXPANSION * size


def is_gzip(path: str | Path) -> bool:
    """Whether a file is compressed, by its name."""
    return str(path).lower().endswith(".gz")


def read_parallel(src_path: str | Path, trg_path: str | Path) -> list[tuple[str, str]]:
    """Sentence pairs of two files whose lines correspond.

    Raises:
        UserError: as `read_lines`, or the files differ in their number of lines.
    """
    src, trg = read_lines(src_path), read_lines(trg_path)
    if len(src) != len(trg):
        raise UserError(
            f"{src_path} has {counted(len(src), 'line')}, {trg_path} has {len(trg):,}; expected equal numbers"
        )
    return list(zip(src, trg, strict=True))


def split_columns(lines: Iterable[str], name: str) -> list[tuple[str, str]]:
    """The first two tab-separated columns of each line; `name` is the file for the message.

    Raises:
        UserError: a line has fewer than two columns.
    """
    pairs = []
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t")
        if len(columns) < 2:
            raise UserError(f"{name}:{number}: {len(columns)} column; expected source TAB target")
        pairs.append((columns[0], columns[1]))
    return pairs


def decode_lines(stream: BinaryIO, name: str, max_bytes: int | None = None, may_be_empty: bool = False) -> list[str]:
    """The lines of an open binary stream; `name` is the file for the message, `max_bytes` the most it may hold.

    Raises:
        UserError: no line at all (unless it `may_be_empty`), too long a line, too much content, or invalid UTF-8.
    """
    return cast(list[str], list(_decoded_lines(stream, name, max_bytes, may_be_empty, None)))


def _decoded_lines(
    stream: BinaryIO, name: str, max_bytes: int | None, may_be_empty: bool, bad_lines: BadLines | None
) -> Iterator[str | None]:
    """The lines of a stream; None in place of one that ``bad_lines`` lets pass."""
    fail = bad_lines or BadLines(skip=False)
    number = 0
    for number, line in enumerate(_raw_lines(stream, name, max_bytes, fail), start=1):
        text = None if line is None else _decoded(line, name, number, fail)
        yield text.removeprefix("\ufeff") if text and number == 1 else text
    if not number and not may_be_empty:
        raise UserError(f"{name}: empty; expected one sentence a line")


def each_line(stream: BinaryIO, name: str) -> Iterator[str]:
    """As `decode_lines`, each line as soon as it is there; there may be none."""
    return cast(Iterator[str], _decoded_lines(stream, name, None, True, None))


def open_checked(path: Path) -> io.BufferedReader:
    """Open a regular file for binary reading.

    Raises:
        UserError: there is no such file, it is a folder, a pipe or a device, or it may not be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path}: not a regular file; expected a text file")
        return open(path, "rb", opener=_without_waiting)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _without_waiting(name: str, flags: int) -> int:
    """An opener: should a pipe have taken the file's place, it does not wait for somebody to write."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def unchanged(paths: Sequence[str | Path]) -> Iterator[None]:
    """Inside, the files stay what they are.

    Raises:
        UserError: at the end, that a file changed while it was read.
    """
    before = [_stamp(path) for path in paths]
    yield
    for path, stamp in zip(paths, before, strict=True):
        if _stamp(path) != stamp:
            raise UserError(f"{path}: changed while it was read; expected a file that nothing writes to")


def _stamp(path: str | Path) -> tuple[int, ...]:
    """What tells a file from another, or from itself after a change; empty where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def sha256_of(path: str | Path) -> str:
    """The sha256 (hex) of a file's bytes.

    Raises:
        UserError: the file cannot be read.
    """
    with open_checked(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _raw_lines(stream: BinaryIO, name: str, max_bytes: int | None, fail: BadLines) -> Iterator[bytes | None]:
    """The byte lines without their ends, each read up to the limit only; None for one that is too long."""
    size, rest = 0, False
    number = 0
    for line in _byte_lines(stream, name):
        size += len(line)
        if max_bytes is not None and size > max_bytes:
            raise UserError(f"{name}:{number + 1}: expands to over {max_bytes:,} bytes; expected text, not a zip bomb")
        rest, is_rest = not line.endswith(b"\n"), rest
        if is_rest:
            continue
        number += 1
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(content) > MAX_LINE_BYTES:
            fail(f"{name}:{number}: line is longer than {MAX_LINE_BYTES:,} bytes; expected a sentence")
            yield None
        else:
            yield content


def _byte_lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Byte lines that end at newlines, or at the limit; of text without newlines, at what it has instead."""
    head = stream.readline(MAX_LINE_BYTES + 2)
    if not head:
        return
    _require_text(head, name)
    other = None if head.endswith(b"\n") else _other_line_end(head)
    if other is not None:
        yield from _cut_at(other, stream, head)
    else:
        yield head
        yield from iter(lambda: stream.readline(MAX_LINE_BYTES + 2), b"")


def _other_line_end(head: bytes) -> bytes | None:
    """The line end of a text that begins with ``head``, all of it unless it is longer than a line may be."""
    is_cut = len(head) > MAX_LINE_BYTES
    return next((end for end in _OTHER_LINE_ENDS if (end in head if is_cut else head.endswith(end))), None)


def _cut_at(end: bytes, stream: BinaryIO, rest: bytes) -> Iterator[bytes]:
    """Lines that end at ``end``, given with a newline instead."""
    more = True
    while more:
        *lines, rest = rest.split(end)
        yield from (line + b"\n" for line in lines)
        while len(rest) > MAX_LINE_BYTES + 2:
            yield rest[: MAX_LINE_BYTES + 2]
            rest = rest[MAX_LINE_BYTES + 2 :]
        chunk = stream.read(_CHUNK)
        rest, more = rest + chunk, bool(chunk)
    if rest:
        yield rest


def _require_text(head: bytes, name: str) -> None:
    """UserError where a file that begins with ``head`` is something else than text in UTF-8."""
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            raise UserError(f"{name}: {kind}")
    for even, odd in ((head[:64:2], head[1:64:2]), (head[1:64:2], head[:64:2])):
        if len(odd) > 1 and not any(odd) and all(even):  # ASCII characters of two bytes
            raise UserError(f"{name}: {_UTF_16}")


def _decoded(line: bytes, name: str, number: int, fail: BadLines) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        fail(f"{name}:{number}: invalid UTF-8 ({where}); expected UTF-8 text")
        return None
