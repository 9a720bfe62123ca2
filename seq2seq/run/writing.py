"""Reading and writing the files of a run: an error names the file the user knows, and what is there stays until the new
one is whole.

Contract: the files of a run have fixed names, and so have the temporary files beside them. Only the process that holds
the run's lock writes them, so it may replace what a killed one left under these names. Nothing else is ever removed.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minigrad.serialization import write_atomically
from seq2seq.run.errors import UserError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError inside names ``path``, instead of a temporary file beside it or no file at all."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def replace_file(path: Path, data: bytes | Iterable[Any]) -> None:
    """Put ``data``, bytes or pieces of them, at ``path`` in one step; an OSError names ``path`` and leaves the former
    file."""
    with naming(path):
        write_atomically(path, data)


def replace_run_file(path: Path, data: bytes | Iterable[Any]) -> None:
    """As ``replace_file``, for a file of a run whose lock this process holds."""
    with naming(path):
        remove_unfinished(path)
        write_atomically(path, data, _unfinished(path).name)


def remove_unfinished(path: Path) -> None:
    """Remove what a killed ``replace_run_file`` left beside ``path``, where it left something."""
    unfinished = _unfinished(path)
    if unfinished.is_file() and not unfinished.is_symlink():
        unfinished.unlink()


def _unfinished(path: Path) -> Path:
    """The temporary file of a run's file: its own name in the folder where its bytes lie."""
    whole = Path(os.path.realpath(path))
    return whole.with_name(f".{whole.name}.tmp")


def require_new_folder(path: Path) -> None:
    """UserError where there is something at ``path`` already, or nowhere to put it."""
    if path.exists() or path.is_symlink():
        raise UserError(f"to {path}: File exists; expected the name of a new folder")
    if not path.parent.is_dir():
        raise UserError(f"to {path}: No such file or directory; expected a new folder in one that is there")


def write_new_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder ``path`` with these files in one step; after an OSError nothing is there."""
    with naming(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".minigrad-") as made:
        folder = Path(made) / path.name
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        shutil.move(folder, path)


def records_in(log: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of a log, and the record of a step in each. Others are left out: one cut by a crash, or what something
    else wrote there."""
    for line in log.splitlines():
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and type(record.get("step")) is int:
            yield line, record


def read_run_file(path: Path, expected: str) -> bytes:
    """The bytes of a regular file.

    Args:
        expected: what the file should be, for the message.

    Raises:
        UserError: it is missing, a folder, a pipe or a device, or cannot be read.
    """
    try:
        # A pipe without a writer would make open() wait for one.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{path}: no regular file; expected {expected}")
            return file.read()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected {expected}") from None
    except ValueError as error:  # a NUL in the name
        raise UserError(f"{path}: {error}; expected {expected}") from None
