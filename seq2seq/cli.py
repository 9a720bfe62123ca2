"""What the commands share: a user's mistake is one line on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import argparse
import errno
import io
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from seq2seq.errors import UserError
from seq2seq.streams import drop_unprintable, silence_stdout

# What a disk or a path can do to a command; any other OSError is a bug and shows its traceback.
_OS_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM, errno.EIO, errno.ENOENT,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
)  # fmt: skip


def run_command(command: Callable[[Sequence[str] | None], int], arguments: Sequence[str] | None = None) -> int:
    """The exit code of ``command(arguments)``: 2 after a user's mistake or a failing disk, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # text is UTF-8, whatever the locale says
    try:
        return command(arguments)
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:
        silence_stdout()
        return 0
    except OSError as error:
        if error.errno not in _OS_ERRORS:
            raise
        return _fail(f"{error.filename or 'writing'}: {error.strerror}")
    except MemoryError as error:
        return _fail(f"out of memory ({error}); try a smaller --batch-size or --hidden-size")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        drop_unprintable()


def command_line(module: str, *arguments: object) -> str:
    """A command as it can be pasted into the shell that started this one, with the Python that runs now."""
    words = [_python(), "-m", module, *map(str, arguments)]
    return " ".join(map(shlex.quote, words))


def _python() -> str:
    """``python`` where the shell finds this interpreter by that name, else its path."""
    here = sys.executable or "python"
    if shutil.which("python") == here:
        return "python"
    path, folder = Path(here), Path.cwd()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else here


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UserErrors, so that they end as one line too."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def check_decoding(options: argparse.Namespace) -> None:
    """UserError where an option of ``translate`` or ``evaluate`` is out of range."""
    for name in ("beam_size", "n_best", "batch_size", "threads"):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; expected at least 1")
    if getattr(options, "n_best", 1) > options.beam_size:
        raise UserError(f"n_best is {options.n_best}; expected at most beam_size = {options.beam_size}")
    if not (math.isfinite(options.length_penalty) and options.length_penalty >= 0):
        raise UserError(f"length_penalty is {options.length_penalty}; expected 0 or more")


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def limit_threads(threads: int | None) -> None:
    """Compute on ``threads`` processor threads from now on; None leaves it to all."""
    if threads is not None:
        from threadpoolctl import threadpool_limits

        import minigrad

        minigrad.set_num_threads(threads)
        threadpool_limits(threads)
