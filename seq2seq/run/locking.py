"""A run is written by one process at a time: a lock that the system releases when its holder dies."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seq2seq.run.errors import UserError
from seq2seq.run.writing import naming

try:
    import fcntl
except ImportError:  # Windows, where the toolkit has no lock
    fcntl = None  # type: ignore[assignment]

NAME = "lock"
_HEAD = "locked by process "


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the lock of a run, the file ``lock`` in its folder, which exists.

    Raises:
        UserError: another process holds it (the message says which), or something else has that name.
    """
    path = run_dir / NAME
    descriptor = _acquire(path)
    try:
        with suppress(OSError):  # a full disk: the lock holds without its text
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"{_HEAD}{os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who opened it meanwhile finds that it is no longer there
        os.close(descriptor)


def is_lock(path: Path) -> bool:
    """Whether a file is a lock of ours, such as a killed process leaves."""
    if path.name != NAME or path.is_symlink() or not path.is_file():
        return False
    with naming(path), open(path, "rb") as file:
        return _is_ours(file.read(len(_HEAD)))


def can_be_left(folder: Path) -> bool:
    """Whether a folder holds a lock, on a system whose locks say if a process that held one is alive."""
    return fcntl is not None and is_lock(folder / NAME)


def _is_ours(content: bytes) -> bool:
    """A holder that is killed at once, or finds no room on the disk, leaves an empty file."""
    return content in (b"", _HEAD.encode())


def _acquire(path: Path) -> int:
    """The descriptor of the locked file. It may be removed between opening and locking: then once more."""
    while True:
        if path.is_symlink():
            raise UserError(_foreign(path))
        with naming(path):
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            descriptor = os.open(path, flags, 0o666)
        try:
            _lock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if _still_at(path, descriptor):
            return descriptor
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not _is_ours(_text(descriptor)[: len(_HEAD)]):
        raise UserError(_foreign(path))
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _text(descriptor).decode(errors="replace").strip() or "locked by another process"
        raise UserError(f"run_dir {path.parent} is in use: {holder}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a folder on a file system with locks") from None


def _foreign(path: Path) -> str:
    return f"{path}: not written by seq2seq.train, which locks a run by a file of that name"


def _text(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 200)


def _still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
