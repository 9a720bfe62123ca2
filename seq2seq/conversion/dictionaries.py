"""Dictionaries of words to ids, as Nematus (JSON) and Marian (YAML) keep them, as lists of tokens.

Both have </s> and <unk> as ids 0 and 1, which Nematus calls eos and UNK, and which Marian's files may leave open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seq2seq.run.errors import UserError

MARKS = (("</s>", "eos"), ("<unk>", "UNK"))  # of ids 0 and 1, and what Nematus calls them
_EXPECTED = "expected a dictionary of words to their ids"


def tokens_of(dictionary: Mapping[Any, Any]) -> list[str]:
    """The words in the order of their ids; UserError where these are not 0, 1, 2 and so on."""
    by_id: dict[int, str] = {}
    for word, number in dictionary.items():
        if not isinstance(word, str) or type(number) is not int:
            raise UserError(f"has {word!r}: {number!r}; {_EXPECTED}")
        if number in by_id:
            raise UserError(f"has id {number} twice, for {by_id[number]!r} and {word!r}; {_EXPECTED}")
        by_id[number] = word
    for number, (mark, _) in enumerate(MARKS):
        by_id.setdefault(number, mark)
    if set(by_id) != set(range(len(by_id))):
        missing = next(number for number in range(len(by_id)) if number not in by_id)
        raise UserError(f"has no word of id {missing}; {_EXPECTED}, from 0 on")
    return with_marks([by_id[number] for number in range(len(by_id))])


def with_marks(tokens: list[str]) -> list[str]:
    """The tokens with the names of the marks as others have them."""
    former = [mark if token == name else token for token, (mark, name) in zip(tokens, MARKS, strict=False)]
    return former + tokens[len(MARKS) :]


def from_yaml(text: str) -> dict[str, int]:
    """A mapping of words to ids; UserError where the text is none.

    Read event by event: nothing is made but texts and numbers, an alias is refused before it can multiply what it
    names, and a word such as yes or null stays a word.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # many times as fast, where it was built
    words, mappings = list[str](), 0
    try:
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.ScalarEvent):
                words.append(event.value)
            mappings += isinstance(event, yaml.MappingStartEvent)
            if mappings > 1 or isinstance(event, yaml.AliasEvent | yaml.SequenceStartEvent):
                raise UserError(f"line {event.start_mark.line + 1} holds more than a word and its id; {_EXPECTED}")
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"not valid YAML ({' '.join(str(error).split())[:100]}); {_EXPECTED}") from None
