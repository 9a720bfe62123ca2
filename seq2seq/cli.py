"""What the commands share: a user's mistake is one line on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from seq2seq.errors import UserError

_OS_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EROFS,
    errno.EPERM,
    errno.EIO,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EFBIG,
)


def run_command(command: Callable[[Sequence[str] | None], int], arguments: Sequence[str] | None = None) -> int:
    """The exit code of ``command(arguments)``: 2 after a user's mistake or a failing disk, 130 after Ctrl-C."""
    try:
        return command(arguments)
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader (head, say) has gone; point stdout elsewhere so that the interpreter's last flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def limit_threads(threads: int | None) -> None:
    """Run the matrix products on ``threads`` processor threads from now on; None leaves them on all."""
    if threads is not None:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
