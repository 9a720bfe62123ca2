"""Odd places for a process to run in: locales, variables, limits, streams that are closed or no streams, no folder."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sandbox import Sandbox
from verdict import Outcome

LIMIT = 60.0  # seconds: a process loads its libraries first, beside other tests
_VARIABLES: dict[str, tuple[str | None, ...]] = {
    "LC_ALL": ("C", "POSIX", "xx_YY.ISO-8859-99", "", "\udcff", "de_DE@euro"), "LANG": (None, "C", "x" * 300),
    "PYTHONIOENCODING": ("ascii", "latin-1", "ascii:strict", ":backslashreplace"), "PYTHONUTF8": ("0", "1"),
    "PYTHONCOERCECLOCALE": ("0",), "PYTHONUNBUFFERED": ("1",), "PYTHONOPTIMIZE": ("2",), "PYTHONSAFEPATH": ("1",),
    "HOME": (None, "", "/proc/none", "relative", "\udcff"), "TMPDIR": ("/proc/none", "relative", ""),
    "PATH": (None, ""), "TERM": (None, "dumb", "\x1b"), "COLUMNS": ("0", "-1", "1", "x", "9" * 20), "NO_COLOR": ("1",),
    "FORCE_COLOR": ("1",), "NUMBA_NUM_THREADS": ("x", "0", "-1", "9" * 20, ""), "NUMBA_THREADING_LAYER": ("x", "tbb"),
    "NUMBA_OPT": ("x", "-1"), "NUMBA_LOG_LEVEL": ("x",), "OMP_NUM_THREADS": ("x", "0", "-1", "9" * 20),
    "OPENBLAS_NUM_THREADS": ("x", "-1"), "CUDA_VISIBLE_DEVICES": ("x", "-1"), "COVERAGE_FILE": ("/proc/none",),
    "TZ": ("x/y", "\udcff"), "USER": (None,),
}  # fmt: skip
# With these, kernels would be compiled anew; only what needs none is run.
_WITHOUT_KERNELS: dict[str, tuple[str | None, ...]] = {
    "XDG_CACHE_HOME": ("/proc/none", "digits.tsv", "", "\udcff"),
    "NUMBA_CACHE_DIR": ("/proc/none", "digits.tsv", "\udcff"), "NUMBA_CPU_NAME": ("x",), "NUMBA_CPU_FEATURES": ("+x",),
    "NUMBA_DISABLE_JIT": ("1", "x"), "NUMBA_BOUNDSCHECK": ("x",), "NUMBA_CACHE_LOCATOR_CLASSES": ("x",),
    "NUMBA_ENABLE_AVX": ("x",), "NUMBA_DEVELOPER_MODE": ("1",),
}  # fmt: skip
_LIMITS = (
    (resource.RLIMIT_NOFILE, (5, 8, 16, 64)), (resource.RLIMIT_FSIZE, (0, 1000, 20_000)),
    (resource.RLIMIT_AS, (100 << 20, 400 << 20, 900 << 20, 1200 << 20, 2 << 30, 8 << 30)),
)  # fmt: skip
_STDIN = ("closed", "text", "text", "nothing", "write-only")  # Python itself refuses a folder
_STDOUT = ("closed", "text", "text", "text", "full", "gone", "read-only")
_STDERR = ("text", "text", "text", "text", "closed", "full")


class Place(NamedTuple):
    """Where a process runs; ``streams`` are the kinds of standard input, output and error."""

    variables: dict[str, str | None]
    limits: list[tuple[int, int]]
    streams: tuple[str, str, str]
    no_folder: bool
    compiles: bool

    @property
    def heard(self) -> bool:
        return self.streams[2] == "text"


def draw_place(rng: random.Random) -> Place:
    """One or two things are odd, beside perhaps a stream."""
    compiles = rng.random() < 0.75
    table = _VARIABLES if compiles else {**_VARIABLES, **_WITHOUT_KERNELS, **_WITHOUT_KERNELS}
    names = rng.sample(sorted(table), rng.choice((0, 1, 2, 3)))
    if not compiles:
        names.append(rng.choice(sorted(_WITHOUT_KERNELS)))
    limits = [(kind, rng.choice(values)) for kind, values in rng.sample(_LIMITS, rng.choice((0, 0, 1)))]
    streams = rng.choice(_STDIN), rng.choice(_STDOUT), rng.choice(_STDERR)
    return Place({name: rng.choice(table[name]) for name in names}, limits, streams, rng.random() < 0.1, compiles)


def run_there(place: Place, sandbox: Sandbox, command: str, arguments: list[str], stdin: bytes) -> Outcome:
    """A command in a process of its own."""
    environment = {**os.environ, **({} if place.compiles else {"NUMBA_CACHE_DIR": None}), **place.variables}
    words = [sys.executable, "-m", f"seq2seq.{command}", *arguments]
    files = [_open(kind, number, sandbox, stdin) for number, kind in enumerate(place.streams)]
    try:
        child = subprocess.Popen(
            words, stdin=files[0], stdout=files[1], stderr=subprocess.PIPE if place.heard else files[2],
            cwd=sandbox.work, env={name: value for name, value in environment.items() if value is not None},
            preexec_fn=_preparing(place, sandbox.root.with_name("vanishing")),
        )  # fmt: skip
    finally:
        for file in files:
            os.close(file)
    try:
        _, err = child.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        child.kill()
        return Outcome(None, (child.communicate()[1] or b"").decode(errors="replace"), hung=True)
    return Outcome(child.returncode, (err or b"").decode(errors="replace"))


def _open(kind: str, number: int, sandbox: Sandbox, stdin: bytes) -> int:
    """A descriptor for standard stream ``number``; what is to be closed is open until the process is made."""
    if kind == "gone":
        reader, writer = os.pipe()
        os.close(reader)
        return writer
    if kind == "text" and number == 0:
        path = sandbox.root.with_name("stdin")
        path.write_bytes(stdin)
        return os.open(path, os.O_RDONLY)
    if kind == "full":
        return os.open("/dev/full", os.O_WRONLY)
    read_only = kind == "read-only" or (number == 0 and kind != "write-only")
    return os.open(os.devnull, os.O_RDONLY if read_only else os.O_WRONLY)


def _preparing(place: Place, vanishing: Path) -> Callable[[], Any]:
    """What the new process does to itself before it begins."""

    def prepare() -> None:
        if place.no_folder:
            os.mkdir(vanishing)
            os.chdir(vanishing)
            os.rmdir(vanishing)
        for kind, most in place.limits:
            resource.setrlimit(kind, (most, most))
        for number, stream in enumerate(place.streams):
            if stream == "closed":
                os.close(number)

    return prepare
