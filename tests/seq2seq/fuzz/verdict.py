"""What every command must hold, whatever it is given: the exit code, the one line, and nothing touched but its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sandbox import Entry, Sandbox

_WRITTEN = ("--run-dir", "--output", "--json")
# What Python or a library says to a programmer, and the user cannot act on.
_INTERNAL = re.compile(
    r"NoneType|tuple index|list index|zip\(\)|has no attribute|object at 0x|not subscriptable|unsupported operand|"
    r"positional argument|keyword argument|codec can't|int too large|for integer string conversion|ufunc|broadcast|"
    r"unhashable|not iterable|<class|__\w+__\(|must be str|Errno"
)


class Outcome(NamedTuple):
    """What a command left: ``code`` None if it raised, ``err`` then has the traceback; ``hung`` if it was stopped."""

    code: int | None
    err: str
    hung: bool = False


def faults_of_text(command: str, outcome: Outcome, heard: bool = True) -> list[str]:
    """What is wrong with code and standard error; ``heard`` is False where standard error was closed."""
    found = ["it took too long"] if outcome.hung else []
    if outcome.code not in ((0, 1, 2, 130) if command == "gradcheck" else (0, 2, 130)):
        found.append(f"exit code {outcome.code}")
    if "Traceback" in outcome.err or re.search(r"\w+Warning:", outcome.err):
        found.append("a traceback or a warning of Python")
    if outcome.code == 2 and heard:
        lines = outcome.err.splitlines()
        if len(lines) != 1 or not outcome.err.startswith("error: ") or not outcome.err.endswith("\n"):
            found.append("not one line on standard error")
        if (word := _INTERNAL.search(outcome.err)) is not None:
            found.append(f"speaks of {word.group()!r}")
    return found


def faults_of_files(
    command: str, arguments: Sequence[str], outcome: Outcome, sandbox: Sandbox, before: Mapping[str, Entry]
) -> list[str]:
    """What changed below the sandbox although it was not the command's to change."""
    after = sandbox.snapshot()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    own = _own(command, arguments, outcome, sandbox)
    strange = sorted(name for name in changed if not _may_change(sandbox.root / name, own, name in before))
    return [f"changed {name!r}" for name in strange[:5]]


def _own(command: str, arguments: Sequence[str], outcome: Outcome, sandbox: Sandbox) -> list[Path]:
    """Files and folders that the command may change: a start or an answer that fails has none."""
    work, resumed = sandbox.work, any(word.startswith(("--resume", "--accept-changes")) for word in arguments)
    if command == "gradcheck" or (outcome.code == 2 and not resumed):
        return []
    names = [value for option in _WRITTEN for value in values_of(option, arguments) if _names_a_file(value)]
    if command == "train" and not resumed:
        names.append("runs")
    if "--accept-changes" in arguments:
        runs = [word for word in arguments if len(word) < 100 and _names_a_file(word)]
        names += [f"{run}/{name}" for run in runs for name in ("manifest.json", "lock")]
    return [Path(os.path.realpath(work / name)) for name in names] + [Path(os.path.abspath(work / n)) for n in names]


def _names_a_file(word: str) -> bool:
    """Whether a path can be looked up."""
    try:
        return bool(word) and b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False


def values_of(option: str, arguments: Sequence[str]) -> list[str]:
    """What a command line gives for an option, as its next word or behind its equals sign."""
    following = [value for word, value in pairwise(arguments) if word == option]
    return following + [word.partition("=")[2] for word in arguments if word.startswith(f"{option}=")]


def _may_change(path: Path, own: Sequence[Path], was_there: bool) -> bool:
    """Whether it lies in what is the command's own, or is a new folder on the way there."""
    inside = any(path == item or item in path.parents for item in own)
    return inside or (not was_there and path.is_dir() and any(path in item.parents for item in own))
