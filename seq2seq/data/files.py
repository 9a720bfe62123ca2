"""Reading text that may be broken: every fault is named with its file and line, and none costs unbounded memory.

Contract: UTF-8, one sentence a line, lines end at "\\n" and nowhere else (a bare CR or U+2028 is content; one CR before
the "\\n" belongs to the line end). A name ending in .gz is decompressed. A line, and the whole of a decompressed file,
is read up to a limit only, so neither an endless line nor a small file that expands for ever can fill the memory.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from seq2seq.errors import UserError

MAX_LINE_BYTES = 100_000
MAX_EXPANSION = 200
FREE_EXPANSION_BYTES = 16 * 2**20


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
            if path.suffix != ".gz":
                return decode_lines(file, str(path), may_be_empty=may_be_empty)
            limit = FREE_EXPANSION_BYTES + MAX_EXPANSION * path.stat().st_size
            with gzip.GzipFile(fileobj=file) as stream:
                return decode_lines(cast(BinaryIO, stream), str(path), limit, may_be_empty)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read to its end ({error})") from None


def read_parallel(src_path: str | Path, trg_path: str | Path) -> list[tuple[str, str]]:
    """Sentence pairs of two files whose lines correspond.

    Raises:
        UserError: as `read_lines`, or the files differ in their number of lines.
    """
    src, trg = read_lines(src_path), read_lines(trg_path)
    if len(src) != len(trg):
        raise UserError(f"{src_path} has {len(src)} lines, {trg_path} has {len(trg)}; expected equal numbers")
    return list(zip(src, trg, strict=True))


def read_tsv(path: str | Path) -> list[tuple[str, str]]:
    """Sentence pairs of a file whose lines are source TAB target; further columns are ignored.

    Raises:
        UserError: as `read_lines`, or a line has fewer than two columns.
    """
    return split_columns(read_lines(path), str(path))


def split_columns(lines: Iterable[str], name: str) -> list[tuple[str, str]]:
    """The first two tab-separated columns of each line; `name` is the file for the message."""
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
        UserError: there is no such file, it is a folder or a device, or it may not be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a regular file; expected a text file")
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


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
        size += len(line)
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(content) > MAX_LINE_BYTES:
            raise UserError(f"{name}:{number}: line is longer than {MAX_LINE_BYTES:,} bytes; expected a sentence")
        if max_bytes is not None and size > max_bytes:
            raise UserError(f"{name}:{number}: expands to over {max_bytes:,} bytes; expected text, not a gzip bomb")
        yield content


def _decoded(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        raise UserError(f"{name}:{number}: invalid UTF-8 ({where}); expected UTF-8 text") from None
