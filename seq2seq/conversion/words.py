"""The words of weights from elsewhere: lists of tokens in the order of their ids, and rows of arrays put in ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from seq2seq.conversion import pickles
from seq2seq.conversion.dictionaries import from_yaml, tokens_of
from seq2seq.conversion.layouts.contract import NOTHING
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.writing import read_run_file
from seq2seq.sources.files import read_lines
from seq2seq.text.tokenizers import CharTokenizer
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID, SPECIALS, UNK_ID, Vocabulary

Array = np.ndarray
SPELLINGS = {
    UNK_ID: ("<unk>", "[UNK]", "UNK"),
    PAD_ID: ("<pad>", "<blank>", "[PAD]", "PAD"),
    SOS_ID: ("<sos>", "<s>", "<bos>", "[START]", "SOS", "\t"),
    EOS_ID: ("<eos>", "</s>", "[END]", "EOS", "\n"),
}
NEVER = -1e9  # the output layer's bias of a mark that the file's model does not know


class Words:
    """The tokens of one side, by the ids that they have in the file.

    Args:
        tokens: in the order of ids, marks included.
        where: the file of the list, for messages.
        needed: marks that must be among them.
        first: the mark that is read where others read <sos>, which then is no mark; None: nothing is.

    Raises:
        UserError: a token is there twice, a mark that is needed is missing, or there is nothing else.
    """

    def __init__(
        self, tokens: list[str], where: str, needed: Collection[int] = (SOS_ID, EOS_ID), first: int | None = SOS_ID
    ) -> None:
        self.count = len(tokens)
        self.marks: dict[int, int] = {}
        for mark, spellings in SPELLINGS.items():
            found = [tokens.index(spelling) for spelling in spellings if spelling in tokens]
            if mark == SOS_ID != first:
                continue
            if found:
                self.marks[mark] = found[0]
            elif mark in needed:
                spelled = " or ".join(spelling for spelling in spellings if spelling.strip())
                raise UserError(f"{where}: has no {SPECIALS[mark]}; expected it among the tokens, as {spelled}")
        others = [index for index in range(len(tokens)) if index not in self.marks.values()]
        if not others:
            raise UserError(f"{where}: has no words; expected some beside the marks")
        try:
            self.vocabulary = Vocabulary(tokens[index] for index in others)
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: {str(error).removeprefix('Vocabulary: ')}") from None
        self._order = [*(self.marks.get(mark) for mark in range(len(SPECIALS))), *others]
        self._read = [*self._order]  # what of the file stands for each id that is read
        self._read[SOS_ID] = None if first is None else self._read[first]

    def rows(self, table: Array, name: str, missing: float = 0.0, read: bool = False) -> Array:
        """A table (V, ...) of the file with its rows in the order of ``vocabulary``; UserError where it has other ones.

        Args:
            missing: what stands in the row of a mark that the file does not have.
            read: whether it is of what a model reads, rather than of what it writes.
        """
        if len(table) != self.count:
            raise UserError(
                f"{name} has {counted(len(table), 'row')}, the list of words {self.count:,}; expected as many"
            )
        order = self._read if read else self._order
        rows = [np.full_like(table[0], missing) if index is None else table[index] for index in order]
        return np.stack(rows)

    def file_ids(self, ids: list[int]) -> list[int]:
        """What ids of ``vocabulary`` are in the file, NOTHING for a mark that it does not have."""
        found = (self._read[index] for index in ids)
        return [NOTHING if index is None else index for index in found]


def as_characters(tokens: list[str]) -> list[str]:
    """Tokens of a model of characters as the tokenizer spells them: a blank is one of its own."""
    spell = CharTokenizer().tokenize
    return [spell(token)[0] if len(token) == 1 else token for token in tokens]


def read_tokens(path: str, of_lines: Callable[[list[str]], list[str]]) -> list[str]:
    """Of a text file what ``of_lines`` makes of its lines; a JSON list; or a dictionary of tokens to their ids, in JSON
    or YAML, or pickled (.pkl), of which nothing is run. UserError where it is none of them."""
    form = Path(path).suffix.lower()
    if form == ".pkl":
        return _tokens_in_pickle(Path(path))
    lines = read_lines(path)
    try:
        if form in (".yml", ".yaml"):
            return tokens_of(from_yaml("\n".join(lines)))
        return tokens_in_json("\n".join(lines)) if form == ".json" else of_lines(lines)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _tokens_in_pickle(path: Path) -> list[str]:
    """Of a dictionary as dl4mt and the first Nematus wrote them, by Python 2 or 3."""
    try:
        return tokens_of(pickles.read_dictionary(read_run_file(path, "a dictionary of words")))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def tokens_in_json(text: str) -> list[str]:
    """Of a list, or a dictionary of tokens to their ids."""
    try:
        tokens = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError("not valid JSON; expected a list of tokens in the order of their ids") from None
    if isinstance(tokens, dict):
        return tokens_of(tokens)
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise UserError("expected a list of tokens in the order of their ids")
    return tokens
