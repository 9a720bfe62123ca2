"""The parser of the commands: options in full, numbers in their ranges, and every error a UserError."""

from __future__ import annotations

import argparse
import difflib
import functools
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from seq2seq.run.commands import COMMANDS
from seq2seq.run.errors import UserError
from seq2seq.run.options import RANGES, convert


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are UserErrors, so that they end as one line too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **({"epilog": examples(options.get("prog", ""))} | options))

    def parse_args(self, args: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        """As argparse, where of an option given twice the last one counts; a misspelled one is told the nearest."""
        words = sys.argv[1:] if args is None else args
        self._refuse_dashes(words)
        options, unknown = self.parse_known_args(words)
        if unknown:
            listed = " ".join(word or "''" for word in unknown)
            known = [option for action in self._actions for option in action.option_strings]
            near = suggestion(unknown[0].partition("=")[0], known)
            self.error(f"unrecognized arguments: {listed}" + (f"; {near}" if near else ""))
        return options

    def _refuse_dashes(self, words: Sequence[str]) -> None:
        """argparse makes an empty list of the value in ``--seed=--``, whatever its type."""
        for word in words:
            option, _, value = word.partition("=")
            if value == "--" and option in self._option_string_actions:
                self.error(f"argument {option}: expected one argument, got --")

    def error(self, message: str) -> NoReturn:
        raise UserError(message)

    def add_text(self, option: str, meaning: str, default: str | None = None, several: bool = False) -> None:
        """An argument or option that takes text, which may not be empty; ``several`` of one or more texts."""
        kind = functools.partial(convert, _name_of(option), kinds=(str,))
        number: dict[str, Any] = {"nargs": "+"} if several else {}
        self.add_argument(option, type=kind, default=default, help=meaning, **number)

    def add_number(self, option: str, meaning: str, default: float | None = None) -> None:
        """An option that takes a number in its range, which the help shows."""
        allowed = RANGES[_name_of(option)]
        kind = functools.partial(convert, _name_of(option), kinds=(allowed.kind,))
        told = str(allowed) if default is None else f"{allowed}; default: {default}"
        self.add_argument(option, type=kind, default=default, metavar="NUMBER", help=f"{meaning} ({told})")


def examples(prog: str) -> str | None:
    """What the help of a command ends with."""
    command = COMMANDS.get(prog.rpartition(".")[2])
    if command is None:
        return None
    return "examples: " + "; ".join(f"{prog} {arguments}".strip() for arguments in command.examples)


def _name_of(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def suggestion(word: str, known: Iterable[str]) -> str:
    """A question where one of the known words is near to the wrong one, else nothing."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else ""
