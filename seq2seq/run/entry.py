"""Where the commands start, before anything large is loaded: until then, and while it is, a line ends what cannot be.

Ctrl-C, a library that cannot be loaded and too little address space are told in one line. Imports nothing but small
modules of the standard library, so that there is no moment before.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import time
from types import FrameType

# Bytes of address space that NumPy, Numba and LLVM take for loading and compiling, before there is a model. With less
# they end the process themselves, each in a way of its own.
_LEAST_ADDRESS_SPACE = 1 << 30


_began: list[float] = []  # of the command that this process was started for, until it is asked for


def began() -> float:
    """When the command began, before anything was loaded, on the clock of ``time.monotonic``; now, where it was not
    started by ``start``, or was told before."""
    return _began.pop() if _began else time.monotonic()


def start(command: str) -> int:
    """Run ``seq2seq.command`` on the command line; its exit code. For a process of its own."""
    _began[:] = [time.monotonic()]
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored, as under nohup
    if handled:
        signal.signal(signal.SIGINT, _interrupted)
    reserve_descriptors()
    try:
        _require_address_space()
        module = importlib.import_module(f"seq2seq.{command}")
    except (OSError, MemoryError, ImportError) as error:
        tell(f"error: {reason(error)}")
        return 2
    if handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code: int = module.main()
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is the interpreter's end
    return code


def main() -> int:
    """The console script ``seq2seq COMMAND ...``, and ``python -m seq2seq``."""
    from seq2seq.run.commands import COMMANDS, overview

    command, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command in ("", "-h", "--help"):
        print(overview())
        return 0 if command else 2
    if command not in COMMANDS:
        tell(f"error: there is no command {command[:40]!r}; expected one of {', '.join(COMMANDS)}")
        return 2
    sys.argv = [f"seq2seq {command}", *arguments]
    return start(command)


# The console scripts ``seq2seq-train`` and so on, by the names that pyproject.toml has for them.
train, translate, evaluate, score, export, inspect, serve = (
    functools.partial(start, command)
    for command in ("train", "translate", "evaluate", "score", "export", "inspect", "serve")
)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """End at once: an exception might be lost or dressed as another one in the midst of an import."""
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(130)


def tell(line: str) -> None:
    """Write a line to standard error. Where it cannot be written, as on a full disk, the exit code says enough."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stderr.fileno())  # the interpreter's last flush would fail again
        os.close(nothing)


def reserve_descriptors() -> None:
    """Open /dev/null in place of standard streams that are closed, so that no file is opened there and written over by
    messages; a lost standard error swallows what is said."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  (open until the end)


def _require_address_space() -> None:
    limit = address_space()
    if limit is not None and limit < _LEAST_ADDRESS_SPACE:
        raise MemoryError(f"ulimit -v allows {limit >> 20} MB; expected {_LEAST_ADDRESS_SPACE >> 20} MB or more")


def address_space() -> int | None:
    """Bytes of address space that this process may take; None where there is no limit."""
    try:
        import resource
    except ImportError:  # not on this system
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def reason(error: BaseException) -> str:
    """One line for a failure of loading, or for want of memory: the first cause, without the advice of libraries."""
    while not error.__suppress_context__ and error.__context__ is not None:
        error = error.__context__
    text = " ".join(str(error).split()) or "no more is known"
    if isinstance(error, MemoryError):
        return f"out of memory ({text}); try a smaller --batch-size, --beam-size or --hidden-size"
    return f"a library cannot be loaded: {text[:500]}"
