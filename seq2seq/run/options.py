"""What an option may be: its type and its range, for the command line, files of settings, runs and Python alike.

Both ends of a range are in it. The low end of what must not vanish (a rate, a range of weights) is the least that still
moves a weight in float32; the high end is far above every use, and low enough that memory and time stay thinkable.
"""

from __future__ import annotations

import numbers
import operator
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.messages import shown


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, both included; whole ones if the ends are. ``advice`` ends the error."""

    low: float
    high: float
    advice: str = ""

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" if self.kind is float else f"{self.low} to {self.high}"

    @property
    def kind(self) -> type:
        return type(self.low)


_COUNT = Range(1, 1_000_000_000)

# Of every setting that has one; those of the options of parts are added as parts register.
RANGES = {
    "min_freq": _COUNT,
    "max_vocab_size": Range(1, 10_000_000),
    "subword_alpha": Range(0.0, 10.0),
    "subword_nbest": Range(2, 512),
    "bpe_dropout": Range(0.0, 0.99),
    "max_length": Range(1, 1_000_000),
    "shuffle_block": Range(0, 1_000_000_000),
    "init_range": Range(1e-6, 100.0),
    "epochs": Range(1, 1_000_000),
    "max_steps": _COUNT,
    "batch_size": Range(1, 1_000_000),
    "batch_tokens": Range(1, 1_000_000_000),
    "accumulate": Range(1, 1_000_000),
    "lr": Range(1e-8, 1000.0),
    "warmup_steps": Range(0, 1_000_000_000),
    "lr_steps": _COUNT,
    "min_lr": Range(0.0, 1000.0),
    "lr_factor": Range(0.0, 0.99),
    "lr_patience": Range(0, 1_000_000),
    "momentum": Range(0.0, 0.9999),
    "adam_beta1": Range(0.0, 0.999999),
    "adam_beta2": Range(0.0, 0.999999),
    "adam_eps": Range(1e-16, 1.0),
    "weight_decay": Range(0.0, 10.0),
    "clip_norm": Range(1e-3, 1e9, "; a large one, such as 1e9, clips nothing"),
    "teacher_forcing_ratio": Range(0.0, 1.0),
    "forcing_end": Range(0.0, 1.0),
    "forcing_steps": _COUNT,
    "src_word_dropout": Range(0.0, 0.99),
    "trg_word_dropout": Range(0.0, 0.99),
    "embedding_dropout": Range(0.0, 0.99),
    "output_dropout": Range(0.0, 0.99),
    "label_smoothing": Range(0.0, 0.99),
    "ema_decay": Range(0.0, 0.999999),
    "patience": Range(1, 1_000_000),
    "samples": Range(0, 1000),
    "keep_best": Range(1, 1000),
    "max_output_length": Range(1, 100_000),
    "seed": Range(0, 2**63 - 1),
    "save_every": _COUNT,
    "threads": Range(1, 4096),
    "n_best": Range(1, 1000),
    "max_length_ratio": Range(0.01, 1000.0),
    "resamples": Range(1, 1_000_000),
    "port": Range(0, 65535),
    "max_characters": Range(1, 1_000_000),
    "max_sentences": Range(1, 100_000),
    "max_body": Range(1, 1_000_000_000),
    "max_beam_size": Range(1, 1000),
    "queue_size": Range(1, 1_000_000),
    "max_wait": Range(0.001, 86400.0),
    "rate": Range(0.001, 1e6),
    "client_timeout": Range(0.1, 86400.0),
    "max_connections": Range(1, 1_000_000),
    "stop_timeout": Range(0, 86400),
}

_KINDS: dict[Any, str] = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
_NUMERALS = {
    int: re.compile(r"[+-]?(?:0|[1-9][0-9]*)"),
    float: re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"),
}
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Unquoted(str):
    """A word of a YAML file that is no text there unless it is quoted: a number, a date, a truth."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def convert(name: str, value: Any, kinds: Sequence[Any], choices: Sequence[str] = ()) -> Any:
    """An option's value in its type, from the text of a command line or from a file.

    Args:
        name: of the option, with underscores; its range is looked up by it.
        value: text, or what a JSON or YAML file holds.
        kinds: of bool, int, float, str and NoneType those that it may be.
        choices: texts that are allowed, instead of kinds.

    Raises:
        UserError: names the option, what was given and what was expected.
    """
    try:
        result = value if choices and value in choices else _converted(value, () if choices else kinds)
    except (ValueError, OverflowError):
        raise UserError(f"{name} is {_named(value)}; expected {_expected(name, value, kinds, choices)}") from None
    if isinstance(result, str) and not choices:
        check_text(name, result)
    check_range(name, result)
    return result


def _expected(name: str, value: Any, kinds: Sequence[Any], choices: Sequence[str]) -> str:
    """What an option would take, for an error."""
    expected = " or ".join([*choices, *(_KINDS[kind] for kind in kinds if kind is not NoneType)])
    expected += " or null" if NoneType in kinds else ""
    if isinstance(value, Unquoted) and str in kinds:
        return expected + ", in quotes"
    return f"{expected}, {RANGES[name]}" if name in RANGES else expected


def _named(value: Any) -> str:
    """A value in a message; of a list or a mapping the kind is enough."""
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else shown(value)


def _converted(value: Any, kinds: Sequence[Any]) -> Any:
    """``value`` as one of ``kinds``; ValueError where it is none."""
    if type(value) in kinds and type(value) is not str:
        return value
    if float in kinds and type(value) is int:
        return float(value)
    if not isinstance(value, str) or not kinds:
        raise ValueError
    if NoneType in kinds and value == "null":
        return None
    if bool in kinds:
        return _truth(value)
    return _of_text(value, next(kind for kind in kinds if kind is not NoneType))


def _truth(word: str) -> bool:
    if word.lower() not in _TRUTHS:
        raise ValueError
    return _TRUTHS[word.lower()]


def _of_text(text: str, kind: Any) -> Any:
    """Text as it is, or the number that it spells in plain digits."""
    if kind is str and not isinstance(text, Unquoted):
        return text
    if kind is str or not _NUMERALS[kind].fullmatch(text):
        raise ValueError
    return kind(text)


def check_text(name: str, text: str) -> None:
    """UserError where an option's text is empty, or where the system could not use it as a path."""
    if not text.strip():
        raise UserError(f"{name} is {shown(text)}; expected text that is not empty")
    if "\0" in text:
        raise UserError(f"{name} is {shown(text)}; expected text without NUL")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        raise UserError(f"{name} is {shown(text)}; expected text that file names can hold, in {encoding}") from None


def check_range(name: str, value: Any) -> None:
    """UserError where ``value`` is a number outside of the range of option ``name``."""
    allowed = RANGES.get(name)
    if allowed is None or value is None or value in allowed:
        return
    raise UserError(f"{name} is {shown(value)}; expected {allowed}{allowed.advice}")


def number(name: str, value: Any) -> Any:
    """A number that a Python program gives for option ``name``, NumPy's included; a truth is none.

    Raises:
        UserTypeError: it is no number, or a fraction where whole ones are expected.
        UserError: it is out of range.
    """
    kind = RANGES[name].kind
    try:
        if isinstance(value, bool) or not (kind is int or isinstance(value, numbers.Real)):
            raise TypeError
        result = operator.index(value) if kind is int else float(value)
    except TypeError:
        raise UserTypeError(f"{name} is {shown(value)}; expected {_KINDS[kind]}, {RANGES[name]}") from None
    except OverflowError:
        raise UserError(f"{name} is {shown(value)}; expected {RANGES[name]}") from None
    check_range(name, result)
    return result


def texts(name: str, value: Any, noun: str) -> tuple[str, ...]:
    """Strings that a Python program gives; ``noun`` says what one is.

    Raises:
        UserError: one that is no valid Unicode.
        UserTypeError: one string instead of several, or something else.
    """
    if isinstance(value, str | bytes):
        one = "one string" if isinstance(value, str) else "bytes"
        raise UserTypeError(f"{name}: got {one}; expected a list of {noun}s")
    if not isinstance(value, Iterable):
        raise UserTypeError(f"{name}: got {shown(value)}; expected a list of {noun}s")
    listed = tuple(value)
    for place, text in enumerate(listed, start=1):
        if not isinstance(text, str):
            raise UserTypeError(f"{name}: {noun} {place} is {shown(text)}; expected strings")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError(f"{name}: {noun} {place} holds a lone surrogate; expected valid Unicode")
    return listed
