"""How files of text are read: the options that every command which reads pairs shares."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import partial

from seq2seq.run.errors import UserError
from seq2seq.run.registry import option
from seq2seq.sources.files import BadLines

AUTO = "auto"
# The options that are one of a few words; of the form of a table the words are those of ``seq2seq.sources.forms``.
_CHOICES = {
    "data_format": (AUTO, "tsv", "csv", "jsonl"),
    "header": (AUTO, "present", "absent"),
    "bad_lines": ("refuse", "skip"),
}
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BREAK = re.compile(r"\r\n?|\n")


_of_data = partial(option, inherited=False)


@dataclass(frozen=True)
class Reading:
    """How tables and texts become pairs."""

    data_format: str = _of_data(AUTO, "form of tables: tsv, csv, jsonl, or auto, by the name or the first line")
    src_column: str = _of_data(AUTO, "column of a table that holds the source, by its name or its number")
    trg_column: str = _of_data(AUTO, "the same for the target; auto takes what a header says, or the first two")
    header: str = _of_data(AUTO, "whether a table's first line names its columns: present, absent, or auto")
    swap: bool = _of_data(False, "exchange source and target")
    unescape_html: bool = _of_data(False, "undo HTML entities, such as &amp;")
    bad_lines: str = _of_data("refuse", "lines that cannot be read: refuse, or skip and count them")

    def check(self) -> None:
        """UserError for a word that an option does not know."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(choices)}")

    def faults(self) -> BadLines:
        """What takes note of the lines of one file that cannot be read."""
        return BadLines(skip=self.bad_lines == "skip")

    def cleaned(self, text: str) -> str:
        """A sentence as a file has it, without the entities that are to be undone, on one line."""
        return one_line(ENTITY.sub(lambda match: html.unescape(match[0]), text)) if self.unescape_html else text


PLAIN = Reading()


def one_line(text: str) -> str:
    """A blank in place of each line break inside a sentence, which is a line wherever it is written."""
    return _BREAK.sub(" ", text) if "\n" in text or "\r" in text else text
