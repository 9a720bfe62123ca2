"""The commands as processes: interrupted while they load, with little of everything, in odd locales and streams."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq.run.cli import command_line
from seq2seq.run.entry import reason

ROOT = Path(__file__).parents[3]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}


def program(text: str, **options: object) -> tuple[int, str, str]:
    """What a Python program left."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    child = subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, text=True, **{**streams, **options})  # type: ignore[call-overload]
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


def closing(*descriptors: int) -> Callable[[], None]:
    return lambda: [os.close(descriptor) for descriptor in descriptors] and None  # type: ignore[return-value]


@pytest.fixture(scope="module")
def folder(trained_run: Callable[..., Path]) -> Path:
    """A run, hardly trained."""
    return trained_run(70, "--epochs", 1)


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------
INTERRUPTED = """
import importlib, os, signal, sys
from seq2seq.run import entry

def load(name):
    os.kill(os.getpid(), signal.SIGINT)
    return importlib.import_module("seq2seq.run.errors")

entry.importlib = type("loader", (), {"import_module": staticmethod(load)})
sys.exit(entry.start("train"))
"""


def test_an_interrupt_while_a_command_loads() -> None:
    assert program(INTERRUPTED) == (130, "", "interrupted\n")


@pytest.mark.parametrize("command", ["train", "translate"])
@pytest.mark.parametrize("delay", [0.1, 0.25])
def test_an_interrupt_soon_after_the_start(spawn, folder, tmp_path, command, delay) -> None:
    """Python itself ends by the signal, which a shell calls 130 too, where it came during an eval() of some import.

    What there is to translate never comes, so that no machine is done before.
    """
    child = spawn(
        command, *([folder] if command == "translate" else ["--run-dir", tmp_path / "r"]), stdin=subprocess.PIPE
    )
    _wait_for_python(child.pid)
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode in (130, -signal.SIGINT)
    assert err == "interrupted\n"


def _wait_for_python(pid: int) -> None:
    """Until the interpreter has begun with the command, as NumPy's library shows."""
    maps = Path(f"/proc/{pid}/maps")
    deadline = time.monotonic() + 30
    while "numpy" not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.002)


def test_an_ignored_interrupt_stays_ignored() -> None:
    text = "import signal; from seq2seq.run import entry; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    text += "entry.importlib = type('loader', (), {'import_module': lambda name: type('m', (), {'main': lambda: 7})}); "
    text += "print(entry.start('train'), signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    assert program(text) == (0, "7 True\n", "")


def test_the_console_scripts_start_here() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        assert (module, name) == ("seq2seq.run.entry", "seq2seq" if function == "main" else f"seq2seq-{function}")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_entry_loads_nothing_large() -> None:
    code, out, _ = program(
        "import sys; before = {*sys.modules}; import seq2seq.run.entry; print(*{*sys.modules} - before)"
    )
    assert code == 0
    assert {"numpy", "argparse", "pathlib", "json", "subprocess"} & set(out.split()) == set()


# --- little of everything ---------------------------------------------------------------------------------------------
def limited(kind: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (most, most))


@pytest.mark.parametrize("most", [None, 300 << 20])
@pytest.mark.parametrize("out", ["/dev/null", "/dev/full"])
def test_an_error_that_cannot_be_told_keeps_its_code(spawn, folder, most, out) -> None:
    prepare = None if most is None else limited(resource.RLIMIT_AS, most)
    with open(out, "w") as stdout, open("/dev/full", "w") as full:
        arguments = ["--input", "missing"] if most is None else []
        child = spawn("translate", folder, *arguments, stdout=stdout, stderr=full, preexec_fn=prepare)
        child.communicate(timeout=60)
    assert child.returncode == 2


def test_an_interrupt_that_cannot_be_told_keeps_its_code() -> None:
    with open("/dev/full", "w") as full:
        assert program(INTERRUPTED, stderr=full)[0] == 130
        assert program(INTERRUPTED_LATER, stderr=full)[0] == 130


INTERRUPTED_LATER = """
import sys
from seq2seq.run.cli import run_command

def work(arguments):
    raise KeyboardInterrupt

sys.exit(run_command(work))
"""


@pytest.mark.parametrize("megabytes", [64, 300, 1000])
def test_little_address_space(spawn, folder, megabytes) -> None:
    child = spawn("translate", folder, preexec_fn=limited(resource.RLIMIT_AS, megabytes << 20))
    out, err = child.communicate(timeout=60)
    expected = f"ulimit -v allows {megabytes} MB; expected 1024 MB or more"
    assert (child.returncode, out) == (2, "")
    assert err == f"error: out of memory ({expected}); try a smaller --batch-size, --beam-size or --hidden-size\n"


def test_a_memory_plan_sees_the_address_space(spawn, tmp_path) -> None:
    arguments = ["--run-dir", tmp_path / "run", "--hidden-size", 8192, "--max-steps", 1]
    child = spawn("train", *arguments, preexec_fn=limited(resource.RLIMIT_AS, 2 << 30))
    _, err = child.communicate(timeout=120)
    assert (child.returncode, err.count("\n")) == (2, 1), err
    assert "MB are free beside what is in use" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("most", [8, 16])
def test_few_descriptors(spawn, folder, most) -> None:
    child = spawn("translate", folder, "--input", folder / "none", preexec_fn=limited(resource.RLIMIT_NOFILE, most))
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err.count("\n"), err[:7]) == (2, 1, "error: ")


def test_one_process(spawn, folder, corpus) -> None:
    child = spawn("translate", folder, "--input", corpus, preexec_fn=limited(resource.RLIMIT_NPROC, 1))
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")


def test_a_bad_environment_is_one_line(spawn, folder, corpus) -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "0"}
    child = spawn("translate", folder, "--input", corpus, env=environment)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (2, "")
    assert err == (
        "error: a library cannot be loaded: the environment variable NUMBA_NUM_THREADS is '0'; "
        "expected a number of threads from 1 on\n"
    )


def test_reasons() -> None:
    inner = ImportError("libbig.so: failed to map segment")
    outer = ImportError("\n\nIMPORTANT: READ THIS\n\nmany lines\n")
    outer.__context__ = inner
    assert reason(outer) == "a library cannot be loaded: libbig.so: failed to map segment"
    outer.__suppress_context__ = True
    assert reason(outer) == "a library cannot be loaded: IMPORTANT: READ THIS many lines"
    assert (
        reason(MemoryError())
        == "out of memory (no more is known); try a smaller --batch-size, --beam-size or --hidden-size"
    )


# --- streams and locales ----------------------------------------------------------------------------------------------
def test_a_closed_standard_error_keeps_the_exit_code(spawn, options, corpus, tmp_path) -> None:
    child = spawn("train", "--lr", "0", stderr=None, preexec_fn=closing(2))
    assert (child.communicate(timeout=60)[0], child.returncode) == ("", 2)
    child = spawn("train", *options(corpus, tmp_path / "run"), "--epochs", 1, stderr=None, preexec_fn=closing(2))
    assert f"Translate: {command_line('seq2seq.translate', tmp_path / 'run')}\n" in child.communicate(timeout=60)[0]
    assert child.returncode == 0


def test_closed_streams_are_held_so_that_no_file_takes_their_place() -> None:
    text = """
import os, sys
report = os.dup(1)
for number in (0, 1, 2):
    os.close(number)
sys.stderr = None
from seq2seq.run.entry import reserve_descriptors
reserve_descriptors()
print("lost", file=sys.stderr)
os.write(report, " ".join(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)).encode())
os._exit(0)
"""
    assert program(text) == (0, "/dev/null /dev/null /dev/null", "")


def test_a_forced_ascii_locale(spawn, options, corpus, tmp_path) -> None:
    environment = {**os.environ, **ASCII}
    run = tmp_path / "r\u00e9"
    child = spawn("train", *options(corpus, run), "--epochs", 1, env=environment, encoding="utf-8")
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert f"Translate: {command_line('seq2seq.translate', run)}\n" in out
    child = spawn("translate", run, "--input", tmp_path / "n\u00e9", env=environment)
    assert child.communicate(timeout=60)[1] == f"error: {tmp_path}/n\\xc3\\xa9: no such file\n"


def test_a_run_folder_that_is_no_utf8(spawn, options, corpus, tmp_path) -> None:
    run = os.fsdecode(os.fsencode(tmp_path) + b"/r\xff")
    child = spawn("train", *options(corpus, run), "--epochs", 1, errors="surrogateescape")
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert f"Translate: {command_line('seq2seq.translate', run)}\n" in out
