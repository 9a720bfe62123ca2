"""Reading text that may be broken: every fault is named with its file and line, and none costs unbounded memory.

Contract: UTF-8, one sentence a line, lines end at "\\n" and nowhere else (a bare CR or U+2028 is content; one CR before
the "\\n" belongs to the line end). A name ending in .gz, in any case, is decompressed. A line, and the whole of a
decompressed file, is read up to a limit only, so neither an endless line nor a small file that expands for ever can
fill the memory. Regular files alone are opened: nothing waits for a pipe or a device.
"""

import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from seq2seq.run.errors import UserError

MAX_LINE_BYTES = 100_000
MAX_EXPANSION = 200
FREE_EXPANSION_BYTES = 16 * 2**20
_UTF_16 = "UTF-16 text; expected UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)"
# How files begin that are no plain UTF-8 text.
_SIGNATURES = {
    b"\x1f\x8b": "gzip data; expected a name ending in .gz",
    b"PK\x03\x04": "a zip archive, as .xlsx and .docx are too; expected plain text or .gz",
    b"BZh9": "bzip2 data; expected plain text or .gz",
    b"\xfd7zXZ": "xz data; expected plain text or .gz",
    b"\x28\xb5\x2f\xfd": "zstandard data; expected plain text or .gz",
    b"7z\xbc\xaf": "a 7z archive; expected plain text or .gz",
    b"\xd0\xcf\x11\xe0": "an Office file; expected plain text or .gz",
    b"%PDF-": "a PDF file; expected plain text or .gz",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
}


def read_lines(path: str | Path, may_be_empty: bool = False) -> list[str]:
    """The lines of a text file without their line ends, at least one unless it ``may_be_empty``.

    Args:
        path: a UTF-8 text file, plain or .gz; a byte order mark at its head is skipped.

    Raises:
        UserError: the file is missing, empty, no regular file, unreadable, broken, not UTF-8, or has a line of over
            100,000 bytes; the message names the file and, where there is one, the line.
    """
    path = Path(path)
    with open_checked(path) as file:
        try:
            if not is_gzip(path):
                return decode_lines(file, str(path), may_be_empty=may_be_empty)
            limit = FREE_EXPANSION_BYTES + MAX_EXPANSION * os.fstat(file.fileno()).st_size
            with gzip.GzipFile(fileobj=file) as stream:
                return decode_lines(cast(BinaryIO, stream), str(path), limit, may_be_empty)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read to its end ({error})") from None


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
        raise UserError(f"{src_path} has {len(src)} lines, {trg_path} has {len(trg)}; expected equal numbers")
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
    lines = [_decoded(line, name, number) for number, line in enumerate(_raw_lines(stream, name, max_bytes), start=1)]
    if not lines and not may_be_empty:
        raise UserError(f"{name}: empty; expected one sentence a line")
    lines[:1] = [line.removeprefix("\ufeff") for line in lines[:1]]
    return lines


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


def _raw_lines(stream: BinaryIO, name: str, max_bytes: int | None) -> Iterator[bytes]:
    """The byte lines without their ends, each read up to the limit only."""
    size = 0
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 2), b""), start=1):
        if number == 1:
            _require_text(line, name)
        size += len(line)
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(content) > MAX_LINE_BYTES:
            raise UserError(f"{name}:{number}: line is longer than {MAX_LINE_BYTES:,} bytes; expected a sentence")
        if max_bytes is not None and size > max_bytes:
            raise UserError(f"{name}:{number}: expands to over {max_bytes:,} bytes; expected text, not a gzip bomb")
        yield content


def _require_text(head: bytes, name: str) -> None:
    """UserError where a file that begins with ``head`` is something else than text in UTF-8."""
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            raise UserError(f"{name}: {kind}")
    for even, odd in ((head[:64:2], head[1:64:2]), (head[1:64:2], head[:64:2])):
        if len(odd) > 1 and not any(odd) and all(even):  # ASCII characters of two bytes
            raise UserError(f"{name}: {_UTF_16}")


def _decoded(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        raise UserError(f"{name}:{number}: invalid UTF-8 ({where}); expected UTF-8 text") from None
