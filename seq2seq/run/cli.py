"""What the commands share: a user's mistake is one line on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import errno
import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seq2seq.run import registry
from seq2seq.run.entry import reason, reserve_descriptors, tell
from seq2seq.run.errors import UserError
from seq2seq.run.messages import folded, one_line
from seq2seq.run.streams import drop_unprintable, silence_stdout

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
        silence_stdout()
        return 0
    except OSError as error:
        return _fail(_refusal(error))
    except (ImportError, MemoryError) as error:  # some libraries are loaded only where they are needed
        return _fail(reason(error))
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
    finally:
        drop_unprintable()


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


def command_line(module: str, *arguments: object) -> str:
    """A command as it can be pasted into the shell that started this one, with the Python that runs now."""
    words = [_python(), "-m", module, *map(str, arguments)]
    return " ".join(map(shlex.quote, words))


def command_for(settings: Any, module: str, *arguments: object) -> str:
    """``command_line`` for a run with these settings, a Config; of parts that a script registers, its call."""
    if registry.all_come_along(settings):
        return command_line(module, *arguments)
    return f"{module}.main({[str(argument) for argument in arguments]}) in the script that registers its parts"


def _python() -> str:
    """``python`` where the shell finds this interpreter by that name, else its path."""
    here = sys.executable or "python"
    if shutil.which("python") == here:
        return "python"
    path, folder = Path(here), Path.cwd()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else here


def _fail(message: str) -> int:
    tell(f"error: {one_line(message)}")
    return 2


def limit_threads(threads: int | None) -> None:
    """Compute on ``threads`` processor threads from now on; None leaves it to all."""
    if threads is not None:
        from threadpoolctl import threadpool_limits

        import minigrad

        minigrad.set_num_threads(threads)
        threadpool_limits(threads)
