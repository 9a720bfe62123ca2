"""``seq2seq COMMAND``: every command is there, its examples mean something, and shells complete it."""

from __future__ import annotations

import importlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minigrad.utils import collect_env
from seq2seq.completion import options_of
from seq2seq.run import entry
from seq2seq.run.commands import COMMANDS, GROUPS, overview

PACKAGE = Path(entry.__file__).parents[1]


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """As they were: a command of its own process ends with Ctrl-C ignored."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def test_every_command_is_listed_once() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py") if 'sys.exit(start("' in path.read_text(encoding="utf-8")}
    assert modules == set(COMMANDS)
    assert len(COMMANDS) == sum(map(len, GROUPS.values()))
    for name, command in COMMANDS.items():
        assert hasattr(importlib.import_module(f"seq2seq.{name}"), "main")
        assert f"  {name} " in overview()
        assert command.about in overview()


def test_the_options_of_examples_exist() -> None:
    for name, command in COMMANDS.items():
        words = [word for example in command.examples for word in shlex.split(example.split(" <")[0])]
        assert {word for word in words if word.startswith("--")} <= set(options_of(name)), name


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--help"], 0), (["trian"], 2), (["doctor", "--help"], 0)])
def test_the_program_says_what_there_is(words: list[str], code: int, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["seq2seq", *words])
    try:
        found = entry.main()
    except SystemExit as end:  # of argparse
        found = end.code
    out, err = capsys.readouterr()
    assert found == code
    if words == ["trian"]:
        assert err.startswith("error: there is no command 'trian'; expected one of train, ")
    else:
        assert ("examples: python -m seq2seq.doctor" if "doctor" in words else "usage: seq2seq COMMAND") in out


def test_a_command_gets_the_rest_of_the_line(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["seq2seq", "translate", str(tmp_path / "none"), "--beam-size", "x"])
    assert entry.main() == 2
    assert "beam_size is 'x'" in capsys.readouterr().err


def test_bash_completes_commands_options_and_files(run: Any, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    script = run("completion", "bash").out
    (tmp_path / "file.txt").write_text("")

    def completed(*words: str) -> list[str]:
        line = " ".join(map(shlex.quote, ["seq2seq", *words]))
        ask = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _seq2seq; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        found = subprocess.run([bash, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True)
        return found.stdout.split()

    assert completed("tr") == ["train", "translate"]
    assert completed("translate", "--beam") == ["--beam-size"]
    assert completed("train", "--hidden") == ["--hidden-size"]
    assert completed("translate", "fi") == ["file.txt"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_read_their_scripts(run: Any, shell: str) -> None:
    script = run("completion", shell).out
    assert "beam-size" in script
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "--no-execute", "/dev/stdin"], input=script, text=True, check=True)


def test_the_doctor_says_what_a_report_needs(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("NUMBA_TEST", "seen")
    monkeypatch.setenv("SECRET", "unseen")
    out = run("doctor").out
    for word in ("python:", "processor:", "numba ", "kernels:", "NUMBA_TEST=seen", "a product:    right"):
        assert word in out
    assert "unseen" not in out
    monkeypatch.setattr(collect_env, "_product_is_right", lambda: False)
    assert "WRONG" in run("doctor").out
