"""What the commands share: a user's mistake is one line on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from seq2seq.entry import reason, reserve_descriptors
from seq2seq.errors import UserError
from seq2seq.messages import folded, one_line
from seq2seq.writing import replace_file

# What goes wrong when no more can be written; such an error may name no file.
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def run_command(command: Callable[[Sequence[str] | None], int], arguments: Sequence[str] | None = None) -> int:
    """The exit code of ``command(arguments)``: 2 after a user's mistake or where the system refuses something, 130
    after Ctrl-C."""
    _prepare_streams()
    try:
        return command(arguments)
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except OSError as error:
        return _fail(_refusal(error))
    except (ImportError, MemoryError) as error:  # some libraries are loaded only where they are needed
        return _fail(reason(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _prepare_streams() -> None:
    """Text is UTF-8, whatever the locale says; a file name goes to standard output in its own bytes, whatever they are,
    and to standard error with escapes."""
    reserve_descriptors()
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _refusal(error: OSError) -> str:
    """What the system refused, and of which file where that is known."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    what = named or ("writing" if error.errno in _WRITING else "the system refused")
    return f"{what}: {error.strerror or folded(error)}"


def say(line: str) -> None:
    """Print a line; if the reader (head, say) has gone, go on in silence: work must not be lost for that."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        _silence_stdout()


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush is quiet too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_output(path: str) -> None:
    """UserError where ``write_output`` could not write to ``path``: said before the work, not after it."""
    if path == "-" and sys.stdout is None:
        raise UserError("standard output is closed; name a file with --output")
    if path != "-" and Path(path).is_dir():
        raise UserError(f"{path}: Is a directory")
    if path != "-" and not Path(path).absolute().parent.is_dir():
        raise UserError(f"{path}: No such file or directory")


def write_output(path: str, text: str) -> None:
    """Write ``text`` to ``path``: "-" is standard output, a regular file is replaced in one step, a pipe is fed."""
    if path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    elif Path(path).exists() and not Path(path).is_file():
        Path(path).write_text(text, encoding="utf-8")
    else:
        replace_file(Path(path), text.encode())


def _fail(message: str) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return 2


def limit_threads(threads: int | None) -> None:
    """Compute on ``threads`` processor threads from now on; None leaves it to all."""
    if threads is not None:
        from threadpoolctl import threadpool_limits

        import minigrad

        minigrad.set_num_threads(threads)
        threadpool_limits(threads)
