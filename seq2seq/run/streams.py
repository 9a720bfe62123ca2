"""What a command prints and writes: progress that may be lost, and results that may not.

Progress (``say``) is for a person who may have gone: a closed, full or vanished terminal or log costs nothing. Results
(``write_output``) are what the command was asked for: where they cannot be written, that is an error.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from seq2seq.run.errors import UserError
from seq2seq.run.options import check_text
from seq2seq.run.writing import naming, replace_file

STDOUT = "-"


_quiet = ContextVar("quiet", default=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Inside nothing is said, in this thread."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def is_quiet() -> bool:
    """Whether nothing is to be said now."""
    return _quiet.get()


def say(line: str) -> None:
    """Print a line of progress; where it cannot be printed, go on in silence."""
    if is_quiet():
        return
    with suppress(OSError, ValueError):  # ValueError: the stream was closed
        print(line, flush=True)


def drop_unprintable() -> None:
    """Let the interpreter end in peace although the last lines can never be printed."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        silence_stdout()


def silence_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush is quiet too."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def check_output(path: str, name: str, inputs: Iterable[Path] = ()) -> None:
    """UserError where ``write_output`` could not write to ``path``: said before the work, not after it.

    Args:
        path: a file, or "-" for standard output.
        name: what the user calls it, such as "output".
        inputs: files that must not be written over: those of the run itself, and those that the command reads.
    """
    if path == STDOUT:
        return _check_stdout(name)
    expected = "a file to write"
    if not path:
        raise UserError(f"{name} is ''; expected {expected}, or - for standard output")
    target = Path(os.path.realpath(path))
    try:
        if any(file.exists() and target.exists() and file.samefile(target) for file in inputs):
            raise UserError(f"{name} {path}: is a file that is read; expected another one to write")
        if target.is_dir():
            raise UserError(f"{name} {path}: Is a directory; expected {expected}")
        _try(target)
    except (OSError, ValueError) as error:
        raise UserError(f"{name} {path}: {getattr(error, 'strerror', None) or error}; expected {expected}") from None


def check_output_folder(path: str, name: str) -> None:
    """UserError where files could not be put into a folder, which need not be there; that of a run holds no others."""
    check_text(name, path)
    folder = Path(path)
    expected = "a folder to write to, or a name for a new one"
    if folder.is_dir():
        if (folder / "manifest.json").exists():
            raise UserError(f"{name} {path}: is the folder of a run; expected another one to write to")
    elif os.path.lexists(folder):
        raise UserError(f"{name} {path}: no folder; expected {expected}")
    try:
        place = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UserError(f"{name} {path}: {error.strerror}; expected {expected}") from None


def _check_stdout(name: str) -> None:
    try:
        if sys.stdout is None:
            raise ValueError
        sys.stdout.flush()
    except (OSError, ValueError):
        raise UserError(f"standard output is closed; name a file with --{name}") from None


def _try(target: Path) -> None:
    """OSError where ``target`` cannot be written; nothing that is there changes."""
    if target.is_symlink():  # of what a link leads to no link is left, unless they form a loop
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not target.exists():
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    elif stat.S_ISREG(target.stat().st_mode):
        with open(target, "ab"), tempfile.TemporaryFile(dir=target.parent):
            pass
    elif not os.access(target, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def write_output(path: str, text: str) -> None:
    """Write results to ``path``: "-" is standard output, a regular file is replaced in one step, a pipe or a device is
    fed. BrokenPipeError where the reader of standard output has gone, else an OSError with the name."""
    if path == STDOUT:
        with naming(Path("standard output")):
            sys.stdout.write(text)
            sys.stdout.flush()
    else:
        write_bytes(path, [text.encode()])


def write_bytes(path: str, pieces: Iterable[bytes]) -> None:
    """As ``write_output``, of bytes, to a file, a pipe or a device."""
    if Path(path).exists() and not Path(path).is_file():
        with naming(Path(path)), open(path, "wb", buffering=0) as file:
            for remaining in pieces:
                while remaining:
                    remaining = remaining[file.write(remaining) :]
    else:
        replace_file(Path(path), pieces)


def print_results(lines: str, kept: str | None = None) -> None:
    """Print results; UserError where they cannot be printed, which says in which file they are kept, if in any."""
    if sys.stdout is None and kept:
        return
    try:
        write_output(STDOUT, lines + "\n")
    except (OSError, ValueError) as error:
        silence_stdout()
        rest = f"the figures are in {kept}" if kept else "the figures are lost"
        raise UserError(f"standard output: {getattr(error, 'strerror', None) or error}; {rest}") from None
